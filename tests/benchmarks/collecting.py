"""Run folders to frames: cold and from the cache, against pandas, file by file; from 1 run to 10,000."""

from __future__ import annotations

import gc
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measure import Comparison, seconds

from ablation.run import Run, RunPaths
from ablation.sweep import Sweep
from analysis.cache import FOLDER, SETTLED
from analysis.collect import collect

sys.path.append(str(Path(__file__).parents[1]))
from studies import draw, sweep_fields, write_run, write_sweep

EPOCHS = 90
SHAPES = {1: (1, 1), 10: (10, 1), 100: (20, 5), 1_000: (20, 50), 10_000: (20, 500)}
"""Runs: arms, seeds."""
NAMES = ("resnet11_1x8d", *(f"resnext11_{paths}x{width}d" for paths in (2, 3, 4, 6, 8) for width in (2, 3, 4, 5)))


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    gc.collect()
    gc.freeze()  # what other benchmarks hold is not to be walked through, on either side
    sizes = [runs for runs in SHAPES if not quick or runs <= 100]
    return [comparison for runs in sizes for comparison in _compare(runs, repeats=1 if quick else 2)]


def _compare(runs: int, repeats: int) -> list[Comparison]:
    with tempfile.TemporaryDirectory(prefix="collecting.") as name:
        folder = Path(name)
        sweep = make(folder, *SHAPES[runs])
        time.sleep(SETTLED)  # the cache trusts no file that changed a moment ago
        if runs <= 1_000:
            _agree(sweep, folder / "runs")
        measured = [_measure(sweep, folder / "runs") for _ in range(repeats)]
    what, other = f"collect {runs:,} {'run' if runs == 1 else 'runs'} of {EPOCHS} epochs", "pandas, file by file"
    cold = [(cold, plain) for cold, plain, _ in measured]
    warm = [(warm, plain) for _, plain, warm in measured]
    return [
        Comparison(f"{what}, cold", "run folders, joined and parsed in parallel; the cache written", other, "s", cold),
        Comparison(f"{what}, warm", "the cache, each folder's files looked at", other, "s", warm),
    ]


def _measure(sweep: Sweep, runs: Path) -> tuple[float, float, float]:
    """Seconds: cold, pandas, warm."""
    shutil.rmtree(runs / sweep.name / FOLDER, ignore_errors=True)
    cold = seconds(lambda: collect(sweep, runs))
    plain = seconds(lambda: by_pandas(sweep, runs))
    return cold, plain, seconds(lambda: collect(sweep, runs), times=3)


def by_pandas(sweep: Sweep, runs: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and epochs, as one would read them without this toolkit; nothing is checked."""
    files = [sweep.paths(runs, run) for run in sweep.runs()]
    rows = [{**_plain(paths.run_json), **_plain(paths.result)} for paths in files]
    logs = [pd.read_json(paths.log, lines=True).assign(run_id=paths.id) for paths in files]
    return pd.json_normalize(rows), pd.concat(logs, ignore_index=True)


def _plain(path: Path) -> dict:
    return json.loads(path.read_text())


def _agree(sweep: Sweep, runs: Path) -> None:
    """Raises ArithmeticError where the two don't read the same numbers; leaves all files in the page cache."""
    study, (rows, epochs) = collect(sweep, runs), by_pandas(sweep, runs)
    same = study.runs["top1_error"].tolist() == rows["evaluations.test.top1_error"].tolist()
    if not same or not np.allclose(study.epochs["loss"], epochs["loss"], rtol=1e-12):  # pandas drops last digits
        raise ArithmeticError("the two read other numbers")


def make(folder: Path, arms: int, seeds: int) -> Sweep:
    """Finished runs of a sweep: run folders as training leaves them, without weights."""
    fields = sweep_fields(NAMES[:arms], seeds=seeds)
    fields["panels"][0]["recipe"] = {"base": "fashion", "epochs": EPOCHS}
    sweep, chance = write_sweep(folder, fields), random.Random(0)
    for run in sweep.runs():
        _noisy(write_finished(sweep, run, folder / "runs"), chance)
    return sweep


def write_finished(sweep: Sweep, run: Run, runs: Path) -> RunPaths:
    """A finished run's folder."""
    return write_run(sweep, run, runs, draw(run, 12.0, 0.15), result={"finished": "2026-01-01T10:00:00.000+00:00"})


def _noisy(paths: RunPaths, chance: random.Random) -> None:
    """Give the log's numbers as many digits as real ones have."""
    records = [json.loads(line) for line in paths.log.read_text().splitlines()]
    for record in records:
        for key, value in record.items():
            record[key] = value * (1 + chance.random() / 50) if isinstance(value, float) else value
    paths.log.write_text("".join(json.dumps(record) + "\n" for record in records))
