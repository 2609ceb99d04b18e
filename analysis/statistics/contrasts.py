"""Every arm of a panel against its baseline: tests, simultaneous intervals, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.multitest import multipletests

from .estimates import ALPHA, Estimate, estimate, pooled_sd
from .power import resolvable_difference


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
