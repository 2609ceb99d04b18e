"""A worker: claims runs and trains them one after another, until none is left or it is asked to stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ablation import checkpoint
from ablation.claim import Attempt, Claim, attempts, take
from ablation.data import open_images, steps_an_epoch
from ablation.distributed import Broken, Group, alone
from ablation.errors import UserError
from ablation.execution import choose_execution, slow_precision
from ablation.memory import advice, is_out_of_memory, kernel_kills
from ablation.records import Log, last_step
from ablation.run import Run, RunPaths, load_run
from ablation.slurm import live_jobs
from ablation.train import Lost, Settings, Stopped, Training
from ablation.watchdog import end_process

TRIES = 3
"""So many tries of a launch at a run that got no further, and it is given up."""
SILENT_SECONDS = 60.0
"""A worker elsewhere that has not renewed its lease for so long is probably dead: three beats are missing."""
LOOK_SECONDS = 5.0
CANCEL_SECONDS = 2.0
CANCELLED = "cancelled"
HUNG_SECONDS = 20.0
"""So long a hung process may take to leave word before it ends."""


@dataclass
class Done:
    """What a worker did."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopped: str | None = None


@dataclass(frozen=True)
class Places:
    """Where what a run needs lies, in so far as it is not beside its records."""

    data: Mapping[str, Path] = field(default_factory=dict)
    """By a data set's name."""
    scratch: Path | None = None
    """For checkpoints."""


@dataclass
class Worker:
    """One process that trains runs."""

    runs: Path
    sweep: str
    ids: Sequence[str]
    settings: Settings
    launch: str
    stop: Callable[[], str | None]
    """Why to stop; None while there is no reason."""
    until: float | None = None
    """When to claim no more (seconds since the epoch), for the job ends soon after."""
    places: Places = field(default_factory=Places)
    group: Group = field(default_factory=alone)
    """The processes that train each run together; the first claims, the others do as it says."""
    report: Done = field(default_factory=Done)

    def work(self) -> Done:
        """Train every run of `ids`, in order, that no other worker has; go round until nothing is left to claim.

        Raises Broken where another process of the group is gone.
        """
        if not self.group.first:
            self._follow()
            return self.report
        tried = True
        while tried and not self._leaving():
            tried = any([self._try(id) for id in self.ids])
            tried = tried or self._take_over()
        self.group.share(None)
        return self.report

    def _follow(self) -> None:
        """Train what the group's first process has claimed; what fails there or here is written down there."""
        while told := self.group.share(None):
            id, settings = told
            try:
                paths = RunPaths(self.runs, self.sweep, id)
                Training(paths, settings, self.stop, lambda: True, self.group).to_the_end()
            except Broken:
                raise
            except Exception as error:
                print(f"{id}: {error}", file=sys.stderr)

    def _leaving(self) -> bool:
        late = self.until is not None and time.time() > self.until
        self.report.stopped = self.report.stopped or self.stop() or ("the job's time is nearly over" if late else None)
        return bool(self.report.stopped)

    def _try(self, id: str, dead: int | None = None) -> bool:
        """Claim a run and train it; False where there is nothing to do."""
        paths = RunPaths(self.runs, self.sweep, id)
        if self._leaving() or paths.result.exists() or cancelled(paths):
            return False
        try:
            claim = self._claim(paths, dead)
        except OSError as error:  # a full disk, say: another run, or the next launch, may have more luck
            print(f"{id} can't be claimed: {error}", file=sys.stderr)
            return False
        if claim:
            self._train(paths, claim)
        return claim is not None

    def _claim(self, paths: RunPaths, dead: int | None) -> Claim | None:
        """Claim a run that is neither done nor given up in this launch."""
        own = [attempt for attempt in attempts(paths.attempts) if attempt.fields.get("launch") == self.launch]
        if own and own[-1].ended == "failed" and own[-1].fields.get("final", True):
            return None
        reached = last_step(paths.log)
        claim = take(paths.attempts, dead=dead, launch=self.launch, step=reached, **whereabouts())
        if claim and paths.result.exists():
            claim.drop()
            return None
        fruitless = without_progress(own, reached)
        if claim and len(fruitless) >= TRIES:
            self._fail(paths, claim, f"given up after {TRIES} tries that got no further: {_last_words(fruitless)}")
            return None
        return claim

    def _train(self, paths: RunPaths, claim: Claim) -> None:
        stop, training = Asked(self.stop, paths), None
        try:
            settings = replace(self._settings(paths), attempt=int(claim.path.stem) + 1)
            self.group.share((paths.id, settings))
            bite = partial(self._hung, paths, claim)
            training = Training(paths, settings, stop, claim.held, self.group, bite)
            training.to_the_end()
        except Broken as broken:
            self._fail(paths, claim, str(broken), final=False)
            raise
        except Stopped as stopped:
            claim.end("stopped", str(stopped))
            self.report.stopped = self.stop()
        except Lost as lost:
            print(lost, file=sys.stderr)
        except UserError as error:
            self._fail(paths, claim, str(error))
        except OSError as error:
            self._fail(paths, claim, f"{error.strerror or error}: {error.filename or paths.folder}", final=False)
        except Exception as error:
            self._fail(paths, claim, self._explain(error, training), final=False)
        else:
            claim.end("done")
            self.report.done.append(paths.id)

    def _explain(self, error: Exception, training: Training | None) -> str:
        """An unexpected error in a line; want of memory as such, with the batch that would fit a GPU."""
        if is_out_of_memory(error):
            error.__traceback__ = None  # its frames hold what filled the memory
            return advice(error, training.batch_that_fits() if training else None)
        traceback.print_exception(error)
        return f"{type(error).__name__}: {error}"

    def _hung(self, paths: RunPaths, claim: Claim, message: str) -> None:
        """End this process, whose run stands still; another goes on with it."""
        threading.Timer(HUNG_SECONDS, os.kill, (os.getpid(), signal.SIGKILL)).start()  # a disk that hangs, say
        self._fail(paths, claim, message, final=False)
        end_process(f"{paths.id}: {message}")

    def _settings(self, paths: RunPaths) -> Settings:
        """What holds for this run: where its data set and its checkpoint lie."""
        checkpoint.put_on(self.places.scratch, paths.checkpoint)
        data = self.places.data.get(load_run(paths).dataset.name) if self.places.data else None
        return replace(self.settings, data_dir=data or self.settings.data_dir)

    def _fail(self, paths: RunPaths, claim: Claim, message: str, *, final: bool = True) -> None:
        """Write down that a run failed; where that is not final, the next round tries again."""
        if not claim.held():
            print(f"{paths.id}: {message}, after another worker had taken it over", file=sys.stderr)
            return
        print(f"{paths.id} failed: {message}", file=sys.stderr)
        self.report.failed.append(paths.id)
        try:
            log = Log(paths.log)
            log.append("event", event="failed", message=message)
            log.close()
            claim.end("failed", message, final=final)
        except OSError as error:
            print(f"can't record that: {error}", file=sys.stderr)  # a full disk: the claim dies with this process

    def _take_over(self) -> bool:
        """Of the runs that other workers have, go on with one whose worker is dead; wait where one seems to be."""
        while not self._leaving():
            held = {id: attempt for id in self.ids if (attempt := self._held(id))}
            elsewhere = [attempt for attempt in held.values() if attempt.elsewhere]
            live = live_jobs() if elsewhere else None
            for id, attempt in held.items():
                job = attempt.fields.get("job") if attempt.elsewhere else None
                gone = bool(job) and live is not None and job not in live
                if (gone or not attempt.alive()) and self._try(id, attempt.number):
                    return True
            if not any(attempt.silent() > SILENT_SECONDS for attempt in elsewhere):
                return False
            time.sleep(LOOK_SECONDS)
        return False

    def _held(self, id: str) -> Attempt | None:
        """The attempt at a run that has not ended, as far as its file tells."""
        paths = RunPaths(self.runs, self.sweep, id)
        last = attempts(paths.attempts)[-1:]
        over = paths.result.exists() or cancelled(paths) or not last or last[0].ended
        return None if over else last[0]


