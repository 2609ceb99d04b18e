"""What the finished runs of each panel say, in numbers: estimates, contrasts, trend, at a look that was registered."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ablation.design import Design
from ablation.registration import Registration
from ablation.sweep import AXES, Arm, Panel, Sweep
from analysis.collect import PENDING, Study
from analysis.looks import Look, confirming, exploratory, look_of
from analysis.statistics import (
    Comparison,
    Contrast,
    ExampleInterval,
    Interaction,
    PopulationContrast,
    Trend,
    axis_contrasts,
    compare,
    compare_populations,
    correlation_by_seed,
    example_interval,
    interaction,
    trend,
    win_again,
)

MANY = 5
"""Designs that make a population, whose distribution says more than a mean."""
NEAR = 0.3
"""How far an arm may be from the budget, relatively, to be of one ladder with others."""
INTERIM = "interim: no verdict until every run of a look is in"


@dataclass(frozen=True)
class Finding:
    """A panel and what its finished runs say."""

    panel: Panel
    comparison: Comparison
    """Each arm against the baseline. Verdicts are withheld where no look has all of its runs: to look early and stop
    at will makes false claims likelier."""
    images: int | None
    """How many images each error is over; None where no run finished."""
    pending: int
    """Runs of the panel that may still finish."""
    failed: int
    """Runs of the look's seeds that failed."""
    look: Look
    exploratory: dict[str, str] = field(default_factory=dict)
    """Why an arm's contrast was not registered as it is, by arm."""
    beyond: tuple[Contrast, ...] = ()
    """The sweep's own contrasts, of axes or of arms."""
    trend: Trend | None = None
    """Error over log2 C, where three or more cardinalities were run."""
    again: dict[str, float] = field(default_factory=dict)
    """How often each arm would have the lowest mean, were the study run again."""
    new_images: dict[str, ExampleInterval] = field(default_factory=dict)
    """For new images as well as new seeds, each arm against the baseline; where the runs kept their bits."""
    crossed: Interaction | None = None
    """Recipes by designs, where the panel's arms cross them."""
    populations: tuple[PopulationContrast, ...] = ()
    """Designs of one cardinality against those of the least, where each has `MANY` or more of them."""
    correlation: float = math.nan
    """Mean correlation of the arms' errors over seeds: where it is near 0, pairing by seed would not pay."""
    confirmed: Comparison | None = None
    """The seeds that were added after the registration, by themselves."""


def findings(sweep: Sweep, study: Study) -> list[Finding]:
    """Each panel's arms against its baseline, in the sweep's metric."""
    return [_finding(sweep, panel, study) for panel in sweep.panels]


def first(study: Study) -> Registration | None:
    """The registration that counts: the first one of the study's runs."""
    return study.registrations[0] if study.registrations else None


def _finding(sweep: Sweep, panel: Panel, study: Study) -> Finding:
    own = [run for run in study.missing if run["panel"] == panel.name]
    pending = {run["seed"] for run in own if run["state"] in PENDING}
    look, new = look_of(sweep, pending, first(study)), exploratory(sweep, panel, first(study))
    groups = errors(sweep, study, panel, look.seeds)
    comparison = marked(_compare(sweep, study, panel, look), look, new)
    later = confirming(sweep, pending, study.registrations)
    return Finding(
        panel=panel,
        comparison=comparison,
        images=_images(study, panel),
        pending=sum(run["state"] in PENDING for run in own),
        failed=sum(run["state"] not in PENDING and run["seed"] in look.seeds for run in own),
        look=look,
        exploratory=new,
        beyond=_beyond(sweep, panel, groups, look, new, first(study)),
        trend=_trend(panel, groups, look, sweep.evidence.margin),
        again=_again(comparison, look),
        new_images=_new_images(sweep, study, panel, look),
        correlation=correlation_by_seed(groups, _seeds(study, panel, look)),
        crossed=_crossed(panel, groups, look, sweep.evidence.margin),
        populations=_populations(panel, groups, look),
        confirmed=_compare(sweep, study, panel, later) if later else None,
    )


