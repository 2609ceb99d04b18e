"""Run folders in, tidy frames out, with the list of what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ablation.errors import UserError
from ablation.records import last_epochs, read_records
from ablation.registration import Registration, registrations
from ablation.run import Run, RunPaths, RunState, load_run, read_json, read_state
from ablation.sweep import Sweep
from analysis.bits import Right, read_right, stack

RUN_COLUMNS = [
    *("panel", "arm", "design", "cardinality", "width", "seed", "params", "macs", "activations"),
    *("top1_error", "top5_error", "train_error", "loss", "images", "epochs", "seconds", "images_per_second"),
    *("device", "device_name", "run_id"),
]
EPOCH_COLUMNS = [
    *("panel", "arm", "seed", "epoch", "train_loss", "train_error", "loss", "top1_error", "top5_error"),
    *("lr", "seconds", "images_per_second"),
]
PENDING = ("running", "waiting", "missing")
"""States from which a run may still finish by itself or by another launch."""


@dataclass(frozen=True)
class Study:
    """What the runs of a sweep left behind."""

    runs: pd.DataFrame
    """One row for each panel, arm and seed that finished; errors in percent, `seconds` of wall time, `images` that
    were evaluated. `device` is its kind (cpu, cuda). A run that two panels share has a row in each."""
    epochs: pd.DataFrame
    """One row for each epoch of these runs; `lr` of the epoch's last step, `images_per_second` in training."""
    missing: list[dict[str, Any]]
    """What did not finish: panel, arm, seed, state, message. A run whose numbers are not finite has failed."""
    provenance: dict[str, Any]
    """Lists of what the finished runs say of themselves: commits, dirty, versions, devices, data, executions,
    recipes, engines, finished (first and last time)."""
    notes: list[str]
    """What differs between runs that are compared, and is no reason to refuse them."""
    planned: int
    """Panels x arms x seeds."""
    registrations: list[Registration] = field(default_factory=list)
    """What was registered of the sweep, the first one first; none where it was not launched."""
    bits: dict[str, Path] = field(default_factory=dict)
    """Where the correctness bits of each finished run should be, by run id."""

    @property
    def pending(self) -> list[dict[str, Any]]:
        """The missing runs that may still finish."""
        return [run for run in self.missing if run["state"] in PENDING]

    def of(self, panel: str, arm: str, seeds: Sequence[int] | None = None) -> pd.DataFrame:
        """The rows of an arm's finished runs, by seed; of some seeds only where these are given."""
        rows = self.runs[(self.runs["panel"] == panel) & (self.runs["arm"] == arm)]
        return (rows if seeds is None else rows[rows["seed"].isin(seeds)]).sort_values("seed")

    def errors(
        self, panel: str, arm: str, metric: str = "top1_error", seeds: Sequence[int] | None = None
    ) -> list[float]:
        """The errors of an arm's finished runs, by seed, in percent."""
        return [float(value) for value in self.of(panel, arm, seeds)[metric]]

    def seeds(self, panel: str, arm: str, seeds: Sequence[int] | None = None) -> list[int]:
        """The seeds of an arm's finished runs."""
        return [int(seed) for seed in self.of(panel, arm, seeds)["seed"]]

    def right(self, panel: str, arm: str, seeds: Sequence[int] | None = None) -> Right | None:
        """Which images an arm's finished runs got right, (runs, images); None where any of them has no (whole) bits."""
        rows = self.of(panel, arm, seeds)
        pairs = zip(rows["run_id"], rows["images"], strict=True)
        return stack([read_right(self.bits[run], int(images)) if run in self.bits else None for run, images in pairs])


@dataclass(frozen=True)
class _Finished:
    """A finished run and its files."""

    run: Run
    about: dict[str, Any]
    result: dict[str, Any]
    epochs: list[dict[str, Any]]

    @property
    def evaluation(self) -> dict[str, Any]:
        return self.result["evaluations"][self.run.dataset.evaluate]

    @property
    def execution(self) -> dict[str, Any]:
        return self.about.get("execution") or {}

    @property
    def data(self) -> dict[str, Any]:
        return self.about.get("data") or {}


