"""One arm over its seeds, and the SD pooled over arms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

ALPHA = 0.05
POWER = 0.8
ROUNDING = 1e-12  # relative: an SD below it is what floating point leaves of equal values


@dataclass(frozen=True)
class Estimate:
    """One arm over its seeds. What so few seeds leave undefined is NaN: the mean at n = 0, the rest below n = 2."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    """Ends of the t-interval for the mean, from this arm's own SD."""


def finite(values: ArrayLike) -> np.ndarray:
    """The finite values, as floats of shape (n,): a run that diverged has no error to average."""
    array = np.asarray(values, dtype=float).ravel()
    return array[np.isfinite(array)]


def t_quantile(share: float, df: float) -> float:
    """Student's t below which `share` lies."""
    return float(special.stdtrit(df, share))  # what stats.t calls in the end, without its dear checks


def t_above(t: float, df: float) -> float:
    """The share of Student's t above `t`."""
    return float(special.stdtr(df, -t))


def sd_of(array: np.ndarray) -> float:
    """SD (n - 1) of at least two finite values; exactly 0 where they differ by rounding alone."""
    sd = float(array.std(ddof=1))
    return sd if sd > ROUNDING * float(np.abs(array).max()) else 0.0


def estimate(values: ArrayLike, alpha: float = ALPHA) -> Estimate:
    """Mean, SD (n - 1) and two-sided t-interval of `values`, shape (n,); what is not finite is left out."""
    array = finite(values)
    n = len(array)
    mean = float(array.mean()) if n else math.nan
    if n < 2:
        return Estimate(n, mean, math.nan, math.nan, math.nan)
    sd = sd_of(array)
    half = t_quantile(1 - alpha / 2, n - 1) * sd / math.sqrt(n)
    return Estimate(n, mean, sd, mean - half, mean + half)


def pooled_sd(estimates: Mapping[str, Estimate]) -> tuple[float, int]:
    """The SD pooled over arms, weighted by n - 1, and its degrees of freedom; (NaN, 0) where every n is below 2."""
    several = [arm for arm in estimates.values() if arm.n > 1]
    df = sum(arm.n - 1 for arm in several)
    if not df:
        return math.nan, 0
    return math.sqrt(sum((arm.n - 1) * arm.sd**2 for arm in several) / df), df
