"""What seeds allow one to say: arrays of errors in, estimates, intervals, tests and verdicts out.

Values are errors (lower is better), in any one unit; the toolkit passes percent. Networks of different shape share no
initialisation, so arms are compared unpaired, with the SD pooled over the arms of a panel; every arm is compared with
the panel's baseline, and the p-values of a panel are adjusted by Holm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """One arm over its seeds. What so few seeds leave undefined is NaN: the mean at n = 0, the rest below n = 2."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    """Ends of the t-interval for the mean, from this arm's own SD."""


@dataclass(frozen=True)
class Contrast:
    """Arm `a` less arm `b`, the baseline, and what may be said about it. Undefined numbers are NaN."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    """Ends of the simultaneous interval (Bonferroni over the panel's contrasts, so it holds for all at once)."""
    p: float
    p_adjusted: float
    """By Holm, over the panel's contrasts."""
    resolvable: float
    """The smallest true difference that such seeds resolve with 80% power, at the SD found."""
    equivalent: bool
    """Whether two one-sided tests, Holm-adjusted, place the difference within the margin."""
    verdict: str

    @property
    def kind(self) -> str:
        """The verdict's first word: improves, worsens, equivalent, unresolved, or `none` where there is none."""
        word = self.verdict.split()[0].strip(",:")
        return word if word in ("improves", "worsens", "equivalent", "unresolved") else "none"


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


def finite(values: ArrayLike) -> np.ndarray:
    """The finite values, as floats of shape (n,): a run that diverged has no error to average."""
    array = np.asarray(values, dtype=float).ravel()
    return array[np.isfinite(array)]


def estimate(values: ArrayLike, alpha: float = ALPHA) -> Estimate:
    """Mean, SD (n - 1) and two-sided t-interval of `values`, shape (n,); what is not finite is left out."""
    array = finite(values)
    n = len(array)
    mean = float(array.mean()) if n else math.nan
    if n < 2:
        return Estimate(n, mean, math.nan, math.nan, math.nan)
    sd = float(array.std(ddof=1))
    half = float(stats.t.ppf(1 - alpha / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def pooled_sd(estimates: Mapping[str, Estimate]) -> tuple[float, int]:
    """The SD pooled over arms, weighted by n - 1, and its degrees of freedom; (NaN, 0) where every n is below 2."""
    several = [arm for arm in estimates.values() if arm.n > 1]
    df = sum(arm.n - 1 for arm in several)
    if not df:
        return math.nan, 0
    return math.sqrt(sum((arm.n - 1) * arm.sd**2 for arm in several) / df), df


def resolvable_difference(
    sd: float, n: int, n_baseline: int, df: int, *, contrasts: int = 1, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest true difference that a two-sided t-test finds with probability `power`, in the unit of `sd`.

    `df` are the pooled SD's; the level is Holm's first step, alpha / contrasts, which a difference has to pass when no
    other arm differs. Exact: from the noncentral t. NaN where there is nothing to test with.
    """
    if df < 1 or min(n, n_baseline) < 1 or not sd > 0:
        return math.nan
    critical = stats.t.ppf(1 - alpha / contrasts / 2, df)

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(critical, df, shift)) - power

    upper = 1.0
    while not lacking(upper) > 0:  # bracketed from below: far out the noncentral t is NaN
        upper *= 1.2
        if upper > 1e4:
            return math.nan
    shift = optimize.brentq(lacking, 0.0, upper)
    return float(shift) * sd * math.sqrt(1 / n + 1 / n_baseline)


def compare(
    groups: Mapping[str, ArrayLike], baseline: str, *, alpha: float = ALPHA, margin: float | None = None
) -> Comparison:
    """Every arm of `groups` (name -> errors over seeds, shape (n,)) against `baseline`.

    Two-sided t-tests with the pooled SD, adjusted by Holm; simultaneous (Bonferroni) intervals; with a `margin`, two
    one-sided tests for equivalence within it. A contrast with an arm of fewer than two seeds gets no test.
    Raises KeyError where `baseline` is not in `groups`.
    """
    estimates = {name: estimate(values, alpha) for name, values in groups.items()}
    base = estimates[baseline]
    sd, df = pooled_sd(estimates)
    arms = {name: arm for name, arm in estimates.items() if name != baseline}
    tested = [name for name, arm in arms.items() if min(arm.n, base.n) > 1 and sd > 0]
    tests = {name: _Test(estimates[name], base, sd, df) for name in tested}
    adjusted = _holm({name: test.p for name, test in tests.items()})
    within = _holm({name: test.p_outside(margin) for name, test in tests.items()}) if margin else {}
    comparison = Comparison(baseline, estimates, [], sd, df, alpha, margin, len(tested))
    for name, arm in arms.items():
        if name in tests:
            contrast = _tested(name, comparison, tests[name], adjusted[name], within.get(name, 1.0))
        else:
            contrast = _untested(name, baseline, arm.mean - base.mean, _why_none(arm, base))
        comparison.contrasts.append(contrast)
    return comparison


class _Test:
    """The t-test of one arm against the baseline, with the pooled SD."""

    def __init__(self, arm: Estimate, base: Estimate, sd: float, df: int) -> None:
        self.difference, self.df = arm.mean - base.mean, df
        self.se = sd * math.sqrt(1 / arm.n + 1 / base.n)
        self.p = float(2 * stats.t.sf(abs(self.difference) / self.se, df))

    def half_width(self, alpha: float) -> float:
        return float(stats.t.ppf(1 - alpha / 2, self.df)) * self.se

    def p_outside(self, margin: float) -> float:
        """The larger p of two one-sided tests against -margin and +margin."""
        return float(stats.t.sf((margin - abs(self.difference)) / self.se, self.df))


def _holm(p_values: dict[str, float]) -> dict[str, float]:
    if not p_values:
        return {}
    return dict(zip(p_values, map(float, multipletests(list(p_values.values()), method="holm")[1]), strict=True))


def _tested(name: str, panel: Comparison, test: _Test, p_adjusted: float, p_within: float) -> Contrast:
    half = test.half_width(panel.alpha / panel.tested)
    ns = panel.estimates[name].n, panel.estimates[panel.baseline].n
    resolvable = resolvable_difference(panel.sd, *ns, panel.df, contrasts=panel.tested, alpha=panel.alpha)
    equivalent = p_within <= panel.alpha
    return Contrast(
        name,
        panel.baseline,
        test.difference,
        test.difference - half,
        test.difference + half,
        test.p,
        p_adjusted,
        resolvable,
        equivalent,
        _verdict(test.difference, p_adjusted <= panel.alpha, equivalent, panel.margin, resolvable),
    )


def _verdict(difference: float, differs: bool, equivalent: bool, margin: float | None, resolvable: float) -> str:
    if differs:
        word = "improves" if difference < 0 else "worsens"
        return f"{word}, by less than the margin of {margin:g}" if equivalent else word
    if equivalent:
        return f"equivalent within ±{margin:g}"
    return f"unresolved (these seeds resolve {resolvable:.2g})"


def _untested(name: str, baseline: str, difference: float, why: str) -> Contrast:
    unknown: Any = math.nan
    return Contrast(name, baseline, difference, unknown, unknown, unknown, unknown, unknown, False, why)


def _why_none(arm: Estimate, base: Estimate) -> str:
    for n, whose in ((arm.n, "this arm"), (base.n, "the baseline")):
        if n == 0:
            return f"no finished run of {whose}: no verdict"
    if min(arm.n, base.n) == 1:
        return "one seed: no verdict"
    return "the seeds do not vary: no verdict"
