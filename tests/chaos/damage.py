"""Files of every kind, cut off or with a flipped bit at every class of places: noticed, or without effect."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos.field import Field, Ground, Tally, numbers, until

from ablation.claim import attempts
from ablation.doctor.runs import flaws
from ablation.run import RunPaths

FINISHED = ("run.json", "log.jsonl", "result.json", "weights.pt", "correct.test.bits")
BEGUN = ("run.json", "log.jsonl", "checkpoint.pt", "checkpoint.before.pt", "attempts/0000.json")


@dataclass(frozen=True)
class Damage:
    """What is done to a file."""

    name: str
    """cut or flip, and where."""
    cut: bool
    part: float
    """Of the file, where."""
    bit: int = 0

    def of(self, data: bytes) -> bytes:
        """The file's bytes afterwards."""
        at = min(int(self.part * len(data)), len(data) - 1)
        if self.cut:
            return data[:at]
        return data[:at] + bytes([data[at] ^ 1 << self.bit]) + data[at + 1 :]


def damages(each: int, seed: int) -> Iterator[Damage]:
    """`each` in every class of places: the beginning, inside, the end."""
    chance = random.Random(seed)
    for low, high, where in ((0.0, 0.02, "beginning"), (0.02, 0.98, "inside"), (0.98, 1.0, "end")):
        for _ in range(each):
            yield Damage(f"cut, {where}", True, chance.uniform(low, high))
            yield Damage(f"flip, {where}", False, chance.uniform(low, high), chance.randrange(8))
    yield Damage("empty", True, 0.0)
    yield Damage("cut, last byte", True, 1.0)
    yield Damage("flip, last byte", False, 1.0, chance.randrange(8))


def of_finished_runs(home: Field, each: int, seed: int = 0) -> Tally:
    """doctor must name every one; counted as lost: those that it does not, and that change what the file says."""
    ground, tally = home.ground("damaged-finished"), Tally()
    ground.finish(minutes=0.001)
    paths = ground.paths[0]
    assert not list(flaws(paths)), "a whole run has flaws"
    for name in FINISHED:
        file = paths.folder / name
        whole = file.read_bytes()
        for damage in damages(each, seed):
            file.write_bytes(damage.of(whole))
            tally.faults += 1
            named = any(flaw.file.partition(":")[0] == name for flaw in flaws(paths))
            if not named and not _means_the_same(file, whole):
                tally.lost += 1
        file.write_bytes(whole)
    tally.runs = 1
    shutil.rmtree(ground.folder)
    return tally


def _means_the_same(file: Path, whole: bytes) -> bool:
    """Whether a JSON file says what it said: a lost last newline, say, or another time of the end of a log."""
    try:
        now, then = ([json.loads(line) for line in data.split(b"\n") if line] for data in (file.read_bytes(), whole))
    except ValueError:
        try:
            return json.loads(file.read_bytes()) == json.loads(whole)
        except ValueError:
            return False
    for record in (now[-1], then[-1]) if now else ():
        record.pop("time", None)
    return now == then


def of_begun_runs(home: Field, each: int, seed: int = 0) -> Tally:
    """A worker that goes on must end with the right numbers, or say what is damaged.

    Counted as lost: runs without a result of which nothing was said; as wrong: those with other numbers.
    """
    ground, tally = home.ground("damaged-begun"), Tally()
    pid = ground.start()
    until(lambda: len(list(ground.runs.rglob("checkpoint.before.pt"))), 30)
    time.sleep(0.3)
    os.kill(pid, signal.SIGTERM)
    ground.reap(pid)
    paths = next(paths for paths in ground.paths if paths.checkpoint.exists())
    kept = ground.folder / "kept"
    shutil.copytree(paths.folder, kept)
    for name in BEGUN:
        for damage in damages(each, seed):
            shutil.rmtree(paths.folder)
            shutil.copytree(kept, paths.folder)
            file = paths.folder / name
            file.write_bytes(damage.of(file.read_bytes()))
            tally.faults += 1
            _go_on(ground, paths, tally, name)
    tally.runs = tally.faults
    shutil.rmtree(ground.folder)
    return tally


def _go_on(ground: Ground, paths: RunPaths, tally: Tally, name: str) -> None:
    if name.startswith("attempts"):  # its lease, of three minutes, is over
        os.utime(paths.folder / name, (1, 1))
    ground.reap(ground.start(minutes=10, only=paths.id))
    if paths.result.exists():
        tally.wrong += _numbers(paths) != ground.home.truth[paths.id]
        return
    said = [attempt.message for attempt in attempts(paths.attempts) if "damaged" in attempt.message]
    output = (ground.folder / "output.txt").read_text()
    named = said or name.split("/")[-1] in output
    tally.lost += not named
    (ground.folder / "output.txt").write_text("")


def _numbers(paths: RunPaths) -> object:
    try:
        return numbers(paths)
    except Exception as error:
        return error
