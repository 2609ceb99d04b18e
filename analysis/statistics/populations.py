"""Errors of many designs, one value a design: their distribution, and whether one population beats another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from .contrast import holm, kind_of
from .estimates import ALPHA, finite, t_quantile


@dataclass(frozen=True)
class PopulationContrast:
    """Designs of `a` against those of `b`. Undefined numbers are NaN."""

    a: str
    b: str
    n_a: int
    n_b: int
    probability: float
    """That a random design of a has a lower error than a random one of b; a tie counts as half."""
    low: float
    high: float
    """Ends of the simultaneous interval: the wider of Newcombe's (2006, method 5) and Brunner and Munzel's."""
    p: float
    p_adjusted: float
    """By Holm over the contrasts."""
    verdict: str

    @property
    def kind(self) -> str:
        """The verdict's first word: improves, worsens, unresolved; `none` where there is no verdict."""
        return kind_of(self.verdict)


def edf(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The errors in rising order and the share of designs at or below each, both of shape (n,)."""
    x = np.sort(finite(values))
    return x, np.arange(1, len(x) + 1) / max(len(x), 1)


def edf_band(values: ArrayLike, alpha: float = ALPHA) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`edf` with a band, (x, low, high) of shape (n,), that holds the whole true curve with probability 1 - alpha.

    By Dvoretzky, Kiefer, Wolfowitz and Massart's inequality: the share, plus and minus sqrt(log(2 / alpha) / (2 n)).
    """
    x, share = edf(values)
    reach = math.sqrt(math.log(2 / alpha) / (2 * max(len(x), 1)))
    return x, np.clip(share - reach, 0, 1), np.clip(share + reach, 0, 1)


def compare_populations(groups: Mapping[str, ArrayLike], alpha: float = ALPHA) -> list[PopulationContrast]:
    """Every population of `groups` (name -> one error a design, shape (n,)) against the first.

    Designs are the sample, so the claim is about designs so drawn; average a design's seeds first. P is the larger of
    Mann and Whitney's (exact for small samples) and Brunner and Munzel's (holds where spreads differ), Holm-adjusted:
    *improves* and *worsens* need both. Values that are not finite are left out, which flatters a population in
    which designs diverge: say how many. A population of fewer than two designs gets no test.
    """
    if not groups:
        return []
    samples = {name: finite(values) for name, values in groups.items()}
    base, *others = samples
    tested = [name for name in others if min(len(samples[name]), len(samples[base])) > 1]
    p = [_p(samples[name], samples[base]) for name in tested]
    adjusted = dict(zip(tested, zip(p, holm(p), strict=True), strict=True))
    return [_contrast(name, base, samples, adjusted.get(name), alpha, len(tested)) for name in others]


def _contrast(
    name: str,
    base: str,
    samples: Mapping[str, np.ndarray],
    p: tuple[float, float] | None,
    alpha: float,
    family: int,
) -> PopulationContrast:
    a, b = samples[name], samples[base]
    sizes, nan = (len(a), len(b)), math.nan
    if p is None:
        return PopulationContrast(name, base, *sizes, _beats(a, b), nan, nan, nan, nan, "too few designs: no verdict")
    share = _beats(a, b)
    low, high = _interval(a, b, alpha / family)
    if p[1] <= alpha:
        verdict = "improves" if share > 0.5 else "worsens"
    else:
        verdict = f"unresolved (a design of {name} beats one of {base} in {low:.0%} to {high:.0%} of pairs)"
    return PopulationContrast(name, base, *sizes, share, low, high, *p, verdict)


def _beats(a: np.ndarray, b: np.ndarray) -> float:
    if not (len(a) and len(b)):
        return math.nan
    return float(_shares_below(a, b).mean())


def _shares_below(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """For each of b, the share of a below it, ties as half."""
    ordered = np.sort(a)
    less, at_most = (np.searchsorted(ordered, b, side=side) for side in ("left", "right"))
    return (less + at_most) / 2 / len(a)


def _p(a: np.ndarray, b: np.ndarray) -> float:
    if len(set(a) | set(b)) == 1:
        return 1.0
    p = float(stats.mannwhitneyu(a, b).pvalue)
    if _beats(a, b) in (0.0, 1.0):  # one population wholly below the other: no scatter of ranks to estimate
        return p
    return max(p, float(stats.brunnermunzel(a, b).pvalue))


def _interval(a: np.ndarray, b: np.ndarray, alpha: float) -> tuple[float, float]:
    """Newcombe's holds for few designs, Brunner and Munzel's where spreads differ, as the tests do."""
    share = _beats(a, b)
    low, high = _newcombe(share, len(a), len(b), alpha)
    wins = _shares_below(b, a), _shares_below(a, b)
    parts = [(float(one.var(ddof=1)) / len(one), len(one) - 1) for one in wins]
    variance = sum(part for part, _ in parts)
    if variance > 0:
        half = t_quantile(1 - alpha / 2, variance**2 / sum(part**2 / df for part, df in parts)) * math.sqrt(variance)
        low, high = min(low, max(share - half, 0.0)), max(high, min(share + half, 1.0))
    return low, high


def _newcombe(share: float, n_a: int, n_b: int, alpha: float) -> tuple[float, float]:
    quantile, extra = float(stats.norm.ppf(1 - alpha / 2)), (n_a + n_b) / 2 - 1

    def excess(true: float) -> float:
        spread = true * (1 - true) * (1 + extra * (1 - true) / (2 - true) + extra * true / (1 + true)) / (n_a * n_b)
        return (true - share) ** 2 - quantile**2 * spread

    edge = 1e-9  # at 0 and 1 the spread vanishes, which would end the search on the share itself
    low = optimize.brentq(excess, 0, min(share, 1 - edge)) if share > 0 else 0.0
    high = optimize.brentq(excess, max(share, edge), 1) if share < 1 else 1.0
    return float(low), float(high)
