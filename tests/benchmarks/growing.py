"""From 1 run to 10,000: collecting them against pandas, and the commands that read them as whole processes."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from pathlib import Path

import collecting
import growth
from measure import Comparison, Pair
from planning import NOTHING, wall_time

from ablation.sweep import Sweep
from analysis.cache import FOLDER, SETTLED

SHAPES = {1: (1, 1), 10: (10, 1), 100: (20, 5), 1_000: (20, 50), 10_000: (20, 500)}
"""Runs: arms, seeds."""
GOAL = 1_000
"""Commands are measured once; here as often as collecting."""
DRY_RUN, STATUS, COLLECT, REPORT = "`launch --dry-run`", "`status`", "collect", "`report`"


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    gc.collect()
    gc.freeze()  # what other benchmarks hold is not to be walked through, on either side
    sizes = [runs for runs in SHAPES if not quick or runs <= 100]
    return [comparison for runs in sizes for comparison in _compare(runs, repeats=1 if quick or runs > GOAL else 2)]


def _compare(runs: int, repeats: int) -> list[Comparison]:
    number = f"{runs:,} run{'s' * (runs != 1)}"
    with tempfile.TemporaryDirectory(prefix="growing.") as name:
        folder = Path(name)
        sweep = collecting.make(folder, *SHAPES[runs])
        time.sleep(SETTLED)  # the cache trusts no file that changed a moment ago
        cold, warm = collecting.compare(sweep, folder / "runs", repeats)
        commands = _commands(sweep, folder)
        often = repeats if runs == GOAL else 1
        pairs = {what: [_process(sweep, folder, command) for _ in range(often)] for what, command in commands.items()}
    reading = [
        Comparison(f"{COLLECT}, {kind}; {number}", what, collecting.PANDAS, "s", found)
        for kind, what, found in (("cold", collecting.COLD, cold), ("warm", collecting.WARM, warm))
    ]
    whole = [
        Comparison(f"{what}; {number}", "the command", "`python -c pass`", "s", found, floor=True)
        for what, found in pairs.items()
    ]
    return [*reading, *whole]


def _commands(sweep: Sweep, folder: Path) -> dict[str, tuple[str, ...]]:
    where = (str(sweep.path), "--runs", str(folder / "runs"))
    return {
        f"{DRY_RUN}, all to do": ("-m", "ablation.launch", str(sweep.path), "--on", "local", "--dry-run"),
        f"{STATUS}, all done": ("-m", "ablation.status", *where),
        f"{REPORT}, nothing cached": ("-m", "analysis.report", *where, "--out", str(folder / "reports")),
    }


def _process(sweep: Sweep, folder: Path, command: tuple[str, ...]) -> Pair:
    """Seconds of the command, and of a process that does nothing."""
    shutil.rmtree(folder / "runs" / sweep.name / FOLDER, ignore_errors=True)
    empty = ("--runs", str(folder / "none")) if "--runs" not in command else ()
    return wall_time((*command, *empty)), wall_time(NOTHING)


def remarks(comparisons: list[Comparison]) -> list[str]:
    """The figure, and the slopes."""
    return [growth.remark(comparisons)]
