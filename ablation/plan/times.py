"""`plan --match time` and `--times`: the clock that is asked for, and what it said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ablation.budget import Budget
from ablation.errors import UserError
from ablation.solver import TIME, Clock, Rule, Solution, time_error

HERE = "here"
PRECISIONS = ("fp32", "tf32", "bf16", "fp64")


def clock_of(
    times: str | None, match: str | None, budget: Budget, batch: int, precision: str | None, threads: int | None
) -> Clock | None:
    """A stopwatch, or the times that a folder of runs recorded; None where no time is asked for. Raises UserError."""
    source = times or (HERE if match == TIME else None)
    if source != HERE and (precision or threads):
        raise UserError("--precision and --threads are of times measured here", remedy="Add --times here.")
    if source is None:
        return None
    if budget.of is None:
        raise UserError(
            f"times are shares of the time of the budget's own design, and {budget.name!r} is none",
            remedy="Name a design or a multiple of it: resnet50, 0.5*resnet101.",
        )
    return _stopwatch(batch, precision or "fp32", threads or 1) if source == HERE else _recorded(Path(source), budget)


def _stopwatch(batch: int, precision: str, threads: int) -> Clock:
    if precision not in PRECISIONS:
        raise UserError(f"unknown precision {precision!r}", remedy=f"Choose from: {', '.join(PRECISIONS)}.")
    from ablation.stopwatch import Stopwatch

    return Stopwatch(batch, precision, threads, say=lambda line: print(line, file=sys.stderr))


def _recorded(folder: Path, budget: Budget) -> Clock:
    from ablation.timings import Recorded, read_timings

    if not folder.is_dir():
        raise UserError("no such folder of runs", where=str(folder), remedy="Name one, or measure: --times here.")
    return Recorded(read_timings(folder), budget.of, str(folder))


def add_times(answer: dict[str, Any], rule: Rule, budget: Budget, rows: list[Any]) -> dict[str, Any]:
    """The contract's answer with what the clock said, in the whole and in each design."""
    if rule.clock is None:
        return answer
    for entry, row in zip(answer["designs"], rows, strict=True):
        entry["time"] = None
        if row.time:
            entry["time"] = {**vars(row.time), "error": time_error(row.time, row.budget)}
    return answer | {"time": rule.clock.about(budget.of)}


def explain_times(rule: Rule, budget: Budget, rows: list[Any]) -> list[str]:
    """The lines under the table: of what the times are, and which numbers they can't tell apart."""
    if rule.clock is None:
        return []
    about = rule.clock.about(budget.of)
    lines = [
        f"Time: a training step over {budget.of.name}'s, which takes {about['seconds']:.3g} s ({about['device']}, "
        f"{about['precision']}, threads: {about['threads']}, batch {about['batch']})."
    ]
    return lines + ([_timed(row) for row in rows if row.time] if rule.match == TIME else [])


def _timed(row: Solution) -> str:
    assert row.time
    return f"{row.design.name}: {row.time.ratio:.3f} ({row.time.low:.3f} to {row.time.high:.3f}; {row.time.how})."
