"""A process that trains one arm our way or the plain way, and measures when it is told to.

Line in: images to warm up on, images to measure. Line out: `ready`; it then waits for a line, so that processes can
start together. Line out: images, and the monotonic clock, which all processes share, at start and stop.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ablation.network import Network
from ablation.run import Run, RunPaths, prepare
from ablation.sources import read_small
from ablation.sweep import load_sweep
from ablation.train import Settings, Stopped, Training

SWEEP = Path(__file__).parents[2] / "sweeps" / "fashion_mnist.yaml"


@dataclass
class Meter:
    """Asked after each step whether to stop, which is where it looks at the clock."""

    warm: int
    steps: int
    seen: int = 0
    start: float = 0.0
    stop: float = 0.0

    def __call__(self) -> str | None:
        self.seen += 1
        if self.seen == self.warm:
            print("ready", flush=True)
            sys.stdin.readline()
            self.start = time.monotonic()
        self.stop = time.monotonic()
        return "measured" if self.seen == self.warm + self.steps else None


def find_run(arm: str) -> Run:
    """The arm's first run in the demo's sweep: its design, recipe, data and precision."""
    return next(run for run in load_sweep(SWEEP).runs() if run.arm == arm)


def ours(run: Run, threads: int, scratch: Path) -> Callable[[Meter], None]:
    """Training as a worker does it, in a run folder of its own."""

    def measure(meter: Meter) -> None:
        with tempfile.TemporaryDirectory(dir=scratch) as runs:
            paths = RunPaths(Path(runs), run.sweep, run.id)
            prepare(run, paths)
            training = Training(paths, Settings(gpus=0, threads=threads), meter, lambda: True)
            if meter.warm + meter.steps > training.steps:
                raise ValueError(f"an epoch has {training.steps} steps, and what follows it would be timed too")
            with contextlib.suppress(Stopped):
                training.to_the_end()

    return measure


def plain(run: Run, threads: int, scratch: Path) -> Callable[[Meter], None]:
    """The same network, batch size and augmentation in a plain loop."""
    from plain import PlainNetwork, as_torchvision, open_loader, train

    torch.set_num_threads(threads)
    shapes = [
        {key: value.shape for key, value in kind(run.design).state_dict().items()} for kind in (Network, PlainNetwork)
    ]
    if shapes[0] != shapes[1]:
        raise ArithmeticError(f"not the same network: {shapes}")
    as_torchvision(*read_small(run.dataset.name, None)[:2], scratch)
    loader = open_loader(scratch, run.dataset, run.recipe)
    return lambda meter: train(PlainNetwork(run.design), loader, run.recipe, meter)


def main(side: str, arm: str, threads: str) -> None:
    """Measure once for each line."""
    run = find_run(arm)
    with tempfile.TemporaryDirectory() as scratch:
        measure = {"ours": ours, "plain": plain}[side](run, int(threads), Path(scratch))
        while line := sys.stdin.readline():
            meter = Meter(*(max(1, int(images) // run.recipe.batch) for images in line.split()))
            measure(meter)
            report = {"images": meter.steps * run.recipe.batch, "start": meter.start, "stop": meter.stop}
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
