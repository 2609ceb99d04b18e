"""One contrast: a difference with its standard error; then, among the contrasts of its family, what may be said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .estimates import Estimate, t_above, t_quantile
from .power import detectable_shift

IF_EQUAL = ", if spreads are equal"
"""Follows a claim that rests on the pooled SD: Welch's test, which does without, is not significant."""
KINDS = ("improves", "worsens", "equivalent", "unresolved", "differs")


@dataclass(frozen=True)
class Contrast:
    """`a` less `b` (an arm and the baseline, or two axes), and what may be said about it. Undefined numbers are NaN."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    """Ends of the simultaneous interval (Bonferroni over the family's contrasts, so it holds for all at once)."""
    p: float
    p_adjusted: float
    """By Holm, over the family's contrasts."""
    resolvable: float
    """The smallest true difference that such seeds resolve with 80% power, at the SD found, by the test used."""
    equivalent: bool
    """Whether two one-sided tests, Holm-adjusted, place the difference within the margin."""
    verdict: str
    welch_p: float = math.nan
    """Unadjusted, from each arm's own SD, as the pooled SD assumes they are equal."""
    welch_adjusted: float = math.nan
    """By Holm. A claim of the pooled test that this one does not make is a claim *if spreads are equal*."""
    test: str = "pooled"
    """`pooled`: unpaired, with the SD pooled over arms; `paired`: by common seed, with the SD of the differences."""

    @property
    def kind(self) -> str:
        """The verdict's first word: improves, worsens, equivalent, unresolved, differs; `none` where there is none."""
        return kind_of(self.verdict)


@dataclass(frozen=True)
class Difference:
    """What a contrast is made of before its family is known."""

    a: str
    b: str
    difference: float
    se: float
    df: int
    welch_p: float = math.nan
    test: str = "pooled"
    none: str = ""
    """Why it can't be tested; empty where it can."""

    @property
    def p(self) -> float:
        """Two-sided, against zero."""
        return t_test(self.difference, self.se, self.df)

    def p_outside(self, margin: float) -> float:
        """The larger p of two one-sided tests against -margin and +margin."""
        return t_above((margin - abs(self.difference)) / self.se, self.df)


def kind_of(verdict: str) -> str:
    """The first word of a verdict where it is one of `KINDS`, else `none`."""
    word = verdict.split()[0].strip(",:")
    return word if word in KINDS else "none"


def t_test(difference: float, se: float, df: float) -> float:
    """Two-sided p of a difference against zero."""
    return 2 * t_above(abs(difference) / se, df)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given."""
    # not statsmodels' multipletests, which collects garbage in every call (60 ms); a test holds the two equal
    p = np.asarray(p_values, dtype=float)
    order, steps = np.argsort(p), np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return [float(value) for value in adjusted]


def weighted(
    names: tuple[str, str],
    weights: Mapping[str, float],
    estimates: Mapping[str, Estimate],
    pooled: tuple[float, int],
    none: str = "",
) -> Difference:
    """The weighted sum of arm means, its standard error from the pooled (SD, df); Welch's p beside it."""
    arms = [(weight, estimates[name]) for name, weight in weights.items()]
    difference = sum(weight * arm.mean for weight, arm in arms)
    sd, df = pooled
    if none:
        return Difference(*names, difference, math.nan, df, none=none)
    se = sd * math.sqrt(sum(weight**2 / arm.n for weight, arm in arms))
    return Difference(*names, difference, se, df, welch_p=welch(arms))


def welch(arms: Sequence[tuple[float, Estimate]]) -> float:
    """P of a weighted sum of means with every arm's own SD and Satterthwaite's df; NaN where an SD is missing."""
    parts = [(weight**2 * arm.sd**2 / arm.n, arm.n - 1) for weight, arm in arms if weight]
    variance = sum(part for part, _ in parts)
    if not variance > 0:
        return math.nan
    df = variance**2 / sum(part**2 / df for part, df in parts)
    return t_test(sum(weight * arm.mean for weight, arm in arms), math.sqrt(variance), df)


def judge(
    differences: Sequence[Difference], *, alpha: float, margin: float | None, words: tuple[str, str] = KINDS[:2]
) -> list[Contrast]:
    """A family's contrasts: those that can be tested are adjusted for each other. `words` say below and above zero."""
    tests = [one for one in differences if not one.none]
    adjusted = iter(holm([one.p for one in tests]))
    within = iter(holm([one.p_outside(margin) for one in tests]) if margin else [1.0] * len(tests))
    unequal = iter(holm([1.0 if math.isnan(one.welch_p) else one.welch_p for one in tests]))
    found = []
    for one in differences:
        if one.none:
            found.append(_untested(one))
        else:
            p = (next(adjusted), next(within), next(unequal))
            found.append(_tested(one, p, len(tests), alpha, margin, words))
    return found


def _tested(
    one: Difference,
    adjusted: tuple[float, float, float],
    family: int,
    alpha: float,
    margin: float | None,
    words: tuple[str, str],
) -> Contrast:
    p_adjusted, p_within, p_unequal = adjusted
    half = t_quantile(1 - alpha / family / 2, one.df) * one.se
    resolvable = detectable_shift(one.df, contrasts=family, alpha=alpha) * one.se
    equivalent = p_within <= alpha
    word = words[one.difference > 0] if p_adjusted <= alpha else ""
    if word and one.test == "pooled" and p_unequal > alpha:
        word += IF_EQUAL
    return Contrast(
        one.a,
        one.b,
        one.difference,
        one.difference - half,
        one.difference + half,
        one.p,
        p_adjusted,
        resolvable,
        equivalent,
        verdict(word, equivalent, margin, resolvable),
        one.welch_p,
        p_unequal,
        one.test,
    )


def _untested(one: Difference) -> Contrast:
    nan = math.nan
    return Contrast(one.a, one.b, one.difference, nan, nan, nan, nan, nan, False, one.none, nan, nan, one.test)


def verdict(differs: str, equivalent: bool, margin: float | None, resolvable: float, where: str = "") -> str:
    """In words: `differs` is the claim that the test allows, empty where it allows none; `where` follows a size."""
    if differs:
        return f"{differs}, by less than the margin of {margin:g}{where}" if equivalent else differs
    if equivalent:
        return f"equivalent within ±{margin:g}{where}"
    if math.isnan(resolvable):  # beyond what the noncentral t can be computed for: two seeds at a first look's level
        return "unresolved (these seeds resolve next to nothing)"
    return f"unresolved (these seeds resolve {resolvable:.2g}{where})"
