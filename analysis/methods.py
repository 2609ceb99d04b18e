"""The methods of a report, written from the records: data, recipe, machines, seeds, statistics, what was registered."""

from __future__ import annotations

import math
from typing import Any

from ablation.sweep import Sweep
from analysis.collect import Study
from analysis.details import Facts, registration_facts
from analysis.findings import Finding
from analysis.statistics import ALPHA
from analysis.verdict import dataset_label, join

POOLED = (
    "with the SD pooled over the arms of a panel, unpaired, since networks of different shape share no initialisation"
)


def methods(sweep: Sweep, study: Study, found: list[Finding]) -> Facts:
    """What a reader has to know to judge the results: a name and a sentence each."""
    facts = registration_facts(sweep, study, found)
    if not sweep.outside:
        facts += [*_data_facts(sweep, study), *_recipe_facts(study), *_execution_facts(sweep, study)]
    return [*facts, ("Statistics", _statistics(sweep, found))]


def _statistics(sweep: Sweep, found: list[Finding]) -> str:
    comparison = found[0].comparison
    how = "paired by seed, as registered" if sweep.evidence.pairs else POOLED
    text = (
        "intervals of means are t-intervals from the arm's own SD. Arms are compared with the baseline by two-sided "
        f"t-tests, {how}. A verdict needs a p of at most {comparison.alpha:.2g}, adjusted by Holm. Intervals of "
        "differences are simultaneous (Bonferroni): they hold for all contrasts of a panel at once, so one that "
        "excludes zero never stands beside unresolved. Seeds speak of these evaluation images and this recipe only."
    )
    if not sweep.evidence.pairs:
        text += " A claim that Welch's test (each arm's own SD, Holm) does not make is one *if spreads are equal*."
    if comparison.margin:
        text += f" Equivalent: two one-sided tests (Holm) place the difference within ±{comparison.margin:g} points."
    spreads = [f.comparison.spread_p for f in found if math.isfinite(f.comparison.spread_p)]
    if spreads and min(spreads) <= ALPHA:
        text += " The arms' spreads differ (Brown-Forsythe): the pooled SD is in doubt."
    known = [f.correlation for f in found if math.isfinite(f.correlation)]
    if known:
        mean = sum(known) / len(known)
        text += f" Over seeds the arms' errors correlate by {mean:.2f}: pairing by seed would pay above about 0.6."
    if any(f.trend for f in found):
        text += " The trend: a least-squares line in log2 C, its error from the seeds' scatter; none where it fits ill."
    return text


def _data_facts(sweep: Sweep, study: Study) -> list[tuple[str, str]]:
    names = {panel.dataset.name: dataset_label(panel) for panel in sweep.panels}
    facts = []
    for data in study.provenance["data"]:
        trained, evaluated = (f"{data.get(key) or 0:,}" for key in ("train_images", "evaluation_images"))
        text = f"trained on {trained} images, evaluated on exactly {evaluated} after the last epoch"
        facts.append((f"Data, {names.get(data.get('name'), data.get('name'))}", f"{text}; digest {data.get('digest')}"))
    return facts


def _recipe_facts(study: Study) -> list[tuple[str, str]]:
    recipes = study.provenance["recipes"]
    facts = []
    for entry in recipes:
        fields = dict(entry["recipe"])
        name = f"Recipe {fields.pop('name', '')}".strip()
        said = "; ".join(f"{key.replace('_', ' ')} {_value(fields[key])}" for key in fields if _applies(key, fields))
        whose = "; ".join(f"{panel}: {join(arms)}" for panel, arms in entry["arms"].items())
        facts.append((name, said + (f" ({whose})" if len(recipes) > 1 else "")))
    return facts


def _applies(key: str, recipe: dict[str, Any]) -> bool:
    """Whether a field of a recipe did anything."""
    schedule, augment = recipe.get("schedule"), recipe.get("augment", ())
    needs = {"milestones": schedule == "steps", "gamma": schedule == "steps", "rise": schedule == "one-cycle"}
    return needs.get(key, key != "padding" or "crop" in augment)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _execution_facts(sweep: Sweep, study: Study) -> list[tuple[str, str]]:
    blocks = study.provenance["executions"] or [{}]
    told = "; or ".join(", ".join(f"{key} {_value(value)}" for key, value in block.items()) for block in blocks)
    seeds = join([str(seed) for seed in sweep.seeds])
    return [
        ("Execution", f"precision {sweep.precision}; {told}; on {devices(study)}"),
        ("Seeds", f"{seeds}; order and augmentation of the images depend on seed, epoch and step alone"),
    ]


def devices(study: Study) -> str:
    """The machines that the runs recorded."""
    return join(study.provenance["devices"] or ["a device that was not recorded"])