def without_progress(tries: Sequence[Attempt], reached: int) -> list[Attempt]:
    """The last tries in a row that got no further than they began, `reached` being where the run is now (steps).

    One that was asked to stop does not count.
    """
    found: list[Attempt] = []
    for attempt in reversed(tries):
        if attempt.step < reached:
            break
        if attempt.ended != "stopped":
            found.append(attempt)
    return found


def _last_words(tries: Sequence[Attempt]) -> str:
    said = next((attempt.message for attempt in tries if attempt.message), None)
    return said or next(filter(None, map(_how_it_died, tries)), "its process died (out of memory?)")


def _how_it_died(attempt: Attempt) -> str | None:
    """Why an attempt's process is gone that left no word, where the kernel's count tells; None where it does not."""
    before, now = attempt.fields.get("kernel_kills"), kernel_kills()
    if attempt.ended or attempt.elsewhere or not isinstance(before, int) or now is None or now <= before:
        return None
    return "out of memory: the kernel ended its process. Ask for more, or lower side_by_side or parallel."


class Asked:
    """Why a run is to stop: its worker was told to, or the run was cancelled; the file system is asked rarely."""

    def __init__(self, stop: Callable[[], str | None], paths: RunPaths) -> None:
        self.stop, self.paths, self.looked = stop, paths, time.monotonic()

    def __call__(self) -> str | None:
        """The reason; None while there is none."""
        if time.monotonic() - self.looked > CANCEL_SECONDS:
            self.looked = time.monotonic()
            if cancelled(self.paths):
                return CANCELLED
        return self.stop()


def cancelled(paths: RunPaths) -> bool:
    """Whether `cancel` has marked the run; the next launch takes the mark away."""
    return paths.cancelled.exists()


def whereabouts() -> dict[str, Any]:
    """What an attempt's file says of this process: host and pid, the Slurm job with how often it was requeued, and with
    what the names of submitit's files begin that hold its output.
    """
    about: dict[str, Any] = {"worker": f"{socket.gethostname()}:{os.getpid()}", "job": os.environ.get("SLURM_JOB_ID")}
    about["kernel_kills"] = kernel_kills()
    if about["job"]:
        about["restarts"] = int(os.environ.get("SLURM_RESTART_COUNT", 0))
    array, index = (os.environ.get(f"SLURM_ARRAY_{word}_ID") for word in ("JOB", "TASK"))
    about["output"] = f"{array}_{index}" if array and index else os.environ.get("SUBMITIT_LOCAL_JOB_ID")
    return about


def check(runs: Sequence[Run], gpus: int | None, threads: int, data: Mapping[str, Path]) -> str | None:
    """Open what the runs need, before any of them starts; a warning where the precision is slow here.

    Raises UserError where data or a GPU is missing.
    """
    warning = None
    for dataset, recipe, precision in dict.fromkeys((run.dataset, run.recipe, run.precision) for run in runs):
        execution = choose_execution(precision, threads, gpus)
        steps_an_epoch(open_images(dataset, recipe, "cpu", data.get(dataset.name)), recipe)
        warning = warning or slow_precision(execution)
    return warning
