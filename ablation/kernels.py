"""Which way each grouped convolution of a study is computed: measured once a layer and kind of device, and kept.

The choice lies in `<runs>/<sweep>/kernels/<device>/<layer>.json`, written by whoever needs it first; every run of the
study on such a device takes it from there, whatever its arm or seed, into its execution block, and keeps it.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablation.errors import UserError
from ablation.execution import Execution, device_name
from ablation.packing import Layer, PackedConv2d, divisors, layers_of_design
from ablation.records import now
from ablation.run import Run, RunPaths, read_json, write_json

FEW_STEPS = 200
"""A shorter run would not earn back what measuring costs: it stays native."""
CLEAR = 0.9
"""Of native's time: what takes longer is no clear win, and noise could undo it."""
ROUNDS, ROUND_SECONDS = 7, 0.005
"""Timings of each way, turn and turn about, each of so many passes as fill that time."""
HOPELESS = 1.6
"""A way that takes so many times the best's time at a first look is not looked at again."""
LONG_SECONDS, FEWEST = 0.03, 8
"""As many images are timed as take no longer than that, and at least so many: time grows with the images."""
WIDEST = {"cpu": 64, "cuda": 256}
"""Channels of a packed group, at most: beyond, the zeros' MACs cost more than dense kernels gain."""


@dataclass(frozen=True)
class Chosen:
    """How a run's layers are computed, and what is to be said of it."""

    kernels: tuple[tuple[str, str], ...] = ()
    message: str | None = None


def choose(paths: RunPaths, run: Run, execution: Execution, images: int, steps: int, asked: str) -> Chosen:
    """The way of each grouped convolution of a run that is not native; `asked`: `measured`, or `native` for all.

    A run that goes on keeps the ways that its execution block names. `images`: of a step, on this device; `steps`: of
    the run. Measures what no run of the study on this kind of device has measured. Raises UserError where what is
    written down is damaged.
    """
    if paths.resumes and (block := read_json(paths.run_json).get("execution")):
        return Chosen(_of_block(block))
    if asked == "native" or steps < FEW_STEPS:
        return Chosen()
    start, measured, ways = time.monotonic(), 0, {}
    for layer in layers_of_design(run.design, run.recipe.train_resolution):
        file = _file(paths.runs / paths.sweep, layer, execution, images)
        if not file.exists():
            measured += 1
            _keep(file, measure(layer, execution, images))
        way = _read(file, layer)
        if way != layer.way(1):
            ways[layer.name] = way
    if not measured:
        return Chosen(tuple(ways.items()))
    found = "; ".join(f"{name}: in {way}" for name, way in ways.items()) or "none is faster in fewer groups"
    seconds = time.monotonic() - start
    return Chosen(tuple(ways.items()), f"timed {measured} grouped convolutions in {seconds:.1f} s ({found})")


def _of_block(block: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    kernels = block.get("kernels")
    return tuple(kernels.items()) if isinstance(kernels, dict) else ()


def _file(study: Path, layer: Layer, execution: Execution, images: int) -> Path:
    threads = f", threads {execution.threads}" if execution.device == "cpu" else ""
    layout = "" if _layout(execution) == "channels_last" else f", {_layout(execution)}"
    name = f"{layer.name}, batch {images}, {execution.precision}{threads}{layout}"
    return study / "kernels" / slug(device_name(execution.device)) / f"{slug(name)}.json"


def _layout(execution: Execution) -> str:
    return str(execution.block()["layout"])


def slug(text: str) -> str:
    """A text as part of a file's name: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _keep(file: Path, found: dict[str, Any]) -> None:
    """Write it down, unless another worker was faster: then its choice holds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        write_json(file, found, anew=True)


def _read(file: Path, layer: Layer) -> str:
    way = str(read_json(file).get("chosen"))
    try:
        layer.packs(way)
    except ValueError as error:
        raise UserError(
            f"damaged file: {error}", where=str(file), remedy="Remove it, and it is measured anew."
        ) from None
    return way


def measure(layer: Layer, execution: Execution, images: int) -> dict[str, Any]:
    """Time a layer forward and backward in every way: the fastest where it is a clear win, else native; readable."""
    widest = WIDEST[execution.device]
    ways = [p for p in divisors(layer.groups) if p == 1 or p * max(layer.inputs, layer.outputs) <= widest]
    watch = _Watch(layer, execution, images)
    first = {packed: watch.first(packed) for packed in ways}
    hopeful = [packed for packed in ways if packed == 1 or first[packed] <= HOPELESS * min(first.values())]
    times: dict[int, list[float]] = {packed: [] for packed in hopeful}
    for _ in range(ROUNDS if len(hopeful) > 1 else 1):
        for packed in hopeful:
            passes = max(1, int(ROUND_SECONDS / first[packed]))
            times[packed].append(watch.seconds(packed, passes))
    # each against the native pass beside it, so that a busy machine slows both
    shares = {
        packed: statistics.median(own / native for own, native in zip(times[packed], times[1], strict=True))
        for packed in hopeful
    }
    best = min(shares, key=lambda packed: shares[packed])
    return {
        "layer": layer.name,
        "chosen": layer.way(best if shares[best] < CLEAR else 1),
        "native": layer.way(1),
        "share_of_native_time": {layer.way(packed): round(share, 3) for packed, share in shares.items()},
        "at_first_sight": {layer.way(packed): round(first[packed] / first[1], 3) for packed in ways},
        "native_seconds": statistics.median(times[1]),
        "images": watch.images,
        "batch": images,
        "precision": execution.precision,
        "threads": execution.threads,
        "layout": _layout(execution),
        "device_name": device_name(execution.device),
        "torch": torch.__version__,
        "created": now(),
    }


class _Watch:
    """A layer with random images, as training sees it."""

    def __init__(self, layer: Layer, execution: Execution, images: int) -> None:
        self.layer, self.execution = layer, execution
        self.conv: PackedConv2d = layer.build().to(execution.device, execution.dtype)
        self.layout = getattr(torch, {"contiguous": "contiguous_format"}.get(_layout(execution), "channels_last"))
        self.conv.to(memory_format=self.layout)
        self._take(min(FEWEST, images))
        while self.images < images and self.first(1) <= LONG_SECONDS / 2:
            self._take(min(2 * self.images, images))

    def _take(self, images: int) -> None:
        self.images = images
        shape = (images, self.conv.in_channels, *self.layer.map)
        dtype = torch.bfloat16 if self.execution.precision == "bf16" else self.execution.dtype
        random = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.execution.device, dtype)
        self.input = random.to(memory_format=self.layout).requires_grad_()
        self.gradient = torch.ones_like(self._forward(1).detach())
        self._wait()

    def _forward(self, packed: int) -> Tensor:
        self.conv.packed = {self.layer.map: packed}
        with self.execution.autocast():
            return self.conv(self.input)

    def seconds(self, packed: int, passes: int) -> float:
        """Of one pass forward and backward, the mean of so many."""
        self._wait()
        start = self._clock()
        for _ in range(passes):
            self._forward(packed).backward(self.gradient)
        self._wait()
        self.input.grad = self.conv.weight.grad = None
        return (self._clock() - start) / passes

    def first(self, packed: int) -> float:
        """As `seconds`, of a pass after one that warms up."""
        self.seconds(packed, 1)
        return self.seconds(packed, 1)

    def _clock(self) -> float:
        """Of one thread the time that it had, so that others on the machine don't enter."""
        one = self.execution.device == "cpu" and self.execution.threads == 1
        return time.process_time() if one else time.perf_counter()

    def _wait(self) -> None:
        if self.execution.device == "cuda":
            torch.cuda.synchronize()
