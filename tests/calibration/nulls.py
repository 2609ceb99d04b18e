"""Where no arm differs, or all differ by the margin: how often is something claimed all the same?"""

from __future__ import annotations

import math

import numpy as np
from calibration.promise import ARMS, SD, Promise, share, studies_of
from scipy import stats

from analysis.statistics import IF_EQUAL, axis_contrasts, compare, interaction, look_alphas, trend

FALSE = 0.064
"""5%, and two standard errors of 1,000 studies."""
EQUAL = dict.fromkeys(ARMS, 12.0)
CLAIMS = ("improves", "worsens")
DOUBLINGS = {name: float(i) for i, name in enumerate(ARMS)}
AXES = {"depth": ["base"], "width": ["a", "b"], "cardinality": ["c", "d"]}
PAIRS = [("cardinality", "width"), ("cardinality", "depth")]


def false_improves(n: int, alpha: float = 0.05) -> float:
    """The computed chance that Holm's first step calls an arm of four equal ones better than its equal baseline.

    Over the baseline's mean (Gauss-Hermite) and the pooled SD (chi-square, by its quantiles) the arms are independent.
    """
    arms, df = len(ARMS), len(ARMS) * (n - 1)
    critical = stats.t.isf(alpha / (arms - 1) / 2, df)
    at, weights = np.polynomial.hermite_e.hermegauss(60)
    sds = np.sqrt(stats.chi2.ppf((np.arange(2000) + 0.5) / 2000, df) / df)
    none = stats.norm.sf(at[:, None] - critical * math.sqrt(2) * sds) ** (arms - 1)
    return float(1 - weights @ none.mean(axis=1) / weights.sum())


def contrasts(studies: int, n: int) -> list[Promise]:
    """Five equal arms, four contrasts."""
    rng = np.random.default_rng([1, n])
    found = [compare(groups, "base") for groups in studies_of(rng, studies, n, EQUAL)]
    kinds = [{c.kind for c in one.contrasts} for one in found]
    covered = [e.low <= 12 <= e.high for one in found for e in one.estimates.values()]
    at_once = [all(c.low <= 0 <= c.high for c in one.contrasts) for one in found]
    welch = [c.welch_p <= 0.05 for one in found for c in one.contrasts]
    computed, part = false_improves(n), f"no effect, {n} seeds"
    return [
        Promise(part, "any false claim", share(kind & set(CLAIMS) for kind in kinds), studies, high=FALSE),
        Promise(
            part,
            f"a false *improves* (computed: {computed:.1%})",
            share("improves" in kind for kind in kinds),
            studies,
            computed - 0.01,
            computed + 0.01,
        ),
        Promise(part, "an arm's t-interval holds its mean", share(covered), studies, 0.935, 0.965),
        Promise(part, "all simultaneous intervals hold zero", share(at_once), studies, low=1 - FALSE),
        Promise(part, "Welch's p of one contrast below 5%", share(welch), studies, high=FALSE),
        Promise(part, "equal spreads called unequal", share(o.spread_p <= 0.05 for o in found), studies, high=FALSE),
    ]


def pairs(studies: int, n: int) -> list[Promise]:
    """Five equal arms whose runs of one seed are correlated, paired by seed."""
    rng, seeds = np.random.default_rng([2, n]), dict.fromkeys(ARMS, range(n))
    claims, covered = [], []
    for _ in range(studies):
        shared = rng.normal(0, SD * math.sqrt(0.5), n)
        groups = {name: 12 + shared + rng.normal(0, SD * math.sqrt(0.5), n) for name in ARMS}
        found = compare(groups, "base", seeds=seeds).contrasts
        claims.append(any(c.kind in CLAIMS for c in found))
        covered.append(all(c.low <= 0 <= c.high for c in found))
    part = f"no effect, {n} seeds, paired (correlation 0.5)"
    return [
        Promise(part, "any false claim", share(claims), studies, high=FALSE),
        Promise(part, "all simultaneous intervals hold zero", share(covered), studies, low=1 - FALSE),
    ]


def axes_and_line(studies: int, n: int) -> list[Promise]:
    """Five equal arms: contrasts between axes, and the line."""
    rng = np.random.default_rng([3, n])
    claims, lines = [], []
    for groups in studies_of(rng, studies, n, EQUAL):
        claims.append(any(c.kind in CLAIMS for c in axis_contrasts(groups, AXES, PAIRS)))
        lines.append(trend(groups, DOUBLINGS))
    part = f"no effect, {n} seeds"
    return [
        Promise(part, "any false claim between axes (two pairs)", share(claims), studies, high=FALSE),
        Promise(part, "a false trend", share(t.kind in ("falls", "rises") for t in lines), studies, high=FALSE),
        Promise(part, "a false *no line*", share(t.kind == "no line" for t in lines), studies, high=FALSE),
        Promise(
            part, "the slope's interval holds zero", share(t.low <= 0 <= t.high for t in lines), studies, 0.935, 0.965
        ),
    ]


