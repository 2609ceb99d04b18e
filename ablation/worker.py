"""A worker: claims runs and trains them one after another, until none is left or it is asked to stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ablation.claim import Claim, attempts, take
from ablation.data import open_images, steps_an_epoch
from ablation.errors import UserError
from ablation.execution import choose_execution, slow_precision
from ablation.records import Log
from ablation.run import Run, RunPaths
from ablation.train import Lost, Settings, Stopped, Training

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""USR2 is what submitit asks Slurm for, ahead of a time limit or a preemption."""


class StopFlag:
    """Set by the first stop signal, and read between steps: a handler that saved could save half a step."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        self._before = {number: signal.signal(number, self._set) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _set(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C: now
        self.signal = number

    def reason(self) -> str | None:
        """Why to stop; None while there is no reason."""
        return f"stopped by {signal.Signals(self.signal).name}" if self.signal is not None else None

    def hand_on(self) -> None:
        """Let submitit's own handler see the signal, at a step boundary: it queues the job again."""
        handler = self._before.get(signal.SIGUSR2)
        if self.signal == signal.SIGUSR2 and callable(handler):
            handler(self.signal, None)


@dataclass
class Done:
    """What a worker did."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopped: str | None = None


def work(
    runs: Path, sweep: str, ids: Sequence[str], settings: Settings, launch: str, stop: Callable[[], str | None]
) -> Done:
    """Train every run of `ids`, in order, that no other worker has; go round until nothing is left to claim."""
    report, tried = Done(), True
    while tried and not report.stopped:
        tried = False
        for id in ids:
            paths = RunPaths(runs, sweep, id)
            claim = None if report.stopped or paths.result.exists() else _claim(paths, launch)
            if claim:
                tried = True
                _try(paths, claim, settings, stop, report)
            report.stopped = report.stopped or stop()
    return report


def _claim(paths: RunPaths, launch: str) -> Claim | None:
    """Claim a run that is neither done nor failed in this launch."""
    earlier = attempts(paths.attempts)
    if earlier and earlier[-1].fields.get("launch") == launch and earlier[-1].ended == "failed":
        return None
    job = os.environ.get("SLURM_JOB_ID")
    claim = take(paths.attempts, worker=f"{socket.gethostname()}:{os.getpid()}", launch=launch, job=job)
    if claim and paths.result.exists():
        claim.end("done", "finished by another worker a moment before")
        return None
    return claim


def _try(paths: RunPaths, claim: Claim, settings: Settings, stop: Callable[[], str | None], report: Done) -> None:
    try:
        Training(paths, settings, stop, claim.held).to_the_end()
    except Stopped as stopped:
        claim.end("stopped", str(stopped))
        report.stopped = str(stopped)
    except Lost as lost:
        print(lost, file=sys.stderr)
    except UserError as error:
        _fail(paths, claim, str(error), report)
    except OSError as error:
        _fail(paths, claim, f"{error.strerror or error}: {error.filename or paths.folder}", report)
    except Exception as error:
        traceback.print_exc()
        _fail(paths, claim, f"{type(error).__name__}: {error}", report)
    else:
        claim.end("done")
        report.done.append(paths.id)


def _fail(paths: RunPaths, claim: Claim, message: str, report: Done) -> None:
    print(f"{paths.id} failed: {message}", file=sys.stderr)
    report.failed.append(paths.id)
    try:
        log = Log(paths.log)
        log.append("event", event="failed", message=message)
        log.close()
        claim.end("failed", message)
    except OSError as error:
        print(f"can't record that: {error}", file=sys.stderr)  # a full disk: the claim dies with this process


def check(runs: Sequence[Run], gpus: int | None, threads: int, data_dir: Path | None) -> str | None:
    """Open what the runs need, before any of them starts; a warning where the precision is slow here.

    Raises UserError where data or a GPU is missing.
    """
    warning = None
    for dataset, recipe, precision in dict.fromkeys((run.dataset, run.recipe, run.precision) for run in runs):
        execution = choose_execution(precision, threads, gpus)
        steps_an_epoch(open_images(dataset, recipe, "cpu", data_dir), recipe)
        warning = warning or slow_precision(execution)
    return warning
