"""Launches: which workers were started for which runs; `runs/<sweep>/launches/<id>/` holds one of them.

launch.json   what was started: {on, runs, jobs, processes, host}
planned.json  what is about to be submitted to Slurm: {on, runs, count}; where launch.json is absent, whoever submitted
              died on the way, and the jobs are found by their comment
ended.json    {jobs: [...]}: every job of it has ended, as Slurm said; it is not asked about again
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ablation.claim import host, process_started
from ablation.fields import NOTHING, check, damaged
from ablation.private import refuse_shared
from ablation.run import read_json, write_json
from ablation.slurm import Job

KINDS: dict[str, tuple[type, ...]] = {
    **{"on": (str, NOTHING), "runs": (list,), "jobs": (list, NOTHING), "processes": (dict,), "host": (str, NOTHING)},
    "count": (int,),
}
"""Of what type the fields of launch.json and planned.json are."""


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

    @property
    def plan(self) -> Path:
        """`planned.json`."""
        return self.folder / "planned.json"

    @property
    def end(self) -> Path:
        """`ended.json`."""
        return self.folder / "ended.json"

    @cached_property
    def began(self) -> float:
        """When, in seconds since the epoch, by the clock of the machine that launched."""
        try:
            return datetime.strptime(self.id[:15] + "+0000", "%Y%m%dT%H%M%S%z").timestamp()
        except ValueError:
            return self.folder.stat().st_mtime

    def record(self, on: str, runs: list[str], jobs: list[str]) -> None:
        """Write down what was started. Locally a job is a process: its start time tells it from a later namesake."""
        pids = {"local": jobs, "here": [str(os.getpid())]}.get(on, [])
        started = {pid: process_started(int(pid)) for pid in pids}
        write_json(self.description, {"on": on, "runs": runs, "jobs": jobs, "processes": started, "host": host()})

    def keep(self, sweep: Path, overrides: Sequence[str]) -> None:
        """Keep the sweep as it was launched: its file, and what `--set` changed."""
        shutil.copyfile(sweep, self.folder / "sweep.yaml")
        if overrides:
            write_json(self.folder / "overrides.json", {"set": list(overrides)})

    @cached_property
    def content(self) -> dict[str, Any]:
        """What was started, or planned (then it has no `jobs`); empty where the launch died before either."""
        for path in (self.description, self.plan):
            with suppress(FileNotFoundError, PermissionError):
                if path.exists():
                    return check(
                        read_json(path),
                        KINDS,
                        "launch",
                        str(path),
                        "Remove this file: jobs are found by their comment.",
                    )
        return {}

    @property
    def on(self) -> str | None:
        """slurm, local or here."""
        return self.content.get("on")

    @property
    def runs(self) -> list[str]:
        """Ids of the runs that it was for."""
        return [run for run in self.content.get("runs", []) if isinstance(run, str)]

    @property
    def jobs(self) -> list[str] | None:
        """Ids of the Slurm jobs, or of the processes; None where they were not written down."""
        return self.content.get("jobs")

    @property
    def processes(self) -> dict[str, str]:
        """Its processes on this machine that live, by pid, with when they started."""
        started = self.content.get("processes", {}) if not self.elsewhere else {}
        numbers = {pid: began for pid, began in started.items() if began and re.fullmatch(r"[0-9]{1,9}", pid)}
        return {pid: began for pid, began in numbers.items() if process_started(int(pid)) == began}

    @property
    def elsewhere(self) -> bool:
        """Whether its processes are on another machine, and can't be seen from here."""
        return self.content.get("host", host()) != host()

    def adopt(self, jobs: Sequence[str]) -> None:
        """Write down jobs that were found in the queue with this launch's comment."""
        self.content["jobs"] = list(jobs)
        with suppress(OSError):
            write_json(self.description, {**self.content, "processes": {}, "adopted": True})

    def over(self, jobs: Sequence[Job]) -> None:
        """Write down that its jobs have ended, and how."""
        with suppress(OSError):  # another user's launch: Slurm will be asked about it again
            write_json(self.end, {"jobs": [asdict(job) for job in jobs]})

    @property
    def ended(self) -> list[Job] | None:
        """Its jobs, all of which have ended; None while that is not known."""
        if not self.end.exists():
            return None
        try:
            return [Job(**{key: str(value) for key, value in job.items()}) for job in read_json(self.end)["jobs"]]
        except (KeyError, TypeError, AttributeError) as error:
            remedy = "Remove it: Slurm will be asked again."
            raise damaged(f"file: {type(error).__name__} {error}", str(self.end), remedy) from None


def new_launch(runs: Path, sweep: str) -> Launch:
    """A launch with a fresh folder: job ids come back after a controller's crash, folders do not.

    Raises UserError where others may write to it: its pickles are code.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = runs / sweep / "launches" / f"{stamp}-{uuid.uuid4().hex[:6]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    refuse_shared(folder)
    return Launch(folder)


def launches(runs: Path, sweep: str) -> list[Launch]:
    """Every launch of a sweep, oldest first."""
    folder = runs / sweep / "launches"
    return [Launch(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
