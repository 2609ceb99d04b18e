"""A process that trains one network our way or in the plain loop, and measures when it is told to.

Line in: images to warm up on, images to measure. Line out: `ready`; it then waits for a line, so that processes can
start together. Line out: images, and the monotonic clock, which all processes share, at start and stop.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ablation.design import design_from_name
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


def find_run(name: str, precision: str) -> Run:
    """The first run of an arm of the demo's sweep: its design, recipe and data; or the same for another design."""
    runs = load_sweep(SWEEP).runs()
    found = next((run for run in runs if run.arm == name), None)
    run = found or replace(runs[0], arm=name, design=runs[0].dataset.fit(design_from_name(name)))
    return replace(run, precision=precision)


def ours(run: Run, threads: int, scratch: Path) -> Callable[[Meter], None]:
    """Training as a worker does it, from the first step each time; kernels are chosen once, as in a study."""
    paths = RunPaths(scratch / "runs", run.sweep, run.id)
    settings = Settings(gpus=0, threads=threads, kernels="measured")

    def measure(meter: Meter) -> None:
        prepare(run, paths)
        training = Training(paths, settings, meter, lambda: True)
        if meter.warm + meter.steps > training.steps:
            raise ValueError(f"an epoch has {training.steps} steps, and what follows it would be timed too")
        with contextlib.suppress(Stopped):
            training.to_the_end()
        shutil.rmtree(paths.folder)

    return measure


def in_plain_loop(side: str, run: Run, threads: int, workers: int, scratch: Path) -> Callable[[Meter], None]:
    """The same network, batch size and augmentation in a plain loop: of torchvision's blocks (`plain`), or the network
    that `torchvision` or `timm` has by this name."""
    from plain import PlainNetwork, as_torchvision, library_network, open_loader, train

    torch.set_num_threads(threads)
    facts = run.dataset.facts
    make: Callable[[], nn.Module] = lambda: PlainNetwork(run.design)  # noqa: E731
    if side != "plain":
        make = lambda: library_network(side, run.design.name, facts.channels, facts.classes)  # noqa: E731
    check_same(make(), run, by_name=side != "timm")
    as_torchvision(*read_small(run.dataset.name, None)[:2], scratch)
    loader = open_loader(scratch, run.dataset, run.recipe, workers)
    return lambda meter: train(make(), loader, run.recipe, meter)


def check_same(network: nn.Module, run: Run, *, by_name: bool) -> None:
    """Raise ArithmeticError where a network is not the run's: parameters of other names or shapes."""
    shapes = [{key: value.shape for key, value in each.named_parameters()} for each in (Network(run.design), network)]
    if (shapes[0] != shapes[1]) if by_name else (sorted(shapes[0].values()) != sorted(shapes[1].values())):
        raise ArithmeticError(f"not the same network: {shapes}")


def main(side: str, name: str, threads: str, precision: str = "fp32", workers: str = "0") -> None:
    """Measure once for each line."""
    run = find_run(name, precision)
    with tempfile.TemporaryDirectory() as scratch:
        if side == "ours":
            measure = ours(run, int(threads), Path(scratch))
        else:
            measure = in_plain_loop(side, run, int(threads), int(workers), Path(scratch))
        while line := sys.stdin.readline():
            meter = Meter(*(max(1, int(images) // run.recipe.batch) for images in line.split()))
            measure(meter)
            report = {"images": meter.steps * run.recipe.batch, "start": meter.start, "stop": meter.stop}
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