def errors(sweep: Sweep, study: Study, panel: Panel, seeds: Sequence[int]) -> dict[str, list[float]]:
    """Each arm's errors over some seeds, percent."""
    return {arm.name: study.errors(panel.name, arm.name, sweep.evidence.metric, seeds) for arm in panel.arms}


def _compare(sweep: Sweep, study: Study, panel: Panel, look: Look) -> Comparison:
    groups, evidence = errors(sweep, study, panel, look.seeds), sweep.evidence
    seeds = _seeds(study, panel, look) if evidence.pairs else None
    return compare(groups, panel.baseline, alpha=look.alpha, margin=evidence.margin, seeds=seeds)


def _seeds(study: Study, panel: Panel, look: Look) -> dict[str, list[int]]:
    return {arm.name: study.seeds(panel.name, arm.name, look.seeds) for arm in panel.arms}


def marked(comparison: Comparison, look: Look, new: dict[str, str]) -> Comparison:
    """The comparison, its verdicts withheld at no look, and marked where they were not registered."""
    return replace(comparison, contrasts=[_marked(c, look, new.get(c.a)) for c in comparison.contrasts])


def _marked(contrast: Contrast, look: Look, why: str | None) -> Contrast:
    if look.interim:
        return replace(contrast, verdict=INTERIM)
    return replace(contrast, verdict=f"{contrast.verdict}, exploratory: {why}") if why else contrast


def _images(study: Study, panel: Panel) -> int | None:
    images = study.runs.loc[study.runs["panel"] == panel.name, "images"].dropna()
    return int(images.iloc[0]) if len(images) else None


def _beyond(
    sweep: Sweep,
    panel: Panel,
    groups: dict[str, list[float]],
    look: Look,
    new: dict[str, str],
    registered: Registration | None,
) -> tuple[Contrast, ...]:
    sides = {axis: panel.along(axis) for axis in AXES if panel.along(axis)} | {name: [name] for name in groups}
    pairs = [pair for pair in sweep.evidence.contrasts if set(pair) <= sides.keys()]
    if not pairs:
        return ()
    found = axis_contrasts(groups, sides, pairs, alpha=look.alpha, margin=sweep.evidence.margin)
    known = registered.content["evidence"]["contrasts"] if registered else [list(pair) for pair in pairs]
    return tuple(_marked(c, look, _why_new(c, sides, new, known, sweep)) for c in found)


def _why_new(
    contrast: Contrast, sides: dict[str, list[str]], new: dict[str, str], known: list[list[str]], sweep: Sweep
) -> str | None:
    """Why one of the sweep's own contrasts is exploratory; None where it is as it was registered."""
    if [contrast.a, contrast.b] not in known:
        return "the contrast was added"
    if not all(tuple(pair) in sweep.evidence.contrasts for pair in known):
        return "registered contrasts were left out"
    return next((new[arm] for side in (contrast.a, contrast.b) for arm in sides[side] if arm in new), None)


def cardinalities(panel: Panel) -> dict[str, float]:
    """log2 C of the arms along cardinality, and of the baseline where it is the budget's own design.

    Those alone that meet the budget, are trained as the baseline is and differ from it in C and d alone: a form, a
    shortcut, a recipe or a cost that changes too would be read as C's doing.
    """
    base = next(arm for arm in panel.arms if arm.name == panel.baseline)
    own = [arm for arm in panel.arms if arm.axis == "cardinality" or (arm is base and arm.axis is None)]
    alike = [arm for arm in own if beside_paths(arm) == beside_paths(base) and at_budget(panel, arm)]
    return {arm.name: math.log2(arm.design.cardinality) for arm in alike if arm.design.cardinality}


def beside_paths(arm: Arm) -> tuple[Any, ...] | None:
    """All that an arm is beside C and d; None for a family's network, of which that is not known."""
    if not isinstance(arm.design, Design):
        return None
    return replace(arm.design, cardinality=1, widths=arm.design.outputs), arm.recipe.model_dump(exclude={"name"})


