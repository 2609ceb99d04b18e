"""An optimiser step as a CUDA graph: recorded once, then replayed in one call, where launching kernels takes longer
than running them. The same kernels on the same numbers as `WholeStep`; only the learning rate is rounded to fp32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ablation.data import Batch
from ablation.errors import first_line
from ablation.family import Architecture, FamilyDesign
from ablation.network import forget
from ablation.step import WholeStep

WARM = 3
"""Steps of each attempt before the recording: libraries set themselves up, momentum gets its memory."""
APART = 0.05
"""The first replay may differ from the plain step by so much of what the step changes: rounding, in another order."""
Replay = Callable[[], object]


class GraphedStep:
    """`WholeStep` for batches of one shape: its first steps as they are, then recorded and replayed.

    The first replay is held against the plain step. Where they differ, or nothing can be recorded, steps go on plain.
    """

    def __init__(self, plain: WholeStep, record: Callable[[Callable[[], None]], Replay] | None = None) -> None:
        """`record` is given a function that reads and writes the same memory each time; the default is `on_gpu`."""
        self.plain, self.record, self.steps = plain, record or on_gpu, 0
        self.replay: Replay | None = None
        self._message: str | None = None

    def __call__(self, batch: Batch, label_smoothing: float, at: int) -> tuple[Tensor, Tensor]:
        """Optimiser step `at` (from 0); the loss and the guesses, which the next step overwrites."""
        for group in self.plain.optimiser.param_groups:
            group["lr"] = float(np.float32(group["lr"]))  # a recorded kernel reads it from the device, in fp32
        self.steps += 1
        if self.steps == WARM + 1:
            return self._first(batch, label_smoothing)
        if self.replay is None:
            return self.plain(batch, label_smoothing, at)
        return self._again(self.replay, batch)

    def look(self) -> str | None:
        """What is to be said of the last step: why steps go on plain."""
        message, self._message = self._message, None
        return message

    def _again(self, replay: Replay, batch: Batch) -> tuple[Tensor, Tensor]:
        for mine, given in zip(self._batch, batch, strict=True):
            mine.copy_(given)
        for rate, group in zip(self._rates, self.plain.optimiser.param_groups, strict=True):
            rate.fill_(group["lr"])
        replay()
        return self._loss, self._guesses

    def _first(self, batch: Batch, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """Do the step plainly, record it, do it again from where it began, and compare."""
        before = self._state()
        loss, guesses = self.plain(batch, label_smoothing, 0)
        plain = self._state()
        try:
            replay = self._record(batch, label_smoothing)
            self._set(before)
            self._again(replay, batch)
            if differ(before, plain, self._state()):
                raise RuntimeError("its first replay is not the step it was recorded from")
        except RuntimeError as error:
            forget(self.plain.network)
            self._set(plain)
            self._message = f"steps are not replayed as a CUDA graph, but go on plain: {first_line(error)}"
            return loss, guesses
        self.replay = replay
        return self._loss, self._guesses

    def _record(self, batch: Batch, label_smoothing: float) -> Replay:
        optimiser = self.plain.optimiser
        self._batch = tuple(part.clone() for part in batch)
        self._rates = [torch.zeros((), device=batch[0].device) for _ in optimiser.param_groups]
        numbers = [group["lr"] for group in optimiser.param_groups]
        optimiser.zero_grad()  # gradients then lie in the graph's memory
        try:
            for rate, group in zip(self._rates, optimiser.param_groups, strict=True):
                group["lr"] = rate
            return self.record(lambda: self._step(label_smoothing))
        finally:
            for number, group in zip(numbers, optimiser.param_groups, strict=True):
                group["lr"] = number

    def _step(self, label_smoothing: float) -> None:
        images, labels = self._batch
        self._loss, self._guesses = self.plain((images, labels), label_smoothing, 0)

    def _tensors(self) -> list[Tensor]:
        network, optimiser = self.plain.network, self.plain.optimiser
        momentum = [value for state in optimiser.state.values() for value in state.values() if torch.is_tensor(value)]
        return [*(parameter.detach() for parameter in network.parameters()), *network.buffers(), *momentum]

    def _state(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self._tensors()]

    def _set(self, state: list[Tensor]) -> None:
        for tensor, value in zip(self._tensors(), state, strict=True):
            tensor.copy_(value)


def differ(before: list[Tensor], one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether two steps from one state end apart by more than rounding, in any tensor; waits for the device."""
    found = []
    for start, a, b in zip(before, one, other, strict=True):
        start, a, b = start.double(), a.double(), b.double()
        within = APART * (a - start).norm() + 1e-6 * a.norm()
        found.append(~((a - b).norm() <= within))  # what is not finite differs
    return bool(torch.stack(found).any())


def on_gpu(function: Callable[[], None]) -> Replay:
    """Record what a function starts on the GPU, without doing it. Raises RuntimeError where it can't be recorded."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # another thread may pin memory meanwhile
        function()
    return graph.replay


def suits(design: Architecture, device: str) -> bool:
    """Whether a design's steps can be recorded: on a GPU, and of a network of ours, which draws no random numbers."""
    return device == "cuda" and not isinstance(design, FamilyDesign)
