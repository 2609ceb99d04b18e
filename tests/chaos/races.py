"""Many processes that want the same runs at the same moment."""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from chaos.field import Tally

from ablation.claim import take

GO, READY, TRIED, LEAVE = 0, 8, 16, 24


def raced(folder: Path, processes: int, runs: int, rounds: int, claim: Callable[[Path], bool] | None = None) -> Tally:
    """Every process claims every run, in an order of its own; each must be held by exactly one.

    `claim`: another way to claim one; whether it was got.
    """
    tally = Tally()
    for number in range(rounds):
        place = folder / f"race-{number}"
        won = _round(place, processes, runs, claim or _ours)
        tally.runs += runs
        tally.faults += processes * runs
        tally.lost += sum(won[run] == 0 for run in range(runs))
        tally.twice += sum(won[run] > 1 for run in range(runs))
        shutil.rmtree(place)
    return tally


def _ours(folder: Path) -> bool:
    held = take(folder / "attempts")
    if held:
        held._over.set()  # its beat: a thousand threads for a second of racing
    return held is not None


def plain(folder: Path) -> bool:
    """The plain way: look whether a run has begun, and begin."""
    mark = folder / "running"
    if mark.exists():
        return False
    mark.touch()
    return True


def _round(place: Path, processes: int, runs: int, claim: Callable[[Path], bool]) -> Counter[int]:
    for run in range(runs):
        (place / str(run)).mkdir(parents=True)
    children = [_racer(place, racer, processes, runs, claim) for racer in range(processes)]
    while len(list(place.glob("ready-*"))) < processes:
        time.sleep(0.01)
    (place / "go").touch()
    while len(list(place.glob("won-*"))) < processes:
        time.sleep(0.01)
    (place / "leave").touch()  # until then every process, and so its claims, is alive
    for child in children:
        os.waitpid(child, 0)
    return Counter(int(run) for path in place.glob("won-*") for run in path.read_text().split())


def _racer(place: Path, racer: int, processes: int, runs: int, claim: Callable[[Path], bool]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        order = list(range(runs))
        if racer % 2:  # half go together through the runs, half each its own way
            random.Random(racer).shuffle(order)
        (place / f"ready-{racer}").touch()
        while not (place / "go").exists():
            time.sleep(0.001)
        won = [run for run in order if claim(place / str(run))]
        spare = place / f".won-{racer}"
        spare.write_text(" ".join(map(str, won)))
        spare.rename(place / f"won-{racer}")
        while not (place / "leave").exists():
            time.sleep(0.01)
    finally:
        os._exit(0)
