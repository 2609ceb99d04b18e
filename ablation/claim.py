"""Claims: one worker at a time has a run. Each attempt at a run is a file that exactly one process can create.

The attempt with the highest number holds the run. Nothing is ever renamed or deleted, so two workers that take over
a dead attempt race for the same next number, and one loses. O_EXCL holds on local disks and on NFSv3 and later.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation.records import now

LEASE_SECONDS = 180.0
"""An attempt from another host that has not stirred for so long is dead."""
HEARTBEAT_SECONDS = 20.0
TEXTS = frozenset(("host", "process_started", "started", "ended", "ended_at", "message", "launch", "worker", "job"))
"""Of an attempt's fields, those that are words where they are there."""


@dataclass(frozen=True)
class Attempt:
    """One try at a run, as its file tells it."""

    number: int
    path: Path
    fields: dict[str, Any]

    @property
    def ended(self) -> str | None:
        """done, stopped or failed; None while it goes on, or where its process died."""
        return self.fields.get("ended")

    @property
    def message(self) -> str:
        """Why it ended, in a line."""
        return self.fields.get("message") or ""

    @property
    def step(self) -> int:
        """How many optimiser steps of the run were done when it began."""
        return int(self.fields.get("step", 0))

    def before(self, about: dict[str, Any]) -> bool:
        """Whether this was the same Slurm job before it was queued again: its process cannot live."""
        same = all(self.fields.get(key) and self.fields[key] == about.get(key) for key in ("job", "launch"))
        return same and self.fields.get("restarts", 0) < about.get("restarts", 0)

    @property
    def elsewhere(self) -> bool:
        """Whether its worker is on another machine, whose processes can't be seen from here."""
        return self.fields.get("host") != host()

    def silent(self, at: float | None = None) -> float:
        """Seconds since its lease was renewed, by the file system's clock; `at`: what that clock says, if known."""
        return (at or clock(self.path.parent)) - self.path.stat().st_mtime

    def alive(self, at: float | None = None) -> bool:
        """Whether its worker still has the run: its process is there or, on another host, its lease holds.

        `at`: what the file system's clock says, if known.
        """
        if self.ended:
            return False
        if not self.elsewhere:
            pid = self.fields.get("pid", 0)
            return pid > 0 and process_started(pid) == self.fields.get("process_started")
        return self.silent(at) < LEASE_SECONDS


def attempts(folder: Path) -> list[Attempt]:
    """Every attempt in a run's `attempts/` folder, in order."""
    if not folder.is_dir():
        return []
    files = sorted((int(path.stem), path) for path in folder.glob("*.json") if re.fullmatch(r"[0-9]{1,9}", path.stem))
    return [Attempt(number, path, _read(path)) for number, path in files]


def take(folder: Path, *, dead: int | None = None, **about: Any) -> Claim | None:
    """Claim the run whose `attempts/` folder this is; None where another worker has it, or was quicker.

    `about` is kept in the attempt's file: worker, launch, job, restarts (of that job), step. `dead`: the number of an
    attempt that is known to be over, such as one whose job Slurm says is gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    earlier = attempts(folder)
    if earlier and earlier[-1].number != dead and not earlier[-1].before(about) and earlier[-1].alive():
        return None
    path = folder / f"{earlier[-1].number + 1 if earlier else 0:04d}.json"
    pid = os.getpid()
    fields = {"host": host(), "pid": pid, "process_started": process_started(pid), "started": now(), **about}
    try:
        file = open(path, "x")  # noqa: SIM115
    except FileExistsError:
        return None
    try:
        with file:
            file.write(json.dumps(fields))
    except OSError:  # a full disk: an empty file would keep the run from others for as long as a lease
        path.unlink(missing_ok=True)
        raise
    return Claim(path, fields)


class Claim:
    """A run held by this process; a thread renews the lease until it ends."""

    def __init__(self, path: Path, fields: dict[str, Any]) -> None:
        self.path, self.fields = path, fields
        self._over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(self.path)
            except OSError:
                continue

    def held(self) -> bool:
        """Whether no other worker has taken the run over (it may, where this process hung for longer than a lease)."""
        return not (self.path.parent / f"{int(self.path.stem) + 1:04d}.json").exists() and self.path.exists()

    def drop(self) -> None:
        """Give the run back as if it had never been taken: another worker had just finished it."""
        self._over.set()
        self.path.unlink(missing_ok=True)

    def end(self, state: str, message: str = "", **about: Any) -> None:
        """Give the run back: done, stopped (to be gone on with) or failed."""
        self._over.set()
        fields = {**self.fields, "ended": state, "ended_at": now(), "message": message, **about}
        spare = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        spare.write_text(json.dumps(fields))
        os.replace(spare, self.path)


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError):
        return {}  # created a moment ago and not yet written, or its writer died in between: its lease decides
    if not isinstance(fields, dict) or not {"pid", "process_started"} <= fields.keys():
        return {}  # a damaged file that does not say who had the run: its lease decides
    if not all(_fits(name, fields[name]) for name in ("host", "pid", "step", "restarts") if name in fields):
        return {}
    return {name: value for name, value in fields.items() if _fits(name, value)}


def _fits(name: str, value: Any) -> bool:
    """Whether a field has the kind of value that it has where nothing has damaged the file."""
    kind = {"pid": int, "restarts": int, "step": int, "final": bool}.get(name, str if name in TEXTS else None)
    return kind is None or type(value) is kind


def host() -> str:
    """This host, and its process namespace: two containers on one host do not see each other's processes."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def process_started(pid: int) -> str | None:
    """When a process started, so that a number used again is not taken for it; None where it is gone."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"


def clock(folder: Path) -> float:
    """The time as the file system's own clock tells it: an NFS server's may differ from ours."""
    probe = folder / f".clock.{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
