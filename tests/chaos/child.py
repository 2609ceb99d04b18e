"""What is done to a worker before it works: it leaves a trace, stops at chosen places, and meets faults."""

from __future__ import annotations

import builtins
import errno
import json
import os
import random
import stat
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ablation import checkpoint, claim, records, run, train, worker
from ablation.train import Training

if TYPE_CHECKING:
    from chaos.field import Ground

PHASES = ("half written", "written", "flushed", "second name", "named", "folder flushed", "saved, not recorded")
"""Places inside the writing of a checkpoint."""
AT, WANTED, PHASE_BYTES = 0, 1, 8
CLOCK = 1024
real_write = os.write


def follow(ground: Ground, slot: int) -> None:
    """Trace steps, checkpoints and acknowledged records of this process; obey the board."""
    trace = os.open(ground.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def note(what: str, **fields: Any) -> None:
        line = json.dumps({"at": time.monotonic(), "pid": os.getpid(), "what": what, **fields})
        real_write(trace, line.encode() + b"\n")

    _trace_training(note)
    _trace_records(note)
    _pause_in_checkpoints(ground, slot)


def _trace_training(note: Callable[..., None]) -> None:
    train.WRITING = 0.5  # steps of milliseconds: at 1% there would be no checkpoint in a run of a second
    step, resume, save = Training._step, Training._resume, Training._save

    def traced_step(self: Training, *arguments: Any) -> None:
        step(self, *arguments)
        note("step", run=self.run.id, step=self.progress.step, interval=self._interval())

    def traced_resume(self: Training) -> None:
        resume(self)
        note("begin", run=self.run.id, step=self.progress.step)

    def traced_save(self: Training, *arguments: Any) -> None:
        save(self, *arguments)
        note("saved", run=self.run.id, step=self.progress.step)

    Training._step, Training._resume, Training._save = traced_step, traced_resume, traced_save  # type: ignore[method-assign]


def _trace_records(note: Callable[..., None]) -> None:
    append = records.Log.append

    def traced(self: records.Log, kind: str, **fields: Any) -> Any:
        record = append(self, kind, **fields)
        folder = os.path.dirname(os.readlink(f"/proc/self/fd/{self._file}").removesuffix(" (deleted)"))
        note("ack", run=os.path.basename(folder), record=json.dumps(record))
        return record

    records.Log.append = traced  # type: ignore[method-assign]


def _pause_in_checkpoints(ground: Ground, slot: int) -> None:
    """Where the board wants this slot's worker at a phase, it says that it is there, and waits for what comes."""
    board, base = ground.board, slot * PHASE_BYTES
    inside = [False]

    def reach(phase: str) -> None:
        number = PHASES.index(phase) + 1
        if inside[0] and board[base + WANTED] == number:
            board[base + AT] = number
            end = time.monotonic() + 10
            while board[base + WANTED] == number and time.monotonic() < end:
                time.sleep(0.001)
            board[base + AT] = 0

    class Slow:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, data: Any) -> None:
            half = len(data) // 2
            self.file.write(data[:half])
            if half > 100:
                self.file.flush()
                reach("half written")
            self.file.write(data[half:])

    def opened(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        file = builtins.open(path, mode, *rest, **options)  # noqa: SIM115
        return Slow(file) if inside[0] and "w" in mode else file

    save = checkpoint.save

    def saving(*arguments: Any) -> None:
        inside[0] = True
        try:
            save(*arguments)
            reach("saved, not recorded")
        finally:
            inside[0] = False

    run.open = opened  # type: ignore[attr-defined]
    checkpoint.save = saving
    _pause_in_calls(reach)


def _pause_in_calls(reach: Callable[[str], None]) -> None:
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if not folder:
            reach("written")
        fsync(descriptor)
        reach("folder flushed" if folder else "flushed")

    def renamed(source: Any, target: Any, **options: Any) -> None:
        replace(source, target, **options)
        reach("second name" if ".before." in str(target) else "named")

    os.fsync, os.replace = flushed, renamed  # type: ignore[assignment]


def apart(lease: float = 1.5, beat: float = 0.2) -> None:
    """A worker on a machine of its own: no other sees its process, so that its lease decides."""
    name = f"machine-{os.getpid()} pid:[1]"
    claim.host = lambda: name
    claim.LEASE_SECONDS, claim.HEARTBEAT_SECONDS = lease, beat
    worker.SILENT_SECONDS, worker.LOOK_SECONDS = beat * 3, 0.1
    worker.live_jobs = lambda: None  # type: ignore[assignment]


def failing_disk(part: float, seed: int) -> Callable[[], None]:
    """A disk of which a part of the calls, reading and writing, fail with EIO."""

    def hook() -> None:
        chance = random.Random(f"{seed} {os.getpid()}")

        def may_fail(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if chance.random() < part and not str(arguments[:1]).startswith("(PosixPath('/proc"):
                    raise OSError(errno.EIO, "Input/output error", str(arguments[0]) if arguments else None)
                return real(*arguments, **options)

            return call

        for name in ("fsync", "replace", "link", "utime", "write"):
            setattr(os, name, may_fail(getattr(os, name)))
        path = type(run.Path())
        path.read_bytes = may_fail(path.read_bytes)  # type: ignore[method-assign]
        path.read_text = may_fail(path.read_text)  # type: ignore[method-assign]
        run.open = may_fail(run.open)  # type: ignore[attr-defined]

    return hook


def wandering_clock(ground: Ground) -> Callable[[], None]:
    """A machine, and a file server, whose clock is off by what the board says: every time that is read, or stamped."""

    def hook() -> None:
        def off() -> float:
            return struct.unpack_from("d", ground.board, CLOCK)[0]

        real_time, real_clock = time.time, claim.clock
        time.time = lambda: real_time() + off()
        claim.clock = lambda folder: real_clock(folder) + off()
        real_utime = os.utime
        os.utime = lambda path, times=None, **options: real_utime(  # type: ignore[assignment]
            path, times or (time.time(), time.time()), **options
        )

    return hook
