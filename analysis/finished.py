"""The finished runs of a sweep: from the cache where their files have not changed, else from their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ablation.errors import UserError
from ablation.fields import AGAIN, NOTHING, check, is_count
from ablation.run import Run, RunPaths, load_run, read_json
from analysis.cache import EMPTY, MEASURES, Cached, load, save, settled, stamp_of
from analysis.logs import measure, read_epochs

TEXT = (str, NOTHING)
GROUP = (dict, NOTHING)
ABOUT: dict[str, tuple[type, ...]] = {
    **{
        "engine": (int,),
        "recipe": (dict,),
        "data": GROUP,
        "execution": GROUP,
        "commit": TEXT,
        "dirty": (bool, NOTHING),
    },
    "versions": GROUP,
}
"""What run.json says about a run, and of which types it is."""
EXECUTION = {**dict.fromkeys(("device", "device_name", "dtype", "layout"), TEXT), "versions": GROUP}
DATA = dict.fromkeys(("name", "digest", "source"), TEXT)


def read_finished(runs: Mapping[str, Run], folder: Path, *, cache: bool) -> Cached:
    """Every run that has a result, by id; `folder` is the sweep's.

    Raises UserError, with its place, where a file is damaged or a folder is not the run it is named after.
    """
    stamps = {name: stamp for name in runs if (stamp := stamp_of(f"{folder}/{name}"))}
    known = _sound(load(folder)) if cache else EMPTY
    known = known.only([row["id"] not in runs or stamps.get(row["id"]) == row["stamp"] for row in known.rows])
    old = {row["id"] for row in known.rows}
    fresh = _read({name: runs[name] for name in stamps if name not in old}, folder, stamps)
    found = known.and_also(fresh)
    if cache and any(settled(row["stamp"]) for row in fresh.rows):
        save(folder, found.only([settled(row["stamp"]) for row in found.rows]))
    return found


def _sound(known: Cached) -> Cached:
    """What a cache holds; nothing where its texts are not what `_read` puts there: anybody may have written it."""
    try:
        for text in {row["about"] for row in known.rows}:
            check_about(json.loads(text), "")
        for text in {row["further"] for row in known.rows}:
            _further(json.loads(text), "", "")
    except (UserError, ValueError, AttributeError, RecursionError):
        return EMPTY
    return known


def _read(runs: Mapping[str, Run], folder: Path, stamps: Mapping[str, str]) -> Cached:
    files = {name: RunPaths(folder.parent, folder.name, name) for name in runs}
    verified: set[tuple[str, str, str]] = set()
    texts: dict[str, str] = {}  # thousands of runs say the same about themselves
    rows = []
    for name, run in runs.items():
        paths = files[name]
        fields = _verified(run, paths, verified)
        about = about_of(fields, str(paths.run_json))
        known = {"id": name, "stamp": stamps[name], "about": texts.setdefault(about, about)}
        rows.append(known | _cost(fields, str(paths.run_json)) | _result(read_json(paths.result), run, paths))
    epochs = pa.concat_tables([EMPTY.epochs, *read_epochs(files[name].log for name in runs)])
    counts = np.bincount(epochs["run"].to_numpy(), minlength=len(rows)).tolist()
    return Cached([row | {"epoch_rows": count} for row, count in zip(rows, counts, strict=True)], epochs)


def _verified(run: Run, paths: RunPaths, known: set[tuple[str, str, str]]) -> dict[str, Any]:
    """run.json, of the run that its folder is named after; what seeds of an arm share is checked once for each text."""
    if not paths.run_json.exists():
        raise UserError("missing file", where=str(paths.run_json), remedy=AGAIN)
    fields = read_json(paths.run_json)
    shared = json.dumps([fields.get(key) for key in ("design", "recipe", "dataset", "precision")])
    key, seed = (run.panel, run.arm, shared), fields.get("seed")
    if key not in known or type(seed) is not int or seed != run.seed:
        load_run(paths)
        known.add(key)
    return fields


def about_of(fields: dict[str, Any], where: str) -> str:
    """What run.json says about its run, as JSON. Raises UserError where that is not what it can say."""
    check(fields, {"provenance": GROUP}, "run description", where)
    origin = fields.get("provenance") or {}
    said = {key: fields.get(key) for key in ("engine", "recipe", "data", "execution")}
    about = said | {key: origin.get(key) for key in ("commit", "dirty", "versions")}
    check_about(about, where)
    return json.dumps(about)


def check_about(about: Any, where: str) -> None:
    """Raises UserError where it is not what a run can say about itself."""
    if not isinstance(about, dict) or not about.keys() >= ABOUT.keys():
        raise UserError("damaged run description", where=where, remedy=AGAIN)
    check(about, ABOUT, "run description", where)
    execution = check(about["execution"] or {}, EXECUTION, "run description", where)
    check(about["data"] or {}, DATA, "run description", where)
    for versions in (about["versions"] or {}, execution.get("versions") or {}):
        check(versions, dict.fromkeys(versions, TEXT), "run description", where)


def _cost(fields: dict[str, Any], where: str) -> dict[str, Any]:
    cost = fields.get("cost")
    if not isinstance(cost, dict):
        raise UserError("damaged run description: no cost", where=where, remedy=AGAIN)
    return {name: _count(cost, name, where) for name in ("params", "macs", "activations")}


def _result(result: dict[str, Any], run: Run, paths: RunPaths) -> dict[str, Any]:
    where, name = str(paths.result), run.dataset.evaluate
    found = result.get("evaluations")
    evaluation = found.get(name) if isinstance(found, dict) else None
    evaluation = evaluation if isinstance(evaluation, dict) else {}
    lacking = [key for key in ("top1_error", "top5_error", "images") if evaluation.get(key) is None]
    lacking += [key for key in ("epochs", "seconds") if result.get(key) is None]
    if lacking:
        what = f"{', '.join(lacking)} of the {name} evaluation"
        raise UserError(f"damaged result: it lacks {what}", where=where, remedy=AGAIN)
    own = {key: result.get(key) for key in ("train_error", "train_loss", "epochs", "seconds", "images_per_second")}
    every = own | {key: evaluation.get(key) for key in ("top1_error", "top5_error", "loss", "images")}
    check(result, {"finished": TEXT}, "result", where)
    return {
        "finished": result.get("finished"),
        "further": _further(found or {}, name, where),
        **{key: measure(every, key, where) for key in MEASURES},
        **{key: _count(every, key, where) for key in ("images", "epochs")},
    }


def _further(found: dict[str, Any], first: str, where: str) -> str:
    """Evaluations beside the first one, as JSON: name -> top1_error, top5_error (percent), images."""
    kept = {}
    for name in sorted(found.keys() - {first}):
        own = found[name]
        if not isinstance(own, dict):
            raise UserError(f"damaged result: evaluation {name} is {own!r}", where=where, remedy=AGAIN)
        errors = {key: measure(own, key, where) for key in ("top1_error", "top5_error")}
        kept[name] = {**errors, "images": _count(own, "images", where)}
    return json.dumps(kept)


def _count(fields: dict[str, Any], name: str, where: str) -> int | None:
    """A whole number; None where it is absent or null."""
    value = fields.get(name)
    if value is not None and not is_count(value):
        raise UserError(f"damaged file: {name} is {value!r}", where=where, remedy=AGAIN)
    return value
