"""Run folders to frames: cold and from the cache, against pandas, file by file."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from measure import Pair, seconds

from ablation.run import Run, RunPaths
from ablation.sweep import Sweep
from analysis.cache import FOLDER
from analysis.collect import collect

sys.path.append(str(Path(__file__).parents[1]))
from studies import draw, sweep_fields, write_run, write_sweep

EPOCHS = 90
NAMES = ("resnet11_1x8d", *(f"resnext11_{paths}x{width}d" for paths in (2, 3, 4, 6, 8) for width in (2, 3, 4, 5)))


COLD = "run folders, joined and parsed in parallel; the cache written"
WARM = "the cache, each folder's files looked at"
PANDAS = "pandas, file by file"


def compare(sweep: Sweep, runs: Path, repeats: int) -> tuple[list[Pair], list[Pair]]:
    """Seconds of ours without a cache, and with one, each beside pandas'."""
    if len(sweep.runs()) <= 1_000:
        _agree(sweep, runs)
    measured = [_measure(sweep, runs) for _ in range(repeats)]
    return [(cold, plain) for cold, plain, _ in measured], [(warm, plain) for _, plain, warm in measured]


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
