"""What one run's files tell: its records, what its worker printed last, and its last traceback."""

from __future__ import annotations

import re
from pathlib import Path

from ablation.claim import Attempt, attempts
from ablation.errors import UserError, did_you_mean
from ablation.records import read_records
from ablation.sweep import Sweep

TAIL_BYTES = 1 << 18
TAIL_LINES = 20
MANY = 12
TRACEBACK = "Traceback (most recent call last):"


def print_log(sweep: Sweep, runs: Path, name: str) -> None:
    """Print a run's records, an event or an epoch a line, then its worker's output. Raises UserError."""
    paths = next(sweep.paths(runs, run) for run in sweep.runs() if run.id == named(sweep, name))
    for record in read_records(paths.log):
        rest = " ".join(f"{key}={value}" for key, value in record.items() if key not in ("kind", "time"))
        print(record["time"], record["kind"], rest)
    tries = attempts(paths.attempts)
    for attempt in tries:
        print(about(attempt))
    folder = runs / sweep.name / "launches" / str(tries[-1].fields.get("launch")) if tries else None
    files = outputs(folder, paths.id, tries[-1]) if folder else []
    for file in files:
        if said := tail(file).splitlines()[-TAIL_LINES:]:
            print("\n".join([f"\n{file}, the last lines:", *said]))
    trace = next((found for file in files if (found := last_traceback(tail(file), paths.id))), "")
    if trace:
        print(f"\nthe last traceback:\n{trace}")


def named(sweep: Sweep, name: str) -> str:
    """The id of the run that is meant: an id, the start of one, or `arm:seed`. Raises UserError where it is not one."""
    every = sweep.runs()
    arm, _, seed = name.rpartition(":")
    found = {run.id for run in every if run.id.startswith(name) or (arm == run.arm and seed == str(run.seed))}
    exact = found & {name} or found
    if len(exact) == 1:
        return exact.pop()
    choices = sorted(found) or [run.id for run in every]
    listed = "\n  ".join([*choices[:MANY], *(["..."] if len(choices) > MANY else [])])
    near = "" if found else f"{did_you_mean(name, choices)}\n  " if len(choices) > MANY else ""
    count = f"{len(found)} runs are" if found else "no run is"
    raise UserError(f"{name}: {count} named so", remedy=f"{near}Choose from:\n  {listed}")


def about(attempt: Attempt) -> str:
    """An attempt in a line: who had the run, when, and how it ended."""
    known = {key: attempt.fields.get(key) for key in ("worker", "job", "launch", "ended_at")}
    words = " ".join(f"{key}={value}" for key, value in known.items() if value)
    end = attempt.ended or ("under way" if attempt.alive() else "interrupted")
    return f"{attempt.fields.get('started', '')} attempt {attempt.number + 1} {words}: {end} {attempt.message}".rstrip()


def outputs(launch: Path, id: str, attempt: Attempt) -> list[Path]:
    """The files that the attempt's worker prints to, errors first; those that name the run, where that is not known.

    submitit calls them `<job>_<task>_log.out` and `.err`.
    """
    files = sorted(launch.glob("*_log.err")) + sorted(launch.glob("*_log.out")) if launch.is_dir() else []
    own = [file for file in files if file.name.rsplit("_", 2)[0] == attempt.fields.get("output")]
    return own or [file for file in files if id in tail(file)]


def tail(file: Path) -> str:
    """The end of a file: a worker of many runs prints much."""
    with open(file, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - TAIL_BYTES))
        return stream.read().decode(errors="replace")


def last_traceback(text: str, id: str) -> str:
    """The last traceback in a worker's errors, of the run where it can be told; empty where there is none."""
    blocks = [TRACEBACK + rest for rest in text.split(TRACEBACK)[1:]]
    ended = [match for block in blocks if (match := re.match(r".*?\n(?=\S)[^\n]*", block, re.DOTALL))]
    own = [match[0] for match, block in zip(ended, blocks, strict=False) if f"{id} failed" in block]
    found = own or [match[0] for match in ended]
    return found[-1] if found else ""
