"""A crew: processes side by side that train runs. One that is killed is replaced, and a stop signal reaches all."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess

from ablation.memory import kernel_kills
from ablation.signals import StopFlag

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 0.2
DEATHS = 100
"""So many killed members, and the crew is not filled up again."""


class Crew:
    """`size` processes that each call `task`, which must be picklable."""

    def __init__(self, task: Callable[[], object], size: int, stop: StopFlag) -> None:
        self.task, self.stop, self.deaths = task, stop, 0
        self.told, self.kills = False, kernel_kills()
        self.failed = False
        """Whether a member ended by an error of its own."""
        self.members = [self._start() for _ in range(size)]

    def _start(self) -> SpawnProcess:
        member = multiprocessing.get_context("spawn").Process(target=work_as_member, args=(self.task, os.getpid()))
        member.start()
        return member

    def to_the_end(self) -> None:
        """Wait for every member, putting another in the place of one that was killed."""
        while self.members:
            wait([member.sentinel for member in self.members], LOOK_SECONDS)
            if self.stop.reason() and not self.told:
                self.told = True
                for member in self.members:
                    member.terminate()
            self.members = [after for member in self.members if (after := self._after(member))]

    def _after(self, member: SpawnProcess) -> SpawnProcess | None:
        """The member while it works, its successor where it was killed, None where it is done."""
        if member.exitcode is None:
            return member
        self.failed = self.failed or member.exitcode > 0
        if member.exitcode >= 0 or self.stop.reason():
            return None
        self.deaths += 1
        name = signal.Signals(-member.exitcode).name
        hint = self._hint() if member.exitcode == -signal.SIGKILL else ""
        print(f"process {member.pid} was ended by {name}{hint}; its run goes on in another", file=sys.stderr)
        return self._start() if self.deaths < DEATHS else None

    def _hint(self) -> str:
        """Who sends SIGKILL: the kernel where memory is out, the watchdog of a hung run, a person."""
        before, self.kills = self.kills, kernel_kills()
        if before is None or self.kills is None:
            return " (out of memory?)"
        return " (out of memory: the kernel ended it)" if self.kills > before else ""


def work_as_member(task: Callable[[], object], parent: int) -> None:
    """What a member's process does; told to stop when the process above it is gone."""
    with suppress(OSError, AttributeError):  # another system
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        task()
