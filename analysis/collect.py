"""Run folders in, tidy frames out, with the list of what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ablation.errors import UserError
from ablation.registration import Registration, content_of, registrations, related
from ablation.run import Run, RunPaths, RunState, bits_name, read_state
from ablation.sweep import Sweep
from analysis.bits import BitFiles, Right, read_right, stack
from analysis.cache import Cached
from analysis.checks import Finished, check_panels, cut_off, distinct, evaluations_of, not_evaluated
from analysis.finished import read_finished

RUN_COLUMNS = [
    *("panel", "arm", "design", "cardinality", "width", "seed", "params", "macs", "activations"),
    *("top1_error", "top5_error", "train_error", "loss", "images", "epochs", "seconds", "images_per_second"),
    *("device", "device_name", "run_id"),
]
EPOCH_COLUMNS = [
    *("panel", "arm", "seed", "epoch", "train_loss", "train_error", "loss", "top1_error", "top5_error"),
    *("lr", "seconds", "images_per_second"),
]
FURTHER = ("top1_error", "top5_error", "images")
"""What each evaluation beside the first one has: a column each, such as `top1_error at 320`."""
PENDING = ("running", "waiting", "missing")
"""States from which a run may still finish by itself or by another launch."""


def further_column(measure: str, evaluation: str) -> str:
    """The column of `Study.runs` with a measure of a further evaluation."""
    return f"{measure} at {evaluation}"


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
    """What was registered of these runs, the first one first; none where they were not launched."""
    abandoned: list[Registration] = field(default_factory=list)
    """What was registered under the sweep's name and shares no run with it: other recipes, data or designs."""
    bits: Mapping[str, Path] = field(default_factory=dict)
    """Where the correctness bits of each finished run should be, by run id."""
    lacks: list[str] = field(default_factory=list)
    """What a report can't say for want of records, a sentence each: it stands in its first paragraph."""

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
        return [float(value) for value in self.of(panel, arm, seeds)[metric].astype(float)]

    def seeds(self, panel: str, arm: str, seeds: Sequence[int] | None = None) -> list[int]:
        """The seeds of an arm's finished runs."""
        return [int(seed) for seed in self.of(panel, arm, seeds)["seed"]]

    @property
    def evaluations(self) -> list[str]:
        """The names of evaluations beside the first one, as the runs recorded them."""
        head = further_column("top1_error", "")
        return [name.removeprefix(head) for name in self.runs.columns if name.startswith(head)]

    def right(
        self, panel: str, arm: str, seeds: Sequence[int] | None = None, evaluation: str | None = None
    ) -> Right | None:
        """Which images an arm's finished runs got right, (runs, images); None where any of them has no (whole) bits.

        Of the first evaluation, or of the one that is named.
        """
        rows, column = self.of(panel, arm, seeds), further_column("images", evaluation) if evaluation else "images"
        if column not in rows or rows[column].isna().any():
            return None
        pairs = zip(rows["run_id"], rows[column], strict=True)
        return stack([self._right(run, int(images), evaluation) for run, images in pairs])

    def _right(self, run: str, images: int, evaluation: str | None) -> Right | None:
        path = self.bits.get(run)
        if path is None:
            return None
        return read_right(path.with_name(bits_name(evaluation)) if evaluation else path, images)


def collect(sweep: Sweep, runs_dir: Path, *, cache: bool = True) -> Study:
    """Read every run of `sweep` below `runs_dir`.

    Finished runs are kept in `runs_dir/<sweep>/.collected` (`analysis.cache`) and read again only where their files
    have changed; with `cache=False` that is neither read nor written, and the result is the same. Raises UserError
    where a file is damaged (with its place), where a panel's runs saw other data, other test images or another
    precision than each other (they are never averaged as one), or where `runs_dir` is no folder.
    """
    if runs_dir.exists() and not runs_dir.is_dir():
        raise UserError("not a folder", where=str(runs_dir), remedy="Give the folder of runs: --runs runs/.")
    runs = sweep.runs()
    first = {run.id: run for run in reversed(runs)}  # a run that two panels share is read once
    known = read_finished(first, runs_dir / sweep.name, cache=cache)
    finished, missing = _sorted_out(runs, runs_dir, known.rows)
    every = registrations(runs_dir, sweep.name)
    own = related(every, content_of(sweep))
    bits = BitFiles(runs_dir / sweep.name, {found.run.id: found.run.dataset.evaluate for found in finished})
    return Study(
        runs=_run_frame(finished),
        epochs=_epoch_frame(finished, known),
        missing=missing,
        provenance=_provenance(finished),
        notes=check_panels(sweep, finished),
        planned=len(runs),
        registrations=own,
        abandoned=[one for one in every if one not in own],
        bits=bits,
        lacks=[*cut_off(finished, bits), *not_evaluated(sweep, finished)],
    )


def _sorted_out(
    runs: list[Run], runs_dir: Path, rows: list[dict[str, Any]]
) -> tuple[list[Finished], list[dict[str, Any]]]:
    """The runs with usable numbers, and what is missing."""
    known, about = {row["id"]: row for row in rows}, {row["about"]: row["about"] for row in rows}
    parsed = {text: json.loads(text) for text in about}
    unknown = {run.id: run for run in runs if run.id not in known}
    states = {name: _state(RunPaths(runs_dir, run.sweep, name)) for name, run in unknown.items()}
    finished, missing = [], []
    for run in runs:
        row = known.get(run.id)
        trouble = _trouble(row) if row else ""
        if row and not trouble:
            finished.append(Finished(run, row, parsed[row["about"]]))
        elif row:
            missing.append(_missing(run, "failed", trouble))
        else:
            state = states[run.id]
            message = state.message or ("not started" if state.state == "missing" else "")
            missing.append(_missing(run, "running" if state.state == "done" else state.state, message))
    return finished, missing


