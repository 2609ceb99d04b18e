"""What submitit starts, on this machine or in a Slurm job: a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission


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
    data_dir: Path | None

    def __call__(self) -> dict[str, Any]:
        """Work until nothing is left to claim or a signal says stop; what was done."""
        from dataclasses import asdict

        from ablation.train import Settings
        from ablation.worker import StopFlag, work

        settings = Settings(self.gpus, self.threads, self.checkpoint_minutes, self.data_dir)
        with StopFlag() as stop:
            report = work(self.runs, self.sweep, self.ids, settings, self.launch, stop.reason)
            stop.hand_on()
        return asdict(report)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues again: the same worker, which goes on from the run folders."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
