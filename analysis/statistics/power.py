"""What seeds can resolve: known before a run is started."""

from __future__ import annotations

import math

from scipy import optimize, stats

from .estimates import ALPHA, POWER


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
