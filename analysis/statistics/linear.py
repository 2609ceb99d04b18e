"""Weighted sums of arm means: any one, and those between axes (cardinality against width)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from .contrast import Contrast, judge, t_test, weighted
from .estimates import ALPHA, Estimate, estimate, pooled_sd, t_quantile


@dataclass(frozen=True)
class LinearContrast:
    """A weighted sum of arm means, with its two-sided t-interval and test against zero. Undefined numbers are NaN."""

    difference: float
    low: float
    high: float
    p: float
    df: int
    sd: float
    """Pooled over all arms, those without a weight too."""
    se: float
    """Standard error of the difference."""


def linear_contrast(
    groups: Mapping[str, ArrayLike], weights: Mapping[str, float], *, alpha: float = ALPHA, contrasts: int = 1
) -> LinearContrast:
    """The sum over arms of weight x mean error, tested with the SD pooled over all of `groups`, shapes (n,).

    The interval is at the level alpha / contrasts. Raises KeyError where `weights` names an arm that is not there.
    """
    estimates = {name: estimate(values) for name, values in groups.items()}
    pooled = sd, df = pooled_sd(estimates)
    one = weighted(("", ""), weights, estimates, pooled, why_none(weights, estimates, sd))
    if one.none:
        return LinearContrast(one.difference, math.nan, math.nan, math.nan, df, sd, math.nan)
    half = t_quantile(1 - alpha / contrasts / 2, df) * one.se
    p = t_test(one.difference, one.se, df)
    return LinearContrast(one.difference, one.difference - half, one.difference + half, p, df, sd, one.se)


def axis_contrasts(
    groups: Mapping[str, ArrayLike],
    axes: Mapping[str, Sequence[str]],
    pairs: Sequence[tuple[str, str]],
    *,
    alpha: float = ALPHA,
    margin: float | None = None,
) -> list[Contrast]:
    """Each registered pair of axes: the mean over the arms of the first less the mean over those of the second.

    `axes` maps an axis to its arms, of which each counts alike however many seeds it has; an arm of both axes cancels
    as far as its weights agree. It speaks of these arms, not of all that the axes could have held. Tests, intervals,
    equivalence and verdicts as in `compare`, the pairs being the family; `improves` says that the first has the lower
    error. A pair with an arm of fewer than two seeds gets no test: a mean over other arms would be another question.
    Raises KeyError for an axis or arm that is not there, ValueError for an axis without arms or a pair that cancels.
    """
    estimates = {name: estimate(values) for name, values in groups.items()}
    pooled = pooled_sd(estimates)
    differences = []
    for pair in pairs:
        weights = axis_weights(axes, pair)
        none = why_none(weights, estimates, pooled[0])
        differences.append(weighted(pair, weights, estimates, pooled, none))
    return judge(differences, alpha=alpha, margin=margin)


def axis_weights(axes: Mapping[str, Sequence[str]], pair: tuple[str, str]) -> dict[str, float]:
    """Arm -> its weight in the pair's contrast. Raises as `axis_contrasts` does."""
    weights: defaultdict[str, float] = defaultdict(float)
    for axis, sign in zip(pair, (1, -1), strict=True):
        if not axes[axis]:
            raise ValueError(f"axis {axis} has no arms, so it can't be compared")
        for arm in axes[axis]:
            weights[arm] += sign / len(axes[axis])
    kept = {arm: weight for arm, weight in weights.items() if abs(weight) > 1e-12}
    if not kept:
        raise ValueError(f"axes {pair[0]} and {pair[1]} hold the same arms, so they can't differ")
    return kept


def why_none(weights: Mapping[str, float], estimates: Mapping[str, Estimate], sd: float) -> str:
    """Why a weighted sum of these arms can't be tested; empty where it can."""
    for name in weights:
        n = estimates[name].n
        if n < 2:
            return f"{'no finished run' if n == 0 else 'one seed'} of {name}: no verdict"
    return "" if sd > 0 else "the seeds do not vary: no verdict"
