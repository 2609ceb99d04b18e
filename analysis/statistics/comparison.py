"""Every arm of a panel against its baseline: unpaired, SD pooled; or paired by seed where that was registered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .contrast import Contrast, Difference, judge, weighted, welch
from .estimates import ALPHA, ROUNDING, Estimate, estimate, finite, pooled_sd, sd_of

FIXED = "the seeds do not vary: no verdict"


@dataclass(frozen=True)
class Comparison:
    """The arms of a panel, and each against the baseline."""

    baseline: str
    estimates: dict[str, Estimate]
    contrasts: list[Contrast]
    sd: float
    """Pooled over the arms; NaN where no arm has two seeds."""
    df: int
    alpha: float = ALPHA
    margin: float | None = None
    tested: int = field(default=0)
    """How many contrasts could be tested: the family that Holm and Bonferroni count."""
    spread_p: float = math.nan
    """Brown and Forsythe's test that the arms' spreads are equal, as the pooled SD assumes. See `equal_spread`."""


def compare(
    groups: Mapping[str, ArrayLike],
    baseline: str,
    *,
    alpha: float = ALPHA,
    margin: float | None = None,
    seeds: Mapping[str, Sequence[int]] | None = None,
) -> Comparison:
    """Every arm of `groups` (name -> errors over seeds, shape (n,)) against `baseline`.

    Two-sided t-tests with the pooled SD, adjusted by Holm; simultaneous (Bonferroni) intervals; with a `margin`, two
    one-sided tests for equivalence within it. `alpha` is of these; the arms' own intervals are 95% ones. A contrast
    with an arm of fewer than two seeds gets no test. With `seeds` (name -> seed numbers, aligned with that arm's
    errors) the tests are paired over the seeds that an arm shares with the baseline; the difference is then over those
    alone. Pass them only where pairing was registered.
    Raises KeyError where `baseline` is not in `groups`, ValueError where seeds are repeated or not aligned.
    """
    estimates = {name: estimate(values) for name, values in groups.items()}
    estimates[baseline]  # KeyError before any work
    pooled = pooled_sd(estimates)
    others = [name for name in groups if name != baseline]
    if seeds is None:
        differences = [_unpaired(name, baseline, estimates, pooled) for name in others]
    else:
        runs = {name: by_seed(name, values, seeds[name]) for name, values in groups.items()}
        differences = [_paired(name, baseline, runs) for name in others]
    contrasts = judge(differences, alpha=alpha, margin=margin)
    tested = sum(not one.none for one in differences)
    return Comparison(baseline, estimates, contrasts, *pooled, alpha, margin, tested, equal_spread(groups))


def _unpaired(name: str, baseline: str, estimates: Mapping[str, Estimate], pooled: tuple[float, int]) -> Difference:
    none = _too_few(estimates[name].n, estimates[baseline].n) or ("" if pooled[0] > 0 else FIXED)
    return weighted((name, baseline), {name: 1.0, baseline: -1.0}, estimates, pooled, none)


def _paired(name: str, baseline: str, runs: Mapping[str, Mapping[int, float]]) -> Difference:
    arm, base = runs[name], runs[baseline]
    pairs = np.array([(arm[seed], base[seed]) for seed in sorted(arm.keys() & base.keys())]).reshape(-1, 2)
    apart, n = pairs[:, 0] - pairs[:, 1], len(pairs)
    none = _too_few(len(arm), len(base)) or ("" if n > 1 else "fewer than two common seeds: no verdict")
    sd = math.nan if none else sd_of(apart)
    if not none and sd <= ROUNDING * np.abs(pairs).max():
        none = "the differences by seed do not vary: no verdict"
    mean = float(apart.mean()) if n else math.nan
    if none:
        return Difference(name, baseline, mean, math.nan, max(n - 1, 0), test="paired", none=none)
    welch_p = welch([(1.0, estimate(list(arm.values()))), (-1.0, estimate(list(base.values())))])
    return Difference(name, baseline, mean, sd / math.sqrt(n), n - 1, welch_p, "paired")


def _too_few(arm: int, base: int) -> str:
    for n, whose in ((arm, "this arm"), (base, "the baseline")):
        if n == 0:
            return f"no finished run of {whose}: no verdict"
    return "one seed: no verdict" if min(arm, base) == 1 else ""


def by_seed(name: str, values: ArrayLike, seeds: Sequence[int]) -> dict[int, float]:
    """Seed -> error of an arm's runs, without those whose error is not finite.

    Raises ValueError where the two differ in length, or a seed comes twice.
    """
    errors = np.asarray(values, dtype=float).ravel()
    if len(errors) != len(seeds):
        raise ValueError(f"{name}: {len(errors)} errors but {len(seeds)} seeds; each error needs its seed")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{name}: a seed comes twice among {list(seeds)}; runs are paired by seed")
    return {seed: float(error) for seed, error in zip(seeds, errors, strict=True) if math.isfinite(error)}


def correlation_by_seed(groups: Mapping[str, ArrayLike], seeds: Mapping[str, Sequence[int]]) -> float:
    """The mean correlation between two arms' errors over their common seeds: near 0, pairing by seed can't pay.

    Over pairs of arms that share at least three seeds and vary over them; NaN where there is none. Choosing pairing by
    this number from the runs that are then tested is a choice after the fact: take it from pilot runs.
    Raises ValueError as `compare` does.
    """
    runs = [by_seed(name, values, seeds[name]) for name, values in groups.items()]
    found = [_correlation(one, other) for one, other in combinations(runs, 2)]
    known = [r for r in found if not math.isnan(r)]
    return float(np.mean(known)) if known else math.nan


def _correlation(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    common = sorted(one.keys() & other.keys())
    a, b = np.array([one[seed] for seed in common]), np.array([other[seed] for seed in common])
    if len(common) < 3 or sd_of(a) == 0 or sd_of(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def equal_spread(groups: Mapping[str, ArrayLike]) -> float:
    """P of Brown and Forsythe's test (Levene's about medians) that all arms have one spread.

    Over arms of at least three seeds, for two seeds are equally far from their median; NaN where fewer than two arms
    have them, or none varies. Careful rather than sharp: at three seeds it hardly ever rejects.
    """
    arms = [array for array in map(finite, groups.values()) if len(array) > 2]
    apart = {str(i): estimate(np.abs(array - np.median(array))) for i, array in enumerate(arms)}
    sd, df = pooled_sd(apart)
    if len(arms) < 2 or not sd > 0:
        return math.nan
    n, means = (np.array([getattr(one, key) for one in apart.values()]) for key in ("n", "mean"))
    between = float(np.sum(n * (means - np.average(means, weights=n)) ** 2)) / (len(arms) - 1)
    return float(special.fdtrc(len(arms) - 1, df, between / sd**2))
