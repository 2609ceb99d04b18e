"""Workers that are killed, stopped and told to leave at any moment, until all runs are done."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.child import AT, PHASE_BYTES, PHASES, WANTED
from chaos.field import Field, Ground, Tally, audit, ended

from ablation.run import checkpoint_files
from ablation.seal import Damaged, check_seal

MINUTES = (0.0, 0.001, 0.003)
"""Between checkpoints, one of these for each worker; 0: after every step."""
SLOTS = 2
A_ROUND = 20
"""Faults, at most; then the round's runs are brought to their end."""


@dataclass
class Slot:
    """A place for a worker, and what is planned for the one that is there."""

    pid: int | None = None
    due: float = 0.0
    phase: int = 0
    """Where in a checkpoint it is to be met; 0: anywhere, at a moment."""
    idle_until: float = 0.0


@dataclass
class Storm:
    """Faults that strike workers one after another."""

    home: Field
    name: str
    count: int
    seed: int
    aimed: int = 0
    """Of the faults, those inside the writing of a checkpoint."""
    strike: Callable[[int], None] = lambda pid: os.kill(pid, signal.SIGKILL)
    longest: float = 0.8
    """Seconds that a worker is left alone, at most."""
    hooks: Sequence[Callable[[], object]] = ()
    tally: Tally = field(default_factory=Tally)
    inside: int = 0
    """Faults that struck inside a checkpoint, by the phase where it stood."""

    def blow(self) -> Tally:
        """Rounds of the field's runs until there were enough faults."""
        self.random, rounds = random.Random(f"{self.name} {self.seed}"), 0
        while self.tally.faults < self.count and rounds < self.count + 5:
            ground = self.home.ground(f"{self.name}-{rounds}")
            self._round(ground)
            self.tally.add(audit(ground))
            ground.close()
            rounds += 1
        return self.tally

    def _round(self, ground: Ground) -> None:
        slots, most = [Slot() for _ in range(SLOTS)], min(self.count, self.tally.faults + A_ROUND)
        while not ground.done() and self.tally.faults < most:
            for number, slot in enumerate(slots):
                self._look(ground, number, slot)
            time.sleep(0.001)
        for number, slot in enumerate(slots):
            ground.board[number * PHASE_BYTES + WANTED] = 0
            if slot.pid:
                ground.reap(slot.pid)
        ground.finish(minutes=MINUTES[1])

    def _look(self, ground: Ground, number: int, slot: Slot) -> None:
        base = number * PHASE_BYTES
        if slot.pid is None:
            if time.monotonic() > slot.idle_until:
                self._begin(ground, number, slot)
        elif ended(slot.pid):
            slot.pid, slot.idle_until = None, time.monotonic() + 0.2
        elif slot.phase and ground.board[base + AT] == slot.phase:
            self.inside += 1
            self._strike(ground, slot)
        elif time.monotonic() > slot.due:
            self._strike(ground, slot)

    def _begin(self, ground: Ground, number: int, slot: Slot) -> None:
        base = number * PHASE_BYTES
        left, wanted = self.count - self.tally.faults, self.aimed - self.inside
        aims = wanted > 0 and self.random.random() < 1.3 * wanted / max(left, 1)
        slot.phase = self.random.randrange(len(PHASES)) + 1 if aims else 0
        ground.board[base + AT] = 0
        ground.board[base + WANTED] = slot.phase
        minutes = self.random.choice(MINUTES)
        slot.pid = ground.start(minutes=minutes, slot=number, hooks=self.hooks)
        slot.due = time.monotonic() + (5 if aims else self.random.uniform(0.02, self.longest))

    def _strike(self, ground: Ground, slot: Slot) -> None:
        assert slot.pid
        self.strike(slot.pid)
        ground.reap(slot.pid)
        slot.pid = None
        self.tally.faults += 1
        self.tally.unreadable += sum(unreadable(paths.checkpoint) for paths in ground.paths)


def unreadable(checkpoint: Path) -> int:
    """How many of a run's checkpoints are there and don't match their digest."""
    bad = 0
    for file in checkpoint_files(checkpoint):
        try:
            bad += not check_seal(file.read_bytes())
        except FileNotFoundError:
            continue
        except Damaged:
            bad += 1
    return bad


def killed(home: Field, count: int, aimed: int, seed: int = 0) -> tuple[Tally, int]:
    """`kill -9` at any moment, `aimed` of them inside the writing of a checkpoint; how many were."""
    storm = Storm(home, "killed", count, seed, aimed)
    return storm.blow(), storm.inside


def told_to_leave(home: Field, count: int, seed: int = 0) -> Tally:
    """SIGTERM at any moment, as a cluster sends: the worker saves and leaves."""
    return Storm(home, "told", count, seed, strike=_terminate).blow()


def _terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
