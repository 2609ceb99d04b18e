"""What runs must share to stand in one table, and what they lack."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ablation.errors import UserError
from ablation.run import Run
from ablation.sweep import Sweep
from analysis.bits import BitFiles


@dataclass(frozen=True)
class Finished:
    """A finished run, and what its files say."""

    run: Run
    row: dict[str, Any]
    """After `analysis.cache.RUNS`."""
    about: dict[str, Any]
    """What run.json says; runs that say the same share it."""

    @property
    def execution(self) -> dict[str, Any]:
        return self.about["execution"] or {}

    @property
    def data(self) -> dict[str, Any]:
        return self.about["data"] or {}


def evaluations_of(found: Finished) -> dict[str, Any]:
    """Evaluations beside the first one: name -> top1_error, top5_error, images."""
    evaluations: dict[str, Any] = json.loads(found.row["further"])
    return evaluations


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, sorted; without None."""
    return sorted({value for value in values if value is not None})


def check_panels(sweep: Sweep, finished: list[Finished]) -> list[str]:
    """Refuse what can't stand in one table; say what else differs."""
    notes = []
    for panel in sweep.panels:
        runs = [found for found in finished if found.run.panel == panel.name]
        _refuse(panel.name, "data digests", {f.run.id: f.data.get("digest") for f in runs})
        _refuse(panel.name, "numbers of evaluated images", {f.run.id: f.row["images"] for f in runs})
        _refuse(panel.name, "precisions", {f.run.id: f.execution.get("dtype") for f in runs})
        _refuse(panel.name, "engine versions", {f.run.id: f.about["engine"] for f in runs})
        for what, key in (("devices", "device_name"), ("thread counts", "threads"), ("layouts", "layout")):
            found = distinct(str(f.execution.get(key)) for f in runs)
            if len(found) > 1:
                notes.append(f"The runs of panel {panel.name} differ in {what}: {', '.join(found)}.")
        own = [arm.name for arm in panel.arms if arm.recipe != panel.recipe]
        if own:
            notes.append(f"Arms of panel {panel.name} with a recipe of their own: {', '.join(own)}.")
    return notes


def cut_off(finished: list[Finished], bits: BitFiles) -> list[str]:
    """What is lacking for bits of another length than the test set; absent ones are lacking without a word."""
    images = {found.run.id: found.row["images"] for found in finished}
    cut = bits.cut_off(images)
    if not cut:
        return []
    arms = ", ".join(dict.fromkeys(found.run.arm for found in finished if found.run.id in cut))
    size = 8 * bits[cut[0]].stat().st_size
    return [
        f"Of {len(cut)} {'run' if len(cut) == 1 else 'runs'} the file of correct images was cut off ({cut[0]}: "
        f"{size:,} bits for {images[cut[0]]:,} images), so nothing is said of new images for {arms}."
    ]


def not_evaluated(sweep: Sweep, finished: list[Finished]) -> list[str]:
    """A sentence for each panel's evaluation that some of its runs lack though its data set asks for it, or others
    have it."""
    said = []
    for panel in sweep.panels:
        own = [found for found in finished if found.run.panel == panel.name]
        asked = dict.fromkeys(
            [*getattr(panel.dataset, "evaluations", ()), *(n for f in own for n in evaluations_of(f))]
        )
        for name in asked:
            lacking = [f.run for f in own if evaluations_of(f).get(name, {}).get("top1_error") is None]
            if lacking:
                arms = ", ".join(dict.fromkeys(run.arm for run in lacking))
                said.append(f"Evaluation {name} is missing in {len(lacking)} of {len(own)} runs ({arms}).")
    return said


def _refuse(panel: str, what: str, values: dict[str, Any]) -> None:
    """`values` are by run id; more than one value is an error that names a run of each."""
    examples = {str(value): name for name, value in reversed(values.items())}
    if len(examples) > 1:
        listed = "; ".join(f"{value} (such as {name})" for value, name in sorted(examples.items()))
        raise UserError(
            f"panel {panel!r} mixes {what}: {listed}",
            remedy="Such runs are never averaged as one. Remove the folders of those that don't belong, launch again.",
        )
