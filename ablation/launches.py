"""Launches: which workers were started for which runs; `runs/<sweep>/launches/<id>/` holds one of them."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablation.claim import process_started
from ablation.run import read_json, write_json

QUERY_SECONDS = 10.0
"""A Slurm controller that does not answer for so long is taken to be away."""
LIVE = {"PENDING", "RUNNING", "REQUEUED", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUE_HOLD", "SPECIAL_EXIT"}


@dataclass(frozen=True)
class Launch:
    """One launch: the runs it was for, and the workers that it started."""

    folder: Path

    @property
    def id(self) -> str:
        """The folder's name: when, and some random digits."""
        return self.folder.name

    @property
    def description(self) -> Path:
        """`launch.json`."""
        return self.folder / "launch.json"

    def record(self, on: str, runs: list[str], jobs: list[str]) -> None:
        """Write down what was started. Locally a job is a process: its start time tells it from a later namesake."""
        started = {job: process_started(int(job)) for job in jobs} if on == "local" else {}
        write_json(self.description, {"on": on, "runs": runs, "jobs": jobs, "processes": started})

    def keep(self, sweep: Path, overrides: Sequence[str]) -> None:
        """Keep the sweep as it was launched: its file, and what `--set` changed."""
        shutil.copyfile(sweep, self.folder / "sweep.yaml")
        if overrides:
            write_json(self.folder / "overrides.json", {"set": list(overrides)})

    def read(self) -> dict[str, Any]:
        """What was started; empty where the launch died before it was written down."""
        return read_json(self.description) if self.description.exists() else {}


def new_launch(runs: Path, sweep: str) -> Launch:
    """A launch with a fresh folder: job ids come back after a controller's crash, folders do not."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = runs / sweep / "launches" / f"{stamp}-{uuid.uuid4().hex[:6]}"
    folder.mkdir(parents=True, mode=0o700)
    return Launch(folder)


def launches(runs: Path, sweep: str) -> list[Launch]:
    """Every launch of a sweep, oldest first."""
    folder = runs / sweep / "launches"
    return [Launch(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []


def waiting(runs: Path, sweep: str) -> set[str]:
    """Ids of the runs that a live launch is for: some worker of it waits, starts or works."""
    found = [launch.read() for launch in launches(runs, sweep)]
    local = [item for item in found if item.get("on") == "local" and _any_process(item["processes"])]
    slurm = [item for item in found if item.get("on") == "slurm"]
    live = _live_jobs(job for item in slurm for job in item["jobs"])
    return {run for item in [*local, *(item for item in slurm if live & set(item["jobs"]))] for run in item["runs"]}


def _any_process(processes: dict[str, str | None]) -> bool:
    return any(started and process_started(int(pid)) == started for pid, started in processes.items())


def _live_jobs(jobs: Iterable[str]) -> set[str]:
    """Of Slurm jobs (`12`, `12_3`) those that are queued or running; none where Slurm does not answer."""
    wanted = sorted(set(jobs))
    if not wanted:
        return set()
    arrays = sorted({job.partition("_")[0] for job in wanted})
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T", f"--jobs={','.join(arrays)}"]
    return {job for job, state in _ask(command) if state in LIVE} & set(wanted)


def _ask(command: list[str]) -> list[tuple[str, str]]:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.split() for line in answer.stdout.splitlines()]
    return [(row[0], row[1]) for row in rows if len(row) == 2]


def live_jobs() -> set[str] | None:
    """Ids (a number each, array elements' own) of this user's jobs that are queued or running; None: no answer."""
    command = ["squeue", "--noheader", "--me", "--array", "--format=%A"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(answer.stdout.split())


def slurm_answers(seconds: float = 2.0) -> bool | None:
    """Whether a Slurm controller answers within so many seconds; None where this machine belongs to none."""
    command = ["sinfo", "--noheader", "--format=%P"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return False
    except OSError:
        return None
    return True if answer.returncode == 0 else False if "contact" in answer.stderr else None