def collect(sweep: Sweep, runs_dir: Path) -> Study:
    """Read every run of `sweep` below `runs_dir`.

    Raises UserError where a file is damaged (with its place), where a panel's runs saw other data, other test images
    or another precision than each other (they are never averaged as one), or where `runs_dir` is no folder.
    """
    if runs_dir.exists() and not runs_dir.is_dir():
        raise UserError("not a folder", where=str(runs_dir), remedy="Give the folder of runs: --runs runs/.")
    files = {run.id: sweep.paths(runs_dir, run) for run in sweep.runs()}
    states = {name: _state(paths) for name, paths in files.items()}
    finished, missing = [], []
    for run in sweep.runs():
        state = states[run.id]
        found = _read(run, files[run.id]) if state.state == "done" else None
        trouble = _trouble(found) if found else state.message or ("not started" if state.state == "missing" else "")
        if found and not trouble:
            finished.append(found)
        else:
            missing.append(_missing(run, "failed" if found else state.state, trouble))
    return Study(
        runs=pd.DataFrame([_run_row(found) for found in finished], columns=RUN_COLUMNS),
        epochs=pd.DataFrame([row for found in finished for row in _epoch_rows(found)], columns=EPOCH_COLUMNS),
        missing=missing,
        provenance=_provenance(finished),
        notes=_check_panels(sweep, finished),
        planned=len(sweep.runs()),
        registrations=registrations(runs_dir, sweep.name),
        bits={f.run.id: files[f.run.id].bits(f.run.dataset.evaluate) for f in finished},
    )


def _state(paths: RunPaths) -> RunState:
    try:
        return read_state(paths)
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(
            f"damaged result: {type(error).__name__} {error}",
            where=str(paths.result if paths.result.exists() else paths.log),
            remedy="Remove the run's folder and launch the sweep again.",
        ) from None


def _read(run: Run, paths: RunPaths) -> _Finished:
    load_run(paths)  # refuses a folder that is not the run it is named after
    found = _Finished(run, read_json(paths.run_json), read_json(paths.result), last_epochs(read_records(paths.log)))
    lacking = {"top1_error", "top5_error", "images"} - found.result["evaluations"].get(run.dataset.evaluate, {}).keys()
    if lacking:
        what = f"no {', '.join(sorted(lacking))} of the {run.dataset.evaluate} evaluation"
        raise UserError(f"damaged result: {what}", where=str(paths.result))
    return found


def _trouble(found: _Finished) -> str:
    """Why a finished run's numbers can't be used; empty where they can."""
    measured = {**{key: found.result.get(key) for key in ("train_error", "train_loss")}, **found.evaluation}
    for name in ("top1_error", "top5_error", "loss", "train_loss", "train_error"):
        value = measured.get(name)
        if value is not None and not math.isfinite(value):
            return f"diverged: {name} is {value}"
    return ""


def _missing(run: Run, state: str, message: str) -> dict[str, Any]:
    return {"panel": run.panel, "arm": run.arm, "seed": run.seed, "state": state, "message": message}


def _run_row(found: _Finished) -> dict[str, Any]:
    run, evaluation, result = found.run, found.evaluation, found.result
    return {
        **{"panel": run.panel, "arm": run.arm, "design": run.design.name, "seed": run.seed, "run_id": run.id},
        **{"cardinality": run.design.cardinality, "width": run.design.width},
        **{key: found.about["cost"][key] for key in ("params", "macs", "activations")},
        **{key: evaluation.get(key) for key in ("top1_error", "top5_error", "loss", "images")},
        **{key: result.get(key) for key in ("train_error", "epochs", "seconds", "images_per_second")},
        **{key: found.execution.get(key) for key in ("device", "device_name")},
    }


