"""What submitit starts, on this machine or in a Slurm job: a worker, or several side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from ablation.signals import StopFlag

SIGNAL_SECONDS = 90
"""How long before its time limit a job is told to save."""
QUEUE_AGAIN_SECONDS = (1, 2, 4, 8, 15, 15, 0)
"""Between tries to queue a job again: there is about as much time as Slurm's signal comes ahead of its kill."""
MARGIN_SECONDS = 60
"""A worker claims nothing in its job's last minutes: starting takes time, and what it trained would be little."""


@dataclass(frozen=True)
class WorkerJob:
    """A worker for some runs; plain values only, since it is pickled."""

    runs: Path
    sweep: str
    ids: tuple[str, ...]
    launch: str
    gpus: int | None
    threads: int
    checkpoint_minutes: float
    data: tuple[tuple[str, Path], ...] = ()
    """Where data sets lie, by name."""
    scratch: Path | None = None
    """Where checkpoints lie; beside the records by default."""
    side_by_side: int = 1
    """Runs at a time, each in a process of its own, on the same GPUs."""
    minutes: int | None = None
    """The Slurm job's time limit."""
    requeue: bool = True
    """Whether to queue the job again where its time ends before the runs do."""

    def __call__(self) -> None:
        """Work until nothing is left to claim or a signal says stop.

        Raises RuntimeError where a process failed on its own account, not a run's.
        """
        from ablation.crew import Crew
        from ablation.signals import StopFlag

        until = self._until()
        with StopFlag() as stop:
            crew = Crew(Task(self, until), self.side_by_side, stop)
            crew.to_the_end()
            self._queue_again(stop, late=until is not None and time.time() > until)
        if crew.failed:
            raise RuntimeError("a worker failed: see its error above")

    def work(self, until: float | None = None) -> None:
        """Train runs in this process."""
        from ablation.signals import StopFlag
        from ablation.train import Settings
        from ablation.worker import Places, Worker

        settings = Settings(self.gpus, self.threads, self.checkpoint_minutes)
        with StopFlag() as stop:
            place = Places(dict(self.data), self.scratch)
            Worker(self.runs, self.sweep, self.ids, settings, self.launch, stop.reason, until, place).work()

    def _until(self) -> float | None:
        """When to claim no more, in seconds since the epoch."""
        if self.minutes is None:
            return None
        start, end = (os.environ.get(f"SLURM_JOB_{word}_TIME") for word in ("START", "END"))
        seconds = float(end) - float(start) if start and end else 60 * self.minutes  # the controller's clock may differ
        return time.time() + seconds - signal_seconds(self.minutes) - min(MARGIN_SECONDS, 3 * self.minutes)

    def _queue_again(self, stop: StopFlag, *, late: bool) -> None:
        """Have Slurm start this job once more, where it was told to leave before the runs were done."""
        if not self.requeue or not (late or stop.told_to_leave) or not self._left():
            return
        for wait in QUEUE_AGAIN_SECONDS:
            try:
                stop.hand_on()
            except (OSError, subprocess.SubprocessError) as error:  # the controller may be away for a moment
                print(f"can't queue this job again: {error}", file=sys.stderr)
                time.sleep(wait)
        print("giving up: launch again to go on", file=sys.stderr)

    def _left(self) -> bool:
        from ablation.run import RunPaths

        paths = [RunPaths(self.runs, self.sweep, id) for id in self.ids]
        return any(not path.result.exists() and not path.cancelled.exists() for path in paths)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues again: the same worker, which goes on from the run folders."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass(frozen=True)
class Task:
    """What a member of a crew does."""

    job: WorkerJob
    until: float | None

    def __call__(self) -> Any:
        """See `WorkerJob.work`."""
        return self.job.work(self.until)


def signal_seconds(minutes: int) -> int:
    """How long before the end of a job of so many minutes Slurm is to send its signal."""
    return min(SIGNAL_SECONDS, 15 * minutes)
