"""Runs of one study side by side on one device, each a process that trains as a worker does.

Line in: `go`. Line out: images, and the monotonic clock, which all processes share, at start and stop.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpu_parts import Bench

SWEEP = Path(__file__).parents[2] / "sweeps" / "fashion_mnist_gpu.yaml"
COUNTS = (1, 2, 4, 8, 16)


def compare(bench: Bench) -> None:
    """1 to 16 runs at a time, taking turns on the device, then through MPS; each against one run at a time."""
    from ablation.mps import DAEMON, shared_gpu

    _measure(bench, "taking turns")
    if bench.device != "cuda" or bench.late:
        return
    if not shutil.which(DAEMON):
        bench.say(f"MPS: there is no {DAEMON} here")
        return
    with shared_gpu():
        _measure(bench, "MPS")


def _measure(bench: Bench, how: str) -> None:
    counts = (1, 2) if bench.quick else COUNTS
    alone: list[float] = []
    with _processes(bench, max(counts)) as processes:
        for many in counts:
            if bench.late:
                bench.say(f"{many} runs, {how}: no time")
                continue
            rates = [_throughput(processes[:many]) for _ in range(1 if bench.quick else 3)]
            alone = alone or rates
            bench.row(f"{many} runs at a time, {how}", rates, "img/s", "resnext11_4x30-61-122d, batch 128, in all")
            if many > 1:
                against = [rate / one for rate, one in zip(rates, alone, strict=True)]
                bench.row(f"{many} runs over one at a time, {how}", against, "times")


@contextlib.contextmanager
def _processes(bench: Bench, size: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready to measure; ended with the context."""
    options = {"device": bench.device, "data": str(bench.data or ""), "quick": bench.quick}
    with tempfile.TemporaryDirectory() as runs:
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, json.dumps({**options, "runs": runs, "seed": seed})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for seed in range(size)
        ]
        try:
            for process in processes:
                _hear(process)
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a training process died; its error is above")
    return json.loads(line)


def _throughput(processes: list[subprocess.Popen[str]]) -> float:
    """Images per second of all together, from the first start to the last stop."""
    for word in ("make", "go"):  # first all get ready, then all start
        for process in processes:
            process.stdin.write(f"{word}\n")
            process.stdin.flush()
        reports = [_hear(process) for process in processes]
    span = max(report["stop"] for report in reports) - min(report["start"] for report in reports)
    return sum(report["images"] for report in reports) / span


@dataclass
class Meter:
    """Asked after each step whether to stop, which is where it looks at the clock."""

    warm: int
    steps: int
    device: str
    seen: int = 0
    start: float = 0.0
    stop: float = 0.0

    def __call__(self) -> str | None:
        self.seen += 1
        if self.seen == self.warm:
            self._wait()
            print(json.dumps({"ready": True}), flush=True)
            sys.stdin.readline()
            self.start = time.monotonic()
        if self.seen < self.warm + self.steps:
            return None
        self._wait()
        self.stop = time.monotonic()
        return "measured"

    def _wait(self) -> None:
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


def main(options: dict[str, Any]) -> None:
    """Train for a while, as often as told, each time in a run folder of its own."""
    from ablation.run import RunPaths, prepare
    from ablation.settings import Settings
    from ablation.sweep import load_sweep
    from ablation.train import Stopped, Training

    arm = next(run for run in load_sweep(SWEEP).runs() if run.arm.startswith("resnext11_4x"))
    data = Path(options["data"]) if options["data"] else None
    settings = Settings(gpus=int(options["device"] == "cuda"), data_dir=data, kernels="measured")
    print(json.dumps({"ready": True}), flush=True)
    for time_ in count():
        if not sys.stdin.readline():
            return
        meter = Meter(*((1, 1) if options["quick"] else (20, 400)), options["device"])
        run = arm.at(
            1000 * time_ + options["seed"]
        )  # a run of its own, in one study: kernels and layout are chosen once
        paths = RunPaths(Path(options["runs"]), run.sweep, run.id)
        prepare(run, paths)
        with contextlib.suppress(Stopped):
            Training(paths, settings, meter, lambda: True).to_the_end()
        report = {"images": meter.steps * run.recipe.batch, "start": meter.start, "stop": meter.stop}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