def _epoch_rows(found: _Finished) -> Iterable[dict[str, Any]]:
    about = {"panel": found.run.panel, "arm": found.run.arm, "seed": found.run.seed}
    for record in found.epochs:
        yield {**about, **{key: record.get(key) for key in EPOCH_COLUMNS[3:]}}


def _provenance(finished: list[_Finished]) -> dict[str, Any]:
    origins = [found.about.get("provenance") or {} for found in finished]
    versions = [
        {**(f.about.get("provenance") or {}).get("versions", {}), **(f.execution.get("versions") or {})}
        for f in finished
    ]
    times = sorted(found.result["finished"] for found in finished if found.result.get("finished"))
    kept = ("threads", "layout", "kernels", "deterministic")
    return {
        "commits": _distinct(origin.get("commit") for origin in origins),
        "dirty": any(origin.get("dirty") for origin in origins),
        "versions": {
            name: _distinct(v.get(name) for v in versions) for name in sorted({n for v in versions for n in v})
        },
        "devices": _distinct(found.execution.get("device_name") for found in finished),
        "data": _distinct_dicts(found.data for found in finished),
        "executions": _distinct_dicts(
            {key: value for key, value in found.execution.items() if key in kept and isinstance(value, str | int)}
            for found in finished
        ),
        "recipes": _recipes(finished),
        "engines": _distinct(found.about.get("engine") for found in finished),
        "finished": [times[0], times[-1]] if times else [],
    }


def _recipes(finished: list[_Finished]) -> list[dict[str, Any]]:
    """Each recipe, with the arms of each panel that have it."""
    having: dict[str, dict[str, dict[str, None]]] = {}
    for found in finished:
        panels = having.setdefault(json.dumps(found.about["recipe"]), {})
        panels.setdefault(found.run.panel, {})[found.run.arm] = None
    return [
        {"recipe": json.loads(recipe), "arms": {panel: list(arms) for panel, arms in panels.items()}}
        for recipe, panels in having.items()
    ]


def _distinct(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def _distinct_dicts(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in sorted({json.dumps(value, sort_keys=True) for value in values if value})]


def _check_panels(sweep: Sweep, finished: list[_Finished]) -> list[str]:
    """Refuse what can't stand in one table; say what else differs."""
    notes = []
    for panel in sweep.panels:
        runs = [found for found in finished if found.run.panel == panel.name]
        _refuse(panel.name, "data digests", {f.run.id: f.data.get("digest") for f in runs})
        _refuse(panel.name, "numbers of evaluated images", {f.run.id: f.evaluation["images"] for f in runs})
        _refuse(panel.name, "precisions", {f.run.id: f.execution.get("dtype") for f in runs})
        _refuse(panel.name, "engine versions", {f.run.id: f.about.get("engine") for f in runs})
        for what, key in (("devices", "device_name"), ("thread counts", "threads"), ("layouts", "layout")):
            found = _distinct(str(f.execution.get(key)) for f in runs)
            if len(found) > 1:
                notes.append(f"The runs of panel {panel.name} differ in {what}: {', '.join(found)}.")
        own = [arm.name for arm in panel.arms if arm.recipe != panel.recipe]
        if own:
            notes.append(f"Arms of panel {panel.name} with a recipe of their own: {', '.join(own)}.")
    return notes


def _refuse(panel: str, what: str, values: dict[str, Any]) -> None:
    """`values` are by run id; more than one value is an error that names a run of each."""
    examples = {str(value): name for name, value in reversed(values.items())}
    if len(examples) > 1:
        listed = "; ".join(f"{value} (such as {name})" for value, name in sorted(examples.items()))
        raise UserError(
            f"panel {panel!r} mixes {what}: {listed}",
            remedy="Such runs are never averaged as one. Remove the folders of those that don't belong, launch again.",
        )
