"""Where arms differ: is it found as often as was promised at the SD used, and called what it is?"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from calibration.nulls import AXES, DOUBLINGS, PAIRS
from calibration.promise import ARMS, SD, Promise, share, studies_of
from scipy import stats

from analysis.statistics import (
    Contrast,
    axis_contrasts,
    compare,
    estimate,
    pooled_sd,
    resolvable_difference,
    seeds_needed,
    trend,
)

NEAR = 0.03
POWER = (0.8 - NEAR, 0.8 + NEAR)


def named(contrasts: list[Contrast], name: str) -> str:
    """The verdict's kind on arm `name`."""
    return next(c.kind for c in contrasts if c.a == name)


def at_true_sd(n: int, resolvable: Callable[[dict[str, np.ndarray]], float]) -> float:
    """What a study is said to resolve, had its pooled SD come out as the true one."""
    groups = next(studies_of(np.random.default_rng(10), 1, n, dict.fromkeys(ARMS, 12.0)))
    sd, _ = pooled_sd({name: estimate(errors) for name, errors in groups.items()})
    return resolvable(groups) / sd * SD


def one_arm(studies: int, n: int) -> list[Promise]:
    """An arm that is better by what was called resolvable: against one baseline alone, and as one of four."""
    rng = np.random.default_rng([11, n])
    alone = resolvable_difference(SD, n, n, 2 * (n - 1))
    two = studies_of(rng, studies, n, {"base": 12.0, "a": 12 - alone})
    found = share(compare(groups, "base").contrasts[0].kind == "improves" for groups in two)
    first = resolvable_difference(SD, n, n, 5 * (n - 1), contrasts=4)
    five = studies_of(rng, studies, n, dict.fromkeys(ARMS, 12.0) | {"a": 12 - first})
    of_four = share(named(compare(groups, "base").contrasts, "a") == "improves" for groups in five)
    part = f"a difference that {n} seeds resolve"
    return [
        Promise(part, f"{alone:.3f} points found, one contrast", found, studies, *POWER),
        Promise(part, f"{first:.3f} points found, Holm's first step of four", of_four, studies, *POWER),
    ]


def paired(studies: int, n: int) -> list[Promise]:
    """As `one_arm`, paired by seed, half of the variance shared."""
    rng, seeds = np.random.default_rng([12, n]), {"base": range(n), "a": range(n)}
    sd = SD * math.sqrt(0.5)  # of what a run does not share
    step = resolvable_difference(sd, n, n, n - 1)
    found = []
    for _ in range(studies):
        base, arm = 12 + rng.normal(0, sd, n) + rng.normal(0, sd, (2, n))
        found.append(compare({"base": base, "a": arm - step}, "base", seeds=seeds).contrasts[0].kind == "improves")
    part = f"a difference that {n} seeds resolve"
    return [Promise(part, f"{step:.3f} points found, paired (correlation 0.5)", share(found), studies, *POWER)]


def planned(studies: int, resolve: float) -> list[Promise]:
    """The seeds that `seeds_needed` asks for: they resolve what was asked, with what whole seeds give on top."""
    n = seeds_needed(SD, resolve, arms=5, contrasts=4) or 0
    rng, df = np.random.default_rng([13, n]), 5 * (n - 1)
    five = studies_of(rng, studies, n, dict.fromkeys(ARMS, 12.0) | {"a": 12 - resolve})
    found = share(named(compare(groups, "base").contrasts, "a") == "improves" for groups in five)
    critical = stats.t.isf(0.05 / 8, df)
    computed = float(stats.nct.sf(critical, df, resolve / SD / math.sqrt(2 / n)))
    part = f"{n} seeds, as needed for {resolve} points among five arms"
    what = f"the difference found (computed: {computed:.1%})"
    return [Promise(part, what, found, studies, computed - NEAR, computed + NEAR)]


def axes(studies: int, n: int) -> list[Promise]:
    """Arms of an axis that are worse, as a mean, by what the first pair's contrast was said to resolve."""
    rng = np.random.default_rng([14, n])
    step = at_true_sd(n, lambda groups: axis_contrasts(groups, AXES, PAIRS)[0].resolvable)
    means = {name: 12 + step * (name in AXES["width"]) for name in ARMS}  # cardinality is no better than depth
    found = [axis_contrasts(g, AXES, PAIRS)[0].kind == "improves" for g in studies_of(rng, studies, n, means)]
    part = f"a difference that {n} seeds resolve"
    return [Promise(part, f"{step:.3f} points found between two axes of two arms", share(found), studies, *POWER)]


def line(studies: int, n: int) -> list[Promise]:
    """Arms on a line that falls end to end by what the trend was said to resolve."""
    rng = np.random.default_rng([15, n])
    step = at_true_sd(n, lambda groups: trend(groups, DOUBLINGS).resolvable)
    means = {name: 12 - step * DOUBLINGS[name] / 4 for name in ARMS}
    found = [trend(g, DOUBLINGS) for g in studies_of(rng, studies, n, means)]
    held = [t.end_low <= -step <= t.end_high for t in found]
    part = f"a difference that {n} seeds resolve"
    return [
        Promise(part, f"{step:.3f} points found end to end", share(t.kind == "falls" for t in found), studies, *POWER),
        Promise(part, "the line's interval holds the truth", share(held), studies, 0.935, 0.965),
    ]


FALLS = "error falls with x"
UNEVEN = "no line: error falls, but not evenly"
SHAPES = {
    "a straight fall": ((0, -1, -2, -3, -4), FALLS),
    "a fall that levels off": ((0, -2.4, -3.6, -4, -4), UNEVEN),
    "a step after the first arm": ((0, -4, -4, -4, -4), "no line: base departs from the line of the others"),
    "one outlier in the middle": ((0, 0, -4, 0, 0), "no line: b departs from the line of the others"),
    "one outlier at the end": ((0, 0, 0, 0, -4), "no line: d departs from the line of the others"),
}


def shapes(studies: int, n: int) -> list[Promise]:
    """Effects four seed SDs tall: each shape is called what it is, nine times in ten."""
    rng, found = np.random.default_rng([16, n]), []
    for shape, (steps, verdict) in SHAPES.items():
        means = {name: 12 + SD * step for name, step in zip(ARMS, steps, strict=True)}
        lines = [trend(groups, DOUBLINGS) for groups in studies_of(rng, studies, n, means)]
        part = f"{shape}, four SDs tall, {n} seeds"
        found.append(Promise(part, f"*{verdict}*", share(t.verdict == verdict for t in lines), studies, 0.9))
        if verdict != FALLS:
            plain = share(t.kind in ("falls", "rises") for t in lines)
            found.append(Promise(part, "a plain trend claimed", plain, studies, high=0.05))
    return found


def faint_shapes(studies: int, n: int) -> list[Promise]:
    """As `shapes` with effects that few seeds see badly: what is claimed then."""
    rng, found = np.random.default_rng([17, n]), []
    for shape, (steps, _) in SHAPES.items():
        means = {name: 12 + SD * step / 2 for name, step in zip(ARMS, steps, strict=True)}
        lines = [trend(groups, DOUBLINGS) for groups in studies_of(rng, studies, n, means)]
        part = f"{shape}, two SDs tall, {n} seeds"
        claimed = share(t.kind in ("falls", "rises") for t in lines)
        flat = shape == "one outlier in the middle"  # no line through these arms slopes
        high = 0.064 if flat else math.inf
        found.append(Promise(part, "a plain trend claimed", claimed, studies, high=high))
        found.append(Promise(part, "*no line*", share(t.kind == "no line" for t in lines), studies))
    return found