def _state(paths: RunPaths) -> RunState:
    """Of a run that had no result a moment ago."""
    try:
        return read_state(paths)
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(
            f"damaged record: {type(error).__name__} {error}",
            where=str(paths.log),
            remedy="Remove the run's folder and launch the sweep again.",
        ) from None


def _trouble(row: dict[str, Any]) -> str:
    """Why a finished run's numbers can't be used; empty where they can."""
    for name in ("top1_error", "top5_error", "loss", "train_loss", "train_error"):
        value = row[name]
        if value is not None and not math.isfinite(value):
            return f"diverged: {name} is {value}"
    return ""


def _missing(run: Run, state: str, message: str) -> dict[str, Any]:
    return {"panel": run.panel, "arm": run.arm, "seed": run.seed, "state": state, "message": message}


def _run_frame(finished: list[Finished]) -> pd.DataFrame:
    designs = {(found.run.panel, found.run.arm): found.run.design for found in finished}
    arms = {
        (panel, arm): {"panel": panel, "arm": arm, "design": d.name, "cardinality": d.cardinality, "width": d.width}
        for (panel, arm), d in designs.items()
    }
    rows = [arms[found.run.panel, found.run.arm] | _run_row(found) for found in finished]
    further = dict.fromkeys(key for row in rows for key in row["further"])
    return pd.DataFrame([row | row["further"] for row in rows], columns=[*RUN_COLUMNS, *further])


def _run_row(found: Finished) -> dict[str, Any]:
    devices = {key: found.execution.get(key) for key in ("device", "device_name")}
    further = {further_column(m, name): own[m] for name, own in evaluations_of(found).items() for m in FURTHER}
    return {**found.row, **devices, "seed": found.run.seed, "run_id": found.run.id, "further": further}


def _epoch_frame(finished: list[Finished], known: Cached) -> pd.DataFrame:
    """The epochs of the finished runs, in their order."""
    counts = np.array([row["epoch_rows"] for row in known.rows], dtype=np.int64)
    starts = dict(zip((row["id"] for row in known.rows), np.cumsum(counts) - counts, strict=True))
    own = np.array([found.row["epoch_rows"] for found in finished], dtype=np.int64)
    shift = np.array([starts[found.run.id] for found in finished], dtype=np.int64) - (np.cumsum(own) - own)
    rows = np.repeat(shift, own) + np.arange(own.sum())
    whole = len(rows) == len(known.epochs) and not shift.any()
    table = known.epochs if whole else known.epochs.take(pa.array(rows))
    runs = pa.array(np.repeat(np.arange(len(finished)), own))
    for name in ("seed", "arm", "panel"):
        values = pa.array([getattr(found.run, name) for found in finished])
        table = table.add_column(0, name, values.take(runs) if finished else values)
    return table.select(EPOCH_COLUMNS).to_pandas()


def _provenance(finished: list[Finished]) -> dict[str, Any]:
    origins = list({id(found.about): found.about for found in finished}.values())
    executions = [about["execution"] or {} for about in origins]
    versions = [
        {**(about["versions"] or {}), **(execution.get("versions") or {})}
        for about, execution in zip(origins, executions, strict=True)
    ]
    times = sorted(found.row["finished"] for found in finished if found.row["finished"])
    return {
        "commits": distinct(about["commit"] for about in origins),
        "dirty": any(about["dirty"] for about in origins),
        "versions": {
            name: distinct(v.get(name) for v in versions) for name in sorted({n for v in versions for n in v})
        },
        "devices": distinct(execution.get("device_name") for execution in executions),
        "data": _distinct_dicts(about["data"] or {} for about in origins),
        "executions": _distinct_dicts(_execution(execution) for execution in executions),
        "recipes": _recipes(finished),
        "engines": distinct(about["engine"] for about in origins),
        "finished": [times[0], times[-1]] if times else [],
    }


def _execution(block: dict[str, Any]) -> dict[str, Any]:
    """What of an execution block is told; which layers are packed stays in `run.json`."""
    kept = ("threads", "layout", "kernels", "step", "cudnn", "deterministic")
    told = {
        key: "packed" if key == "kernels" and isinstance(block[key], dict) else block[key]
        for key in kept
        if key in block
    }
    return {key: value for key, value in told.items() if isinstance(value, str | int)}


def _recipes(finished: list[Finished]) -> list[dict[str, Any]]:
    """Each recipe, with the arms of each panel that have it."""
    about = {id(found.about): found.about for found in finished}
    texts = {key: json.dumps(said["recipe"]) for key, said in about.items()}
    having: dict[str, dict[str, dict[str, None]]] = {}
    for found in finished:
        panels = having.setdefault(texts[id(found.about)], {})
        panels.setdefault(found.run.panel, {})[found.run.arm] = None
    return [
        {"recipe": json.loads(recipe), "arms": {panel: list(arms) for panel, arms in panels.items()}}
        for recipe, panels in having.items()
    ]


def _distinct_dicts(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in sorted({json.dumps(value, sort_keys=True) for value in values if value})]
