"""Images per second of our training against a plain loop, and of two processes against two threads."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from measure import Comparison, alternate
from planning import wall_time

from ablation.sweep import load_sweep

ARMS = ("resnet11_1x8d", "resnext11_4x3d")
LARGE = "resnext50_32x4d"
SWEEP = Path(__file__).parents[2] / "sweeps" / "fashion_mnist.yaml"
WARM = 1_000
"""Images."""
PLAIN = "a plain loop after torchvision's reference: fp32, contiguous, PIL images, DataLoader"


class Trainer:
    """A process of trainer.py."""

    def __init__(self, *arguments: object) -> None:
        script = str(Path(__file__).with_name("trainer.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def tell(self, line: str) -> None:
        """Write a line to it."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Its next line. Raises RuntimeError where it died."""
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a trainer died; its error is above")
        return line.strip()


def throughput(trainers: list[Trainer], images: int, warm: int = WARM) -> float:
    """Images per second of trainers that start together, each on so many images, until the last one is done."""
    for trainer in trainers:
        trainer.tell(f"{warm} {images}")
    for trainer in trainers:
        trainer.hear()
    for trainer in trainers:
        trainer.tell("go")
    reports: list[dict[str, Any]] = [json.loads(trainer.hear()) for trainer in trainers]
    span = max(report["stop"] for report in reports) - min(report["start"] for report in reports)
    return sum(report["images"] for report in reports) / span


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    loops = [
        *(_loops(arm, quick) for arm in ARMS),
        *(_libraries(library, quick) for library in ("torchvision", "timm")),
    ]
    return [*loops, *(_side_by_side(arm, quick) for arm in ARMS), _whole_run(quick), _sweep(quick)]


def _loops(arm: str, quick: bool) -> Comparison:
    many, fewer = (600, 600) if quick else (12_000, 6_000)
    with Trainer("ours", arm, 1) as ours, Trainer("plain", arm, 1) as plain:
        pairs = alternate(lambda: throughput([ours], many), lambda: throughput([plain], fewer), 2 if quick else 3)
    return Comparison(f"train {arm}, one thread", "our engine", PLAIN, "img/s", pairs, more_is_better=True)


def _libraries(library: str, quick: bool) -> Comparison:
    """A network that a library has by the same name, one channel, 28x28; ours in bf16, as its users may choose."""
    many, fewer = (300, 300) if quick else (640, 640)
    with Trainer("ours", LARGE, 1, "bf16") as ours, Trainer(library, LARGE, 1) as theirs:
        pairs = alternate(
            lambda: throughput([ours], many, 300), lambda: throughput([theirs], fewer, 300), 1 if quick else 2
        )
    other = f"{library}'s own network in {PLAIN}"
    what = f"train {LARGE} on one channel of 28x28, one thread"
    return Comparison(what, "our engine, bf16", other, "img/s", pairs, more_is_better=True)


def _side_by_side(arm: str, quick: bool) -> Comparison:
    images, repeats = (600, 2) if quick else (8_000, 3)
    with ExitStack() as stack:
        two = [stack.enter_context(Trainer("ours", arm, 1)) for _ in range(2)]
        one = [stack.enter_context(Trainer("ours", arm, 2))]
        pairs = alternate(lambda: throughput(two, images), lambda: throughput(one, images), repeats)
    sides = "two runs at once, one thread each", "one run with two threads"
    return Comparison(f"train {arm} on two cores", *sides, "img/s", pairs, more_is_better=True)


def _whole_run(quick: bool) -> Comparison:
    """From images on disk to the error on the test set; the recipe's epochs (quick: one)."""
    arm, workers, (epochs, threads) = ARMS[0], _best_workers(quick), (1, 1) if quick else (2, 2)
    ours = _whole("ours", arm, threads, epochs)
    plain = _whole("plain", arm, threads, epochs, workers, 6_000 if quick else 0)
    mine, other = (f"top-1 error {answer['top1_error']:.2f}%" for answer in (ours, plain))
    return Comparison(
        f"train {arm} on Fashion-MNIST for {epochs} epochs, two cores, one run",
        f"our engine, {threads} threads ({mine})",
        f"{PLAIN} with {workers} workers, same recipe, {threads} threads ({other}{_scaled(plain['share'])})",
        "s",
        [(ours["seconds"], plain["seconds"])],
    )


def _scaled(share: float) -> str:
    return "" if share == 1 else f"; {share:.0%} of it timed, scaled up"


@cache
def _best_workers(quick: bool) -> int:
    """Of 0 and 2 workers, what suits the plain loop better on two cores."""
    rates = {}
    for workers in (0, 2):
        with Trainer("plain", ARMS[0], 2, "fp32", workers) as plain:
            rates[workers] = throughput([plain], 600 if quick else 6_000)
    return max(rates, key=rates.__getitem__)


def _whole(side: str, arm: str, threads: int, epochs: int, workers: int = 0, images: int = 0) -> dict[str, float]:
    """What whole.py says of one run."""
    script = str(Path(__file__).with_name("whole.py"))
    arguments = (side, arm, threads, "fp32", epochs, workers, images)
    done = subprocess.run([sys.executable, script, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _sweep(quick: bool) -> Comparison:
    """The demo's sweep with one epoch a run: 5 arms, 3 seeds; quick: one seed."""
    seeds, part = (1, 3_000) if quick else (3, 9_000)
    arms = [arm.name for panel in load_sweep(SWEEP).panels for arm in panel.arms]
    ours = _launched(seeds)
    workers = _best_workers(quick)
    plain = sum(_whole("plain", arm, 2, 1, workers, part)["seconds"] for arm in arms) * seeds
    runs = len(arms) * seeds
    return Comparison(
        f"a sweep of {runs} runs of one epoch of Fashion-MNIST, two cores",
        "`launch --on local`, start to end: two workers, one thread each",
        f"{PLAIN} with {workers} workers and two threads, one run after another ({part:,} images of a run of each arm "
        "and its test timed, scaled up)",
        "runs/h",
        [(3600 * runs / ours, 3600 * runs / plain)],
        more_is_better=True,
    )


def _launched(seeds: int) -> float:
    """Seconds of the command, which waits for its workers."""
    with tempfile.TemporaryDirectory(prefix="training.") as name:
        fields = yaml.safe_load(SWEEP.read_text())
        fields["panels"][0].pop("tuned")
        fields["panels"][0]["recipe"] = {"base": "fashion", "epochs": 1}
        sweep = Path(name) / "one_epoch.yaml"
        sweep.write_text(yaml.safe_dump({**fields, "seeds": seeds}))
        command = ("-m", "ablation.launch", str(sweep), "--runs", str(Path(name) / "runs"), "--on", "local")
        return wall_time(command)


def remarks(comparisons: list[Comparison]) -> list[str]:
    """The goals of one run and of a sweep, and what was reached."""
    single, sweep = (next(median(one.ratios) for one in comparisons if one.what.startswith(s)) for s in _GOALS)
    return [
        f"Goals on two cores: one run at least 4 times faster than the plain loop (here {single:.2f}), a sweep at "
        f"least 7 times more runs an hour (here {sweep:.2f}). What limits a step: docs/speed.md."
    ]


_GOALS = (f"train {ARMS[0]} on Fashion-MNIST", "a sweep of")
