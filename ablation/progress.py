"""What a waiting launch shows: who is done, how far the rest is, when it will end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.board import Board, read_board
from ablation.records import read_records
from ablation.slurm import CALM_SECONDS, Slurm
from ablation.sweep import Sweep

if TYPE_CHECKING:
    from submitit import Job

LOOK_SECONDS = 1.0
STOP_SECONDS = 120.0
"""Workers that have not saved and left by then are no longer waited for."""


def wait_for(jobs: Sequence[Job[Any]], sweep: Sweep, runs: Path, todo: Sequence[str]) -> None:
    """Wait until every worker has left, other launches' too, showing progress.

    Ctrl-C and SIGTERM stop the workers in `jobs` cleanly and go on as KeyboardInterrupt.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Watch(sweep, runs, todo) as watch:
            while watch.look().ids("running", "waiting") or not all(job.done() for job in jobs):
                time.sleep(LOOK_SECONDS)
            watch.look()
    except KeyboardInterrupt:
        stop(jobs)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def stop(jobs: Sequence[Job[Any]]) -> None:
    """Tell local workers to save and leave, and wait for that."""
    words = "workers save their runs and leave" if jobs else "the workers are another launch's, and go on"
    print(f"\nstopping: {words}; launch again to go on", file=sys.stderr)
    for job in jobs:
        _signal(int(job.job_id), signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while not all(job.done() for job in jobs) and time.monotonic() < end:
        time.sleep(0.1)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


class Watch:
    """Progress on a terminal as a bar that moves, elsewhere as a line for each run that ends."""

    def __init__(self, sweep: Sweep, runs: Path, todo: Sequence[str]) -> None:
        self.sweep, self.runs, self.todo = sweep, runs, set(todo)
        self.slurm = Slurm(CALM_SECONDS)
        self.ended: set[str] = set()
        self.warned: set[str] = set()
        self.start, self.before = time.monotonic(), 0
        self.bar: Any = None

    def __enter__(self) -> Watch:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = ("{task.description}", BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        board = read_board(self.sweep, self.runs, self.slurm)
        self.before = self._epochs(board)
        total = sum(row.epochs for row in self._rows(board))
        self.task = self.bar.add_task(self.sweep.name, total=total, words="starting")
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _rows(self, board: Board) -> list[Any]:
        return list({row.id: row for row in board.rows if row.id in self.todo}.values())

    def _epochs(self, board: Board) -> int:
        return sum(row.epoch for row in self._rows(board))

    def look(self) -> Board:
        """Show what has changed since the last look; the board."""
        board = read_board(self.sweep, self.runs, self.slurm)
        rows, done = self._rows(board), self._epochs(board)
        left = self._left(done, sum(row.epochs for row in rows))
        ended = sum(row.state == "done" for row in rows)
        self.bar.update(self.task, completed=done, words=f"{ended}/{len(rows)} runs done{left}")
        for row in rows:
            if row.state in ("done", "failed") and row.id not in self.ended:
                self.ended.add(row.id)
                what = f"{row.top1_error:.2f}% error" if row.state == "done" else f"failed: {row.message}"
                self.bar.console.print(
                    f"{len(self.ended)}/{len(rows)} {row.arm} seed {row.seed}: {what} ({row.seconds:.0f} s){left}",
                    highlight=False,
                    markup=False,
                )
            if row.state == "running":
                self._warn(row.id)
        return board

    def _left(self, done: int, total: int) -> str:
        fresh = done - self.before
        if not fresh or done >= total:
            return ""
        seconds = (time.monotonic() - self.start) / fresh * (total - done)
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else f", about {seconds:.0f} s left"

    def _warn(self, id: str) -> None:
        path = self.runs / self.sweep.name / id / "log.jsonl"
        for record in read_records(path):
            if record.get("event") == "warning" and record["message"] not in self.warned:
                self.warned.add(record["message"])
                self.bar.console.print(f"warning: {record['message']}", highlight=False, markup=False)


def print_plan(rows: Sequence[dict[str, Any]], summary: str) -> None:
    """Every run of a dry run, as a table: plain lines, for rich takes most of a dry run's time over thousands."""
    names = ("panel", "arm", "seed", "params", "macs", "state", "id")
    numbers = {"seed", "params", "macs"}
    cells = [
        names,
        *((row["panel"], row["arm"], str(row["seed"]), *_counts(row), row["state"], row["id"]) for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    form = "  ".join(
        f"{{:{'>' if name in numbers else '<'}{width}}}" for name, width in zip(names, widths, strict=True)
    )
    print("\n".join([summary, *(form.format(*line).rstrip() for line in cells)]))


def _counts(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['params']:,}", f"{row['macs']:,}"
