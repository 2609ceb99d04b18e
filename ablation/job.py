"""What submitit starts, on this machine or in a Slurm job: a worker, or several side by side."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from ablation.distributed import Group
    from ablation.signals import StopFlag
    from ablation.worker import Worker

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
    settings: Mapping[str, Any]
    """Of `Settings`, what `launch.request.SETTINGS` names."""
    data: tuple[tuple[str, Path], ...] = ()
    """Where data sets lie, by name."""
    scratch: Path | None = None
    """Where checkpoints lie; beside the records by default."""
    side_by_side: int = 1
    """Runs at a time, each in a process of its own, on the same GPUs."""
    mps: bool = False
    """Whether those share the GPU through NVIDIA's MPS."""
    ranks: int = 1
    """Processes that train each run together; submitit starts this in every one of them."""
    minutes: int | None = None
    """The Slurm job's time limit."""
    requeue: bool = True
    """Whether to queue the job again where its time ends before the runs do."""

    def __call__(self) -> None:
        """Work until nothing is left to claim or a signal says stop.

        Raises RuntimeError where a process failed on its own account, not a run's; Broken where one of several ranks
        is gone.
        """
        from ablation.signals import StopFlag

        with StopFlag() as stop:
            work = self._in_step if self.ranks > 1 else self._as_crew
            work(self._until(), stop)

    def _as_crew(self, until: float | None, stop: StopFlag) -> None:
        """By processes of their own, each with its own runs."""
        from ablation.crew import Crew
        from ablation.mps import shared_gpu

        with shared_gpu() if self.mps else nullcontext():
            crew = Crew(Task(self, until), self.side_by_side, stop)
            crew.to_the_end()
        self._queue_again(stop, late=until is not None and time.time() > until)
        if crew.failed:
            raise RuntimeError("a worker failed: see its error above")

    def _in_step(self, until: float | None, stop: StopFlag) -> None:
        """As one of the processes that train each run together; the first of them has the job queued again."""
        from ablation.distributed import Broken, join

        group = join("cuda" if self.settings["gpus"] else "cpu")
        late = False
        try:
            self._worker(until, stop, group).work()
            late = until is not None and time.time() > until
        except Broken:
            late = stop.reason() is None  # a process that was told to stop is no reason to come back
            raise
        finally:
            group.leave()
            if group.first:
                self._queue_again(stop, late=late)

    def work(self, until: float | None = None) -> None:
        """Train runs in this process."""
        from ablation.distributed import alone
        from ablation.signals import StopFlag

        with StopFlag() as stop:
            self._worker(until, stop, alone()).work()

    def _worker(self, until: float | None, stop: StopFlag, group: Group) -> Worker:
        from ablation.train import Settings
        from ablation.worker import Places, Worker

        settings, places = Settings(**self.settings), Places(dict(self.data), self.scratch)
        return Worker(self.runs, self.sweep, self.ids, settings, self.launch, stop.reason, until, places, group)

    def _until(self) -> float | None:
        """When to claim no more, in seconds since the epoch."""
        if self.minutes is None:
            return None
        start, end = (os.environ.get(f"SLURM_JOB_{word}_TIME", "") for word in ("START", "END"))
        told = bool(re.fullmatch(r"[0-9]{1,12}", start) and re.fullmatch(r"[0-9]{1,12}", end))
        seconds = int(end) - int(start) if told else 60 * self.minutes  # the controller's clock may differ
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
