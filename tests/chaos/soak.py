"""Command: an hour of short runs under random kills, while memory and open files of the workers are watched.

Two workers go on until they are killed, every few minutes at random; each trains hundreds of runs in between, so that
what a run leaves behind in its process would add up (`make soak`; `--minutes` for less).
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from chaos.field import Field, Ground, Tally, audit, ended
from chaos.run import OUT, put_section

LOOK_SECONDS = 5.0
SLOTS = 2


@dataclass(frozen=True)
class Sample:
    """What a worker held at a moment."""

    minutes: float
    pid: int
    runs: int
    """That it had finished by then."""
    memory_mib: float
    """Of its own: not what it shares with the process it was forked from."""
    files: int
    threads: int


def main() -> int:
    """Work, write, and say whether it was flat; 1 where it was not, or where a run was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: make soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--kill-minutes", type=float, default=8.0, help="between kills of a worker, on average")
    parser.add_argument("--out", type=Path, default=OUT, help="where the report goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    home = Field(folder / "field")
    soak = Soak(home, options.minutes, options.kill_minutes)
    tally = soak.run()
    write(options.out, soak, tally)
    shutil.rmtree(folder, ignore_errors=True)
    memory, files = slopes(soak.samples)
    print(f"{tally}; a run leaves {1024 * memory:.1f} KiB and {files:.4f} files behind")
    return 0 if tally.clean and flat(memory, files) else 1


def flat(memory: float, files: float) -> bool:
    """Whether a run leaves next to nothing behind in its worker."""
    return memory < 0.1 and files < 0.01


class Soak:
    """Two workers over one ground after another."""

    def __init__(self, home: Field, minutes: float, kill_minutes: float) -> None:
        self.home, self.minutes, self.kill_minutes = home, minutes, kill_minutes
        self.samples: list[Sample] = []
        self.chance, self.tally = random.Random(0), Tally()
        self.start = time.monotonic()

    def run(self) -> Tally:
        """To the end of the time."""
        grounds = Grounds(self.home)
        workers: dict[int, tuple[int, float]] = {}
        while time.monotonic() - self.start < 60 * self.minutes:
            for slot in range(SLOTS):
                pid, due = workers.get(slot, (0, 0.0))
                if not pid or ended(pid):
                    workers[slot] = (grounds.begin(slot), self._next())
                elif time.monotonic() > due:
                    os.kill(pid, signal.SIGKILL)
                    self.tally.faults += 1
                else:
                    self.samples += sample(pid, (time.monotonic() - self.start) / 60, grounds)
            time.sleep(LOOK_SECONDS)
        for pid, _ in workers.values():
            if not ended(pid):
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
        self.tally.add(grounds.close())
        return self.tally

    def _next(self) -> float:
        return time.monotonic() + 60 * self.chance.expovariate(1 / self.kill_minutes)


class Grounds:
    """Runs without end: a worker that has done those of one ground goes on with the next."""

    def __init__(self, home: Field) -> None:
        self.home, self.folder = home, home.folder / "soak"
        self.folder.mkdir()

    def ground(self, number: int) -> Ground:
        """The ground of that number, made where it is not there."""
        return self.home.ground(f"soak/{number}")

    def begin(self, slot: int) -> int:
        """Fork a worker that trains ground after ground; each slot has its own."""
        pid = os.fork()
        if pid:
            return pid
        try:
            self._work(slot)
        finally:
            os._exit(0)

    def _work(self, slot: int) -> None:
        for number in range(slot, 10**9, SLOTS):
            if (self.folder / f"{number}.done").exists():
                continue
            ground = self.ground(number)
            if ground.work(minutes=0.002, launch=f"soak-{os.getpid()}-{number}"):
                return
            (self.folder / f"{number}.done").touch()
            (self.folder / f"{os.getpid()}.runs").open("a").write("x" * len(ground.paths))

    def runs_of(self, pid: int) -> int:
        """How many runs a worker has finished."""
        mark = self.folder / f"{pid}.runs"
        return mark.stat().st_size if mark.exists() else 0

    def close(self) -> Tally:
        """Finish what is begun, and look at all."""
        tally = Tally()
        for folder in sorted(self.folder.iterdir()):
            if folder.is_dir():
                ground = self.home.ground(f"soak/{folder.name}")
                ground.finish()
                tally.add(audit(ground))
        return tally


def sample(pid: int, minutes: float, grounds: Grounds) -> Iterator[Sample]:
    """What a process holds; nothing where it is just gone."""
    try:
        own = sum(
            int(line.split()[1])
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith(("Private_Dirty:", "Private_Clean:"))
        )
        files, threads = (len(os.listdir(f"/proc/{pid}/{name}")) for name in ("fd", "task"))
        yield Sample(minutes, pid, grounds.runs_of(pid), own / 1024, files, threads)
    except OSError:
        return


def settled(samples: list[Sample]) -> list[list[Sample]]:
    """Each worker's samples, after the first fifth of its runs: it has loaded by then all that it ever will."""
    found = []
    for pid in dict.fromkeys(sample.pid for sample in samples):
        own = [sample for sample in samples if sample.pid == pid]
        kept = [sample for sample in own if sample.runs >= own[-1].runs / 5]
        if len(kept) > 5 and kept[-1].runs > kept[0].runs + 10:
            found.append(kept)
    return found


def slopes(samples: list[Sample]) -> tuple[float, float]:
    """MiB and open files that a run leaves behind: the median over workers of the lines through their samples."""
    lines = [
        tuple(float(np.polyfit([s.runs for s in own], [getattr(s, key) for s in own], 1)[0]) for key in KEYS)
        for own in settled(samples)
    ]
    return tuple(np.median(lines, axis=0)) if lines else (float("nan"), float("nan"))  # type: ignore[return-value]


KEYS = ("memory_mib", "files")


def write(folder: Path, soak: Soak, tally: Tally) -> None:
    """soak.csv, soak.svg, and the section that shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "soak.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["minutes", "worker", "runs", "memory_mib", "files", "threads"])
        for one in soak.samples:
            writer.writerow([f"{one.minutes:.2f}", one.pid, one.runs, f"{one.memory_mib:.1f}", one.files, one.threads])
    draw(folder / "soak.svg", soak.samples)
    put_section(folder / "README.md", "Soak", page(soak, tally))


def page(soak: Soak, tally: Tally) -> str:
    """The section."""
    memory, files = slopes(soak.samples)
    own = settled(soak.samples)
    ends = [(w[0].memory_mib, w[-1].memory_mib, w[0].files, w[-1].files, w[-1].runs) for w in own]
    rows = [f"| {runs} | {a:.0f} | {b:.0f} | {c} | {d} |" for a, b, c, d, runs in ends]
    return "\n".join(
        [
            f"`make soak` (`python -m chaos.soak --minutes {soak.minutes:g}`): {tally.runs:,} runs, {tally.faults} "
            f"kills; lost {tally.lost}, run twice {tally.twice}, unreadable checkpoints {tally.unreadable}, wrong "
            f"results {tally.wrong}.",
            "",
            f"A run leaves {1024 * memory:.1f} KiB of memory and {files:.4f} open files behind in its worker "
            "(slope over runs, the median of workers, after the first fifth of each).",
            "",
            "| runs of a worker | memory, MiB, settled | at its end | open files, settled | at its end |",
            "|---:|---:|---:|---:|---:|",
            *rows,
            "",
            "![memory and open files over time](soak.svg)",
        ]
    )


def draw(path: Path, samples: list[Sample]) -> None:
    """Memory and open files of each worker over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, sharex=True, figsize=(7, 4), layout="constrained")
    for pid in dict.fromkeys(sample.pid for sample in samples):
        own = [sample for sample in samples if sample.pid == pid]
        for axis, key in zip(axes, KEYS, strict=True):
            axis.plot([s.minutes for s in own], [getattr(s, key) for s in own], linewidth=1)
    axes[0].set_ylabel("memory of its own, MiB"), axes[1].set_ylabel("open files")
    axes[1].set_xlabel("minutes; a line is a worker, which ends where it was killed")
    for axis in axes:
        axis.set_ylim(bottom=0)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
