"""What is done, how often in the long run, and what it must show: each scenario is a row of the table."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from chaos import damage, faults, kills, naive, races
from chaos.field import Field, Tally

COUNTED = ("lost", "twice", "unreadable", "records_lost", "wrong", "late")


@dataclass(frozen=True)
class Row:
    """A scenario's outcome."""

    scenario: str
    way: str
    """ours, or plain."""
    tally: Tally | None
    """None: this machine lacks the means."""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether it is as promised; the plain way promises nothing."""
        return self.way == "plain" or (self.tally is not None and self.tally.clean)


@dataclass(frozen=True)
class Scenario:
    """Something that is done to runs."""

    name: str
    count: int
    """Faults in the long run."""
    play: Callable[[Field, int], Tally | None]
    way: str = "ours"
    least: int = 1

    def times(self, scale: float) -> int:
        """Faults at a scale."""
        return max(self.least, math.ceil(self.count * scale))


def _kills(home: Field, count: int) -> Tally:
    tally, _ = kills.killed(home, count, 0)
    return tally


def _aimed(home: Field, count: int) -> Tally:
    """All of them inside; the few that a run's end forestalled were kills at another moment."""
    storm = kills.Storm(home, "aimed", count, 1, aimed=count)
    tally = storm.blow()
    tally.faults = storm.inside
    return tally


def _naive_kills(home: Field, count: int) -> Tally:
    return naive.naive(home, count, 0)[0]


def _naive_aimed(home: Field, count: int) -> Tally:
    return naive.naive(home, count, count)[0]


def _race(home: Field, count: int) -> Tally:
    few = count < 5
    return races.raced(home.folder, 16 if few else 64, 200 if few else 1000, count)


def _plain_race(home: Field, count: int) -> Tally:
    few = count < 5
    return races.raced(home.folder, 16 if few else 64, 200 if few else 1000, count, races.plain)


SCENARIOS = (
    Scenario("kill -9 at any moment", 800, _kills, least=12),
    Scenario("kill -9 at any moment", 200, _naive_kills, "plain", least=8),
    Scenario("kill -9 inside the writing of a checkpoint", 200, _aimed, least=8),
    Scenario("kill -9 inside the writing of a checkpoint", 200, _naive_aimed, "plain", least=6),
    Scenario("SIGTERM at any moment", 100, kills.told_to_leave, least=4),
    Scenario("SIGSTOP for longer than a lease, then SIGCONT", 60, faults.stopped_for_longer_than_a_lease, least=2),
    Scenario("SIGSTOP, SIGCONT and SIGTERM, seen by others", 40, faults.stopped_inside, least=2),
    Scenario("a full disk (ENOSPC)", 60, faults.full_disk, least=3),
    Scenario("a failing disk: 4% of calls give EIO (rounds)", 20, faults.failing_disk),
    Scenario("a run's folder becomes read-only", 20, faults.read_only_folder),
    Scenario("a run's folder is deleted while it trains", 40, faults.deleted_folder),
    Scenario("clocks jump by up to two days", 60, faults.jumping_clock, least=3),
    Scenario("a step hangs", 15, faults.hung),
    Scenario("out of memory", 15, faults.out_of_memory),
    Scenario("64 processes race for 1,000 runs (rounds)", 20, _race),
    Scenario("64 processes race for 1,000 runs (rounds)", 20, _plain_race, "plain"),
    Scenario("damaged files of finished runs, under doctor", 12, damage.of_finished_runs),
    Scenario("damaged files of begun runs, gone on with", 12, damage.of_begun_runs),
)
"""Of the last two, `count` is of damages in each class of places of each kind of file."""


def by_name(words: str) -> list[Scenario]:
    """Those whose name has the words in it."""
    return [scenario for scenario in SCENARIOS if words in scenario.name]
