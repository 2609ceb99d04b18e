"""Runs of one study side by side on one device, each a process that trains as a worker does.

Line in: `make`. Line out: `ready`, when a run is under way; then, as often as agreed, line in: `go`; line out: images,
and the monotonic clock, which all processes share, at start and stop.
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
SEGMENTS = 3
"""Measurements of a run, all within its first epoch of 468 steps."""


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
            rates = _throughput(processes[:many], 1 if bench.quick else SEGMENTS)
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


def _throughput(processes: list[subprocess.Popen[str]], segments: int) -> list[float]:
    """Images per second of all together, from the first start to the last stop; so often."""
    _tell(processes, "make")
    found = []
    for _ in range(segments):
        reports = _tell(processes, "go")
        span = max(report["stop"] for report in reports) - min(report["start"] for report in reports)
        found.append(sum(report["images"] for report in reports) / span)
    return found


def _tell(processes: list[subprocess.Popen[str]], word: str) -> list[dict[str, Any]]:
    """What each says to a word that all are told at once."""
    for process in processes:
        process.stdin.write(f"{word}\n")
        process.stdin.flush()
    return [_hear(process) for process in processes]


@dataclass
class Meter:
    """Asked after each step whether to stop, which is where it looks at the clock and waits for its word."""

    warm: int
    steps: int
    """Of a segment."""
    segments: int
    images: int
    """Of a step."""
    device: str
    seen: int = 0
    start: float = 0.0

    def __call__(self) -> str | None:
        self.seen += 1
        done = self.seen - self.warm
        if done < 0 or done % self.steps:
            return None
        self._wait()
        report = {"images": self.steps * self.images, "start": self.start, "stop": time.monotonic()}
        print(json.dumps(report if done else {"ready": True}), flush=True)
        if done == self.steps * self.segments:
            return "measured"
        sys.stdin.readline()
        self.start = time.monotonic()
        return None

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
        sizes = (1, 1, 1) if options["quick"] else (20, 140, SEGMENTS)
        meter = Meter(*sizes, arm.recipe.batch, options["device"])
        run = arm.at(
            1000 * time_ + options["seed"]
        )  # a run of its own, in one study: kernels and layout are chosen once
        paths = RunPaths(Path(options["runs"]), run.sweep, run.id)
        prepare(run, paths)
        with contextlib.suppress(Stopped):
            Training(paths, settings, meter, lambda: True).to_the_end()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