def recipes(studies: int, n: int) -> list[Promise]:
    """Two recipes by three arms, effects of both but no interaction."""
    rng = np.random.default_rng([4, n])
    means = {(r, c): i + 0.3 * j for i, r in enumerate(("short", "long")) for j, c in enumerate(ARMS[:3])}
    found = [interaction({cell: rng.normal(12 - mean, SD, n) for cell, mean in means.items()}) for _ in range(studies)]
    part = f"two recipes by three arms without interaction, {n} seeds"
    differs = [any(c.kind == "differs" for c in one.differences) for one in found]
    return [
        Promise(part, "a false *interacts*", share(one.verdict == "interacts" for one in found), studies, high=FALSE),
        Promise(part, "any false *differs* of differences", share(differs), studies, high=FALSE),
    ]


def margin(studies: int, n: int) -> list[Promise]:
    """All arms worse than the baseline by exactly the margin: equivalent would be wrong."""
    rng, at = np.random.default_rng([5, n]), 3 * SD
    means = {name: 12 + at * (name != "base") for name in ARMS}
    four, one, ends = [], [], []
    for groups in studies_of(rng, studies, n, means):
        four.append(any(c.equivalent for c in compare(groups, "base", margin=at).contrasts))
        two = {name: groups[name] for name in ("base", "a")}
        one.append(compare(two, "base", margin=at).contrasts[0].equivalent)
        # the same noise about a line from 0 to the margin
        line = {name: groups[name] - means[name] + 12 + at * x / 4 for name, x in DOUBLINGS.items()}
        ends.append(trend(line, DOUBLINGS, margin=at).equivalent)
    part = f"differences exactly at the margin, {n} seeds"
    return [
        Promise(part, "any of four arms called equivalent", share(four), studies, high=FALSE),
        Promise(part, "one arm called equivalent", share(one), studies, high=FALSE),
        Promise(part, "a line called equivalent end to end", share(ends), studies, high=FALSE),
    ]


def looks(studies: int, planned: tuple[int, ...]) -> list[Promise]:
    """No effect, and another look after seeds were added: at registered levels, and at 5% each time."""
    rng, levels = np.random.default_rng([6, *planned]), look_alphas(planned)
    registered, alone, unregistered = [], [], []
    for groups in studies_of(rng, studies, planned[-1], EQUAL):
        found = [
            compare({name: errors[:n] for name, errors in groups.items()}, "base", alpha=level)
            for n, level in zip(planned, levels, strict=True)
        ]
        registered.append(any(c.kind in CLAIMS for one in found for c in one.contrasts))
        unregistered.append(any(c.p_adjusted <= 0.05 for one in found for c in one.contrasts))
        new = compare({name: errors[planned[-2] :] for name, errors in groups.items()}, "base")
        alone.append(any(c.kind in CLAIMS for c in new.contrasts))
    part = f"no effect, looks at {', '.join(map(str, planned))} seeds"
    return [
        Promise(part, "any false claim, looks registered", share(registered), studies, high=FALSE),
        Promise(part, "any false claim, from the last look's new seeds alone", share(alone), studies, high=FALSE),
        Promise(part, "any false claim, looks not registered: has to show", share(unregistered), studies, low=FALSE),
    ]


def unequal(studies: int, n: int) -> list[Promise]:
    """No effect, but the baseline scatters twice as much: the pooled SD alone claims too much, and says so."""
    rng = np.random.default_rng([7, n])
    found = []
    for groups in studies_of(rng, studies, n, EQUAL):
        groups["base"] = 12 + 2 * (groups["base"] - 12)
        found.append(compare(groups, "base"))
    part = f"no effect, {n} seeds, the baseline's SD doubled"
    claims = [any(c.kind in CLAIMS for c in one.contrasts) for one in found]
    plain = [any(c.kind in CLAIMS and IF_EQUAL not in c.verdict for c in one.contrasts) for one in found]
    welch = [c.welch_p <= 0.05 for one in found for c in one.contrasts]
    return [
        Promise(part, "any false claim not marked *if spreads are equal*", share(plain), studies, high=FALSE),
        Promise(part, "any false claim, marked so or not", share(claims), studies),
        Promise(part, "equal spreads refused", share(one.spread_p <= 0.05 for one in found), studies),
        Promise(part, "Welch's p of one contrast below 5%", share(welch), studies),
    ]
