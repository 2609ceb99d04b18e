"""The noise between seeds, as pilot runs tell it: their own spread, and the images on which two of them disagree."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from ablation.errors import UserError
from ablation.run import Run, RunPaths, load_run, read_json
from analysis.bits import Right, read_right
from analysis.statistics import estimate, pooled_sd, sd_of_pair, sd_range


def noise_of(folder: Path) -> tuple[float, float, float, str]:
    """SD, its 95% range, and in words where from: finished runs below `folder` that differ in their seeds alone.

    The larger of two estimates: the pooled SD of errors, and what pairs of runs disagree on, which is sharper where
    runs are few, and too low where training is short. Raises UserError where no two such runs are there.
    """
    groups = [group for group in _groups(folder).values() if len(group) > 1]
    if not groups:
        raise UserError(
            "no two finished runs here differ in their seed alone",
            where=str(folder),
            remedy="Launch a pilot with two seeds, or leave out --pilots: then published noise is taken.",
        )
    return _noise(groups, folder)


def _noise(groups: list[list[tuple[float, Right | None]]], folder: Path) -> tuple[float, float, float, str]:
    sd, df = pooled_sd({str(i): estimate([error for error, _ in group]) for i, group in enumerate(groups)})
    pairs = [
        sd_of_pair(one, other)
        for group in groups
        for (_, one), (_, other) in pairwise(group)
        if one is not None and other is not None and len(one) == len(other)
    ]
    low, high = sd_range(sd, df)
    runs = sum(map(len, groups))
    said = f"{runs} runs in {folder}: their errors give {sd:.3f} (95%: {low:.3f} to {high:.3f})"
    if not pairs:
        return sd, low, high, said
    bits = sum(pairs) / len(pairs)
    said += f", the images on which two of them disagree at least {bits:.3f}"
    return max(sd, bits), max(low, bits), max(high, bits), said


def _groups(folder: Path) -> dict[str, list[tuple[float, Right | None]]]:
    """Error and bits of every finished run, by all of its identity but the seed."""
    groups = defaultdict[str, list[tuple[float, Any]]](list)
    for path in sorted(folder.rglob("result.json")):
        sweep = path.parent.parent
        paths = RunPaths(sweep.parent, sweep.name, path.parent.name)
        run = load_run(paths)
        evaluation = read_json(paths.result)["evaluations"][run.dataset.evaluate]
        groups[_but_seed(run)].append((float(evaluation["top1_error"]), _right(paths, run, int(evaluation["images"]))))
    return groups


def _but_seed(run: Run) -> str:
    return json.dumps({key: value for key, value in run.identity.items() if key != "seed"}, sort_keys=True)


def _right(paths: RunPaths, run: Run, images: int) -> Right | None:
    return read_right(paths.bits(run.dataset.evaluate), images)
