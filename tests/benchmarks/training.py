"""Images per second of our training against a plain loop, and of two processes against two threads."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from measure import Comparison, alternate

ARMS = ("resnet11_1x8d", "resnext11_4x3d")
WARM = 1_000
"""Images."""
PLAIN = "a plain loop after torchvision's reference: fp32, contiguous, PIL images, DataLoader"


class Trainer:
    """A process of trainer.py."""

    def __init__(self, side: str, arm: str, threads: int) -> None:
        script = str(Path(__file__).with_name("trainer.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, side, arm, str(threads)],
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


def throughput(trainers: list[Trainer], images: int) -> float:
    """Images per second of trainers that start together, each on so many images, until the last one is done."""
    for trainer in trainers:
        trainer.tell(f"{WARM} {images}")
    for trainer in trainers:
        trainer.hear()
    for trainer in trainers:
        trainer.tell("go")
    reports: list[dict[str, Any]] = [json.loads(trainer.hear()) for trainer in trainers]
    span = max(report["stop"] for report in reports) - min(report["start"] for report in reports)
    return sum(report["images"] for report in reports) / span


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    return [*(_loops(arm, quick) for arm in ARMS), *(_side_by_side(arm, quick) for arm in ARMS)]


def _loops(arm: str, quick: bool) -> Comparison:
    many, fewer = (600, 600) if quick else (12_000, 6_000)
    with Trainer("ours", arm, 1) as ours, Trainer("plain", arm, 1) as plain:
        pairs = alternate(lambda: throughput([ours], many), lambda: throughput([plain], fewer), 2 if quick else 5)
    return Comparison(f"train {arm}, one thread", "our engine", PLAIN, "img/s", pairs, more_is_better=True)


def _side_by_side(arm: str, quick: bool) -> Comparison:
    images, repeats = (600, 2) if quick else (8_000, 3)
    with ExitStack() as stack:
        two = [stack.enter_context(Trainer("ours", arm, 1)) for _ in range(2)]
        one = [stack.enter_context(Trainer("ours", arm, 2))]
        pairs = alternate(lambda: throughput(two, images), lambda: throughput(one, images), repeats)
    sides = "two runs at once, one thread each", "one run with two threads"
    return Comparison(f"train {arm} on two cores", *sides, "img/s", pairs, more_is_better=True)