def at_budget(panel: Panel, arm: Arm) -> bool:
    """Whether an arm costs about what the panel's budget says, as far as both are known."""
    pairs = [(getattr(arm.cost, key), getattr(panel.budget, key)) for key in ("params", "macs")]
    return all(abs(cost / target - 1) <= NEAR for cost, target in pairs if cost and target)


def told_by_cardinality(panel: Panel) -> bool:
    """Whether C alone tells the panel's arms apart, so that their errors may stand over an axis of it."""
    paths = [arm.design.cardinality for arm in panel.arms]
    if None in paths or len(set(paths)) < len(paths):
        return False
    alike = all(beside_paths(arm) == beside_paths(panel.arms[0]) for arm in panel.arms)
    return alike and all(arm.axis in (None, "cardinality") and at_budget(panel, arm) for arm in panel.arms)


def _trend(panel: Panel, groups: dict[str, list[float]], look: Look, margin: float | None) -> Trend | None:
    x = cardinalities(panel)
    if look.interim or len(set(x.values())) < 3:
        return None
    found = trend({name: groups[name] for name in x}, x, alpha=look.alpha, margin=margin)
    return None if found.kind == "none" else found


def _again(comparison: Comparison, look: Look) -> dict[str, float]:
    if look.interim or not comparison.tested:
        return {}
    return win_again(comparison.estimates, comparison.sd, comparison.df)


def _new_images(sweep: Sweep, study: Study, panel: Panel, look: Look) -> dict[str, ExampleInterval]:
    if look.interim or sweep.evidence.metric != "top1_error":
        return {}
    right = {arm.name: study.right(panel.name, arm.name, look.seeds) for arm in panel.arms}
    base = right.pop(panel.baseline)
    if base is None or len(base) < 2:
        return {}
    return {
        name: example_interval(own, base, look.alpha) for name, own in right.items() if own is not None and len(own) > 1
    }


def _crossed(panel: Panel, groups: dict[str, list[float]], look: Look, margin: float | None) -> Interaction | None:
    """The baseline's recipe and design first; None where the arms are no full table of both."""
    arms = sorted(panel.arms, key=lambda arm: arm.name != panel.baseline)
    cells = {(recipe_label(panel, arm), arm.design.name): groups[arm.name] for arm in arms}
    rows, columns = ({cell[side] for cell in cells} for side in (0, 1))
    full = len(cells) == len(arms) == len(rows) * len(columns)
    if look.interim or not full or min(len(rows), len(columns)) < 2:
        return None
    return interaction(cells, alpha=look.alpha, margin=margin)


def recipe_label(panel: Panel, arm: Arm) -> str:
    """What tells an arm's recipe from the panel's: its name, or the fields that differ."""
    fields = [field for field in type(arm.recipe).model_fields if field != "name"]
    own, usual = ({field: getattr(recipe, field) for field in fields} for recipe in (arm.recipe, panel.recipe))
    changed = ", ".join(f"{key} {value}" for key, value in own.items() if value != usual[key])
    return (
        arm.recipe.name if arm.recipe.name != panel.recipe.name or not changed else f"{arm.recipe.name} with {changed}"
    )


def populations(panel: Panel, groups: dict[str, list[float]]) -> dict[str, list[float]]:
    """Mean errors of designs by cardinality, `C=1` ...; empty where these are no populations."""
    found = defaultdict[int, dict[str, float]](dict)
    for arm in panel.arms:
        if arm.design.cardinality and groups[arm.name]:
            found[arm.design.cardinality][arm.design.name] = float(np.mean(groups[arm.name]))
    several = len(found) > 1 and all(len(designs) >= MANY for designs in found.values())
    return {f"C={c}": list(found[c].values()) for c in sorted(found)} if several else {}


def _populations(panel: Panel, groups: dict[str, list[float]], look: Look) -> tuple[PopulationContrast, ...]:
    found = {} if look.interim else populations(panel, groups)
    return tuple(compare_populations(found, look.alpha))
