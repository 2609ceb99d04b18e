"""What seeds can resolve, how many it takes, and how well an SD is known: before a run is started."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy import optimize, stats

from .estimates import ALPHA, POWER, t_quantile


@lru_cache(maxsize=4096)
def detectable_shift(df: int, *, contrasts: int = 1, alpha: float = ALPHA, power: float = POWER) -> float:
    """The true difference, in its own standard errors, that a two-sided t-test finds with probability `power`.

    Exact, from the noncentral t, at the level alpha / contrasts. NaN where df is below 1.
    """
    if df < 1:
        return math.nan
    critical = t_quantile(1 - alpha / contrasts / 2, df)

    def lacking(shift: float) -> float:
        return float(stats.nct.sf(critical, df, shift)) - power

    upper = 1.0
    while not lacking(upper) > 0:  # bracketed from below: far out the noncentral t is NaN
        upper *= 1.2
        if upper > 1e4:
            return math.nan
    return float(optimize.brentq(lacking, 0.0, upper))


def resolvable_difference(
    sd: float, n: int, n_baseline: int, df: int, *, contrasts: int = 1, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest true difference that a two-sided t-test finds with probability `power`, in the unit of `sd`.

    `df` are the pooled SD's; the level is Holm's first step, alpha / contrasts, which a difference has to pass when no
    other arm differs. Exact: from the noncentral t. NaN where there is nothing to test with.
    """
    if df < 1 or min(n, n_baseline) < 1 or not sd > 0:
        return math.nan
    return detectable_shift(df, contrasts=contrasts, alpha=alpha, power=power) * sd * math.sqrt(1 / n + 1 / n_baseline)


def seeds_needed(
    sd: float,
    resolve: float,
    *,
    arms: int,
    contrasts: int,
    alpha: float = ALPHA,
    power: float = POWER,
    most: int = 10_000,
) -> int | None:
    """The fewest seeds an arm with which `arms` arms, their SD pooled, resolve a difference of `resolve`; at least 2.

    `sd` and `resolve` are in one unit; None where more than `most` seeds are needed. The number is as good as `sd` is:
    see `sd_range`. Raises ValueError for an SD or a difference that is not positive, and for fewer than two arms.
    """
    if not (sd > 0 and resolve > 0 and math.isfinite(sd) and math.isfinite(resolve)):
        raise ValueError(f"seeds_needed: sd {sd:g} and resolve {resolve:g} must be positive numbers")
    if arms < 2 or contrasts < 1:
        raise ValueError(f"seeds_needed: {arms} arms and {contrasts} contrasts; at least 2 and 1 are needed")

    def enough(n: int) -> bool:
        found = resolvable_difference(sd, n, n, arms * (n - 1), contrasts=contrasts, alpha=alpha, power=power)
        return found <= resolve

    few, many = 1, 2
    while many <= most and not enough(many):
        few, many = many, many * 2
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many if many <= most else None


def sd_range(sd: float, df: int, level: float = 0.95) -> tuple[float, float]:
    """Where the true SD lies, with probability `level`, when `sd` was found with `df` degrees of freedom (chi-square).

    (NaN, NaN) where df is below 1 or `sd` is NaN.
    """
    if df < 1 or not sd >= 0:
        return math.nan, math.nan
    tail = (1 - level) / 2
    low, high = (sd * math.sqrt(df / float(stats.chi2.ppf(share, df))) for share in (1 - tail, tail))
    return low, high
