"""New images, repeats and populations of designs: do intervals and shares hold there?"""

from __future__ import annotations

import math

import numpy as np
from calibration.nulls import FALSE
from calibration.promise import ARMS, SD, Promise, share
from scipy import stats

from analysis.statistics import (
    compare,
    compare_populations,
    edf_band,
    estimate,
    example_interval,
    pooled_sd,
    win_again,
)

IMAGES = 500


def new_images(studies: int, n: int) -> list[Promise]:
    """Two arms over n seeds and images drawn anew in each study; runs differ by images only, or as wholes too."""
    found = []
    for wholes, words in ((0.0, "runs differ image by image"), (0.15, "whole runs differ too")):
        rng = np.random.default_rng([21, n, int(wholes * 100)])
        held = [_holds(rng, n, wholes) for _ in range(studies)]
        part = f"new images and new seeds, {n} seeds, {words}"
        found.append(Promise(part, "the interval holds the difference", share(h for h, _ in held), studies, 0.935))
        found.append(Promise(part, "the seeds' interval alone holds it", share(h for _, h in held), studies))
    return found


def _holds(rng: np.random.Generator, n: int, wholes: float) -> tuple[bool, bool]:
    """An image's chance to be wrong is Phi(its difficulty + its arm's taste + the run's): the mean is closed form."""
    difficulty = rng.normal(-2.0, 1.2, IMAGES)
    right, truth = [], []
    for shift in (0.0, 0.15):
        at = difficulty + shift + rng.normal(0, 0.4, IMAGES) + rng.normal(0, wholes, (n, 1))
        right.append(rng.random((n, IMAGES)) > stats.norm.cdf(at))
        truth.append(100 * stats.norm.cdf((-2.0 + shift) / math.sqrt(1 + 1.2**2 + 0.4**2 + wholes**2)))
    found, true = example_interval(*right), truth[0] - truth[1]
    errors = {name: 100 * (1 - one.mean(axis=1)) for name, one in zip(("a", "base"), right, strict=True)}
    (seeds,) = compare(errors, "base").contrasts
    return found.low <= true <= found.high, seeds.low <= true <= seeds.high


def beta_images(studies: int, n: int) -> list[Promise]:
    """As `new_images` with chances from beta distributions, which the arms share on four images of five."""
    rng, held = np.random.default_rng([22, n]), []
    for _ in range(studies):
        common, own = rng.beta(0.5, 4.5, IMAGES), (rng.beta(0.5, 4.5, IMAGES), rng.beta(0.7, 4.3, IMAGES))
        alike = rng.random(IMAGES) < 0.8
        right = [rng.random((n, IMAGES)) > np.where(alike, common, chance) for chance in own]
        found, true = example_interval(*right), 100 * 0.2 * (0.1 - 0.14)
        held.append(found.low <= true <= found.high)
    part = f"new images and new seeds, {n} seeds, beta-binomial"
    return [Promise(part, "the interval holds the difference", share(held), studies, 0.935)]


def repeats(studies: int, n: int) -> list[Promise]:
    """How often the winner wins again was said to be, about how often it does; true means equal or apart."""
    found = []
    for apart, words in ((0.0, "equal arms"), (1.0, "true means an SE apart"), (3.0, "true means three SEs apart")):
        rng, said, won = np.random.default_rng([23, n, int(apart)]), [], []
        for study in range(studies):
            means = 12 + rng.normal(0, apart * SD / math.sqrt(n), len(ARMS))
            first, again = (means[:, None] + rng.normal(0, SD, (len(ARMS), n)) for _ in range(2))
            estimates = {name: estimate(errors) for name, errors in zip(ARMS, first, strict=True)}
            best = min(estimates, key=lambda name: estimates[name].mean)
            said.append(win_again(estimates, *pooled_sd(estimates), draws=200, seed=study)[best])
            won.append(ARMS[again.mean(axis=1).argmin()] == best)
        part, over = f"the best of five wins again, {n} seeds, {words}", float(np.mean(said))
        bounds = (share(won) - 0.1, share(won) + (0.15 if apart == 0 else 0.05))
        found.append(Promise(part, f"said so (it does in {share(won):.0%})", over, studies, *bounds))
    return found


def populations(studies: int, n: int) -> list[Promise]:
    """Designs drawn anew in each study: alike, alike but more scattered, and better in 70% of pairs."""
    rng = np.random.default_rng([24, n])
    better = -math.sqrt(2) * stats.norm.ppf(0.7)
    cases = {"alike": (0.0, 1.0, 0.5), "one more scattered": (0.0, 3.0, 0.5), "one better": (better, 1.0, 0.7)}
    found = []
    for words, (shift, scale, true) in cases.items():
        held, claims, bands = [], [], []
        for _ in range(studies):
            groups = {"base": rng.normal(0, 1, n), "a": rng.normal(shift, scale, n)}
            (one,) = compare_populations(groups)
            held.append(one.low <= true <= one.high)
            claims.append(one.kind != "unresolved")
            x, low, high = edf_band(groups["base"])
            truth = stats.norm.cdf(x)
            bands.append(bool(np.all(truth <= high) and np.all(truth >= low - 1 / n)))
        part = f"populations of {n} designs, {words}"
        found.append(Promise(part, "the probability's interval holds it", share(held), studies, 0.935))
        if true == 0.5:
            found.append(Promise(part, "a false claim", share(claims), studies, high=FALSE))
        else:
            found.append(Promise(part, "found", share(claims), studies))
    found.append(Promise(f"populations of {n} designs", "the band holds the whole curve", share(bands), studies, 0.935))
    return found
