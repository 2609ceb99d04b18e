"""How often the winner would win again."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from .estimates import Estimate


def win_again(
    estimates: Mapping[str, Estimate], sd: float, df: int, *, draws: int = 20_000, seed: int = 0
) -> dict[str, float]:
    """Arm -> how often its mean would be the lowest, were the study repeated with the same seeds an arm.

    `sd` and `df` as of `pooled_sd`. A draw takes an SD (chi-square about the one found), true means given those found,
    and new means about the true ones. The found means are drawn towards their common mean as far as seeds alone could
    have spread them (uniform prior on the shrinkage; Strawderman 1971), for the best of several equal arms looks better
    than it is; a lone arm far below the others is drawn in too much for that, so its share is too low.
    An arm without runs gets NaN, as do all where `df` is below 1.
    """
    arms = {name: arm for name, arm in estimates.items() if arm.n}
    shares = dict.fromkeys(estimates, math.nan)
    if df < 1 or not arms:
        return shares
    rng = np.random.default_rng(seed)
    means, n = np.array([arm.mean for arm in arms.values()]), np.array([arm.n for arm in arms.values()])
    variances = (sd * math.sqrt(df)) ** 2 / rng.chisquare(df, draws)[:, None] / n
    true = _true_means(means, variances, rng)
    again = true + np.sqrt(variances) * rng.standard_normal(true.shape)
    won = np.bincount(again.argmin(axis=1), minlength=len(means)) / draws
    return shares | dict(zip(arms, map(float, won), strict=True))


def _true_means(means: np.ndarray, variances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws of the true means, shape (draws, arms), given those found and the variances of each, (draws, arms)."""
    draws, arms = variances.shape
    if arms < 2 or not variances.any():
        return np.broadcast_to(means, variances.shape)
    usual = stats.hmean(variances, axis=1)
    shape = (arms + 1) / 2
    rate = np.maximum(np.sum((means - means.mean()) ** 2) / 2 / usual, 1e-6)  # equal means leave no gamma
    # the share of spread that seeds explain: a gamma cut at 1
    noise = stats.gamma.ppf(rng.random(draws) * stats.gamma.cdf(1, shape, scale=1 / rate), shape, scale=1 / rate)
    between = usual * (1 - noise) / noise
    weights = 1 / (variances + between[:, None])
    middle = np.sum(weights * means, axis=1) / weights.sum(axis=1)
    middle += rng.standard_normal(draws) / np.sqrt(weights.sum(axis=1))
    keep = between[:, None] / (variances + between[:, None])
    drawn = middle[:, None] + keep * (means - middle[:, None])
    return drawn + np.sqrt(keep * variances) * rng.standard_normal(variances.shape)
