"""Times of training steps, measured here: each beside the reference's, so that a busy machine slows both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ablation.errors import UserError
from ablation.execution import Execution, choose_execution, device_name
from ablation.family import Architecture
from ablation.recipe import Recipe
from ablation.solver import BATCH, Timed
from ablation.solver.clock import SURE
from ablation.step import first_network, optimiser_of, step

PLAIN = Recipe(
    name="timing", epochs=1, batch=1, norm_batch=1, lr=1e-3, momentum=0.9, weight_decay=1e-4, schedule="constant"
)
"""An optimiser step costs the same whatever its rates are."""
LONG_ENOUGH = 0.05
"""Seconds; of shorter steps several are timed at once."""
FEW, APART = 3, 1.1
"""So many pairs are enough where all of them lie on one side of what matters, by this factor."""


class Stopwatch:
    """A `Clock` that trains a little: random images, the whole batch in each batch norm, SGD with momentum."""

    def __init__(
        self,
        batch: int = BATCH,
        precision: str = "fp32",
        threads: int = 1,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.batch, self.say = batch, say or (lambda line: None)
        self.execution = choose_execution(precision, threads, None)
        self.execution.apply()
        self._pairs: dict[tuple[Any, Any], list[float]] = {}
        self._seconds: dict[Any, float] = {}

    def ratio(self, design: Architecture, reference: Architecture, near: float | None = None) -> Timed:
        """The median over `SURE` pairs of timings, one of each network, turn and turn about (see `Clock`)."""
        pairs = self._pairs.setdefault((design, reference), [1.0] * SURE if design == reference else [])
        if not _enough(pairs, near):
            own, other = self._timer(design), self._timer(reference)
            steps = self._warm_up(reference, other, own)
            while not _enough(pairs, near):
                pairs.append(_pair(own, other, steps, turned=len(pairs) % 2 == 1))
            self.say(f"timed {design.name}: {Timed.of(pairs, '').ratio:.3f} of {reference.name}'s step")
        return Timed.of(pairs, "the reference" if design == reference else f"{len(pairs)} pairs of timings")

    def bounds(self, design: Architecture, field: str) -> None:
        """It can time all."""

    def about(self, reference: Architecture) -> dict[str, Any]:
        """See `Clock`."""
        if reference not in self._seconds:
            timer = self._timer(reference)
            self._warm_up(reference, timer)
        execution = self.execution
        return {
            "device": device_name(execution.device),
            "precision": execution.precision,
            "threads": execution.threads,
            "batch": self.batch,
            "seconds": self._seconds[reference],
        }

    def _timer(self, design: Architecture) -> Timer:
        try:
            return Timer(design, self.execution, self.batch)
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(f"{design.name} does not fit the GPU at a batch of {self.batch}") from error

    def _warm_up(self, reference: Architecture, *timers: Timer) -> int:
        """A first step of each; how many steps of the reference, which is the first, are timed at once."""
        for timer in timers:
            timer.seconds(1)
        seconds = min(timers[0].seconds(1) for _ in range(2))
        self._seconds[reference] = min(seconds, self._seconds.get(reference, seconds))
        return max(1, math.ceil(LONG_ENOUGH / seconds))


def _enough(pairs: list[float], near: float | None) -> bool:
    if near is not None and len(pairs) >= FEW and (min(pairs) > near * APART or max(pairs) < near / APART):
        return True
    return len(pairs) >= SURE


def _pair(own: Timer, other: Timer, steps: int, turned: bool) -> float:
    if turned:
        seconds = other.seconds(steps)
        return own.seconds(steps) / seconds
    return own.seconds(steps) / other.seconds(steps)


class Timer:
    """A network and a batch to train it on: random images, `norm_batch` of them in each batch norm (None: all)."""

    def __init__(
        self,
        design: Architecture,
        execution: Execution,
        batch: int,
        norm_batch: int | None = None,
        layout: torch.memory_format = torch.channels_last,
    ) -> None:
        self.execution = execution
        self.network: nn.Module = first_network(design, 0, execution, norm_batch).to(memory_format=layout)
        self.network.train()
        self.optimiser = optimiser_of(self.network, PLAIN)
        shape = (batch, design.channels, design.resolution, design.resolution)
        random = torch.Generator().manual_seed(0)
        images = torch.randn(shape, generator=random).to(memory_format=layout)
        labels = torch.randint(design.classes, (batch,), generator=random)
        self.data = images.to(execution.device), labels.to(execution.device)

    def seconds(self, steps: int) -> float:
        """How long so many optimiser steps take."""
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            step(self.network, self.optimiser, self.execution, self.data, 0.0)
        self._wait()
        return time.perf_counter() - start

    def evaluation_seconds(self) -> float:
        """How long an image takes in evaluation, once the network has been warmed up with its batch."""
        self.network.eval()
        seconds = min(self._forward() for _ in range(2))
        self.network.train()
        return seconds / len(self.data[1])

    def _forward(self) -> float:
        self._wait()
        start = time.perf_counter()
        with torch.inference_mode(), self.execution.autocast():
            self.network(self.data[0].to(self.execution.dtype))
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.execution.device == "cuda":
            torch.cuda.synchronize()
