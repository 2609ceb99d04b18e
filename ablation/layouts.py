"""How a GPU trains an arm: in which memory layout, by measurement; whether as a CUDA graph.

The layout lies in `<runs>/<sweep>/layouts/<device>/<design>.json`, written by whoever needs it first; every run of the
arm on such a device takes it from there into its execution block, and keeps it.
"""

from __future__ import annotations

import statistics
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ablation.errors import UserError
from ablation.execution import Execution, device_name
from ablation.graphs import GraphedStep, suits
from ablation.kernels import FEW_STEPS, slug
from ablation.records import now
from ablation.run import Run, RunPaths, read_json, write_json
from ablation.settings import Settings
from ablation.step import WholeStep, first_network, optimiser_of

LAYOUTS = ("channels_last", "contiguous")
CLEAR = 0.95
"""Of the time with channels last: what takes longer is no clear win, and noise could undo it."""
ROUNDS, ROUND_SECONDS = 5, 0.1
"""Timings of each layout, turn and turn about, each of so many steps as fill that time."""


def on_device(
    execution: Execution, paths: RunPaths, run: Run, settings: Settings, images: int, steps: int
) -> tuple[Execution, str | None]:
    """The execution of a run with what is decided on a GPU, and what is to be said of it; a CPU's is left as it is.

    A run that goes on keeps what its execution block says. `images`: of a step, on this device; `steps`: of the run.
    Raises UserError where what is written down is damaged.
    """
    if execution.device != "cuda":
        return execution, None
    if paths.resumes and (block := read_json(paths.run_json).get("execution")):
        return of_block(execution, block), None
    whole = settings.micro_batch in (None, images) and images == run.recipe.batch
    graph = settings.graph and whole and suits(run.design, execution.device)
    execution = replace(execution, graph=graph, fastest=settings.fastest)
    execution.apply()
    if steps < FEW_STEPS:
        return execution, None
    file = layout_file(paths.runs / paths.sweep, run, execution, images)
    message = None if file.exists() else _measure_into(file, run, execution, images)
    return replace(execution, layout=read_layout(file) if file.exists() else "channels_last"), message


def of_block(execution: Execution, block: dict[str, Any]) -> Execution:
    """As an execution block says that a run was started."""
    layout = block.get("layout", execution.layout)
    return replace(
        execution, layout=layout, graph=block.get("step") == "graph", fastest=block.get("cudnn") == "fastest"
    )


def layout_file(study: Path, run: Run, execution: Execution, images: int) -> Path:
    """Where an arm's layout on this kind of device is written down."""
    name = f"{run.design.name}, batch {images}, {execution.precision}"
    return study / "layouts" / slug(device_name(execution.device)) / f"{slug(name)}.json"


def read_layout(file: Path) -> str:
    """The layout that was chosen. Raises UserError where the file is damaged."""
    chosen = read_json(file).get("chosen")
    if chosen not in LAYOUTS:
        remedy = "Remove it, and it is measured anew."
        raise UserError(f"damaged file: layout {chosen!r}", where=str(file), remedy=remedy)
    return str(chosen)


def _measure_into(file: Path, run: Run, execution: Execution, images: int) -> str:
    start = time.monotonic()
    try:
        found = measure(run, execution, images)
    except torch.OutOfMemoryError:
        return "layouts were not timed: two networks do not fit this GPU; channels_last it is"
    finally:
        torch.cuda.empty_cache()
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # another worker was faster: then its choice holds
        write_json(file, found, anew=True)
    shares = ", ".join(f"{name} {share:.2f}" for name, share in found["share_of_channels_last_time"].items())
    return f"timed layouts in {time.monotonic() - start:.1f} s (time of a step: {shares}); {read_layout(file)} it is"


def measure(run: Run, execution: Execution, images: int) -> dict[str, Any]:
    """Time an arm's steps in both layouts: contiguous where it is a clear win, else channels last; readable."""
    watches = {layout: _Watch(run, replace(execution, layout=layout), images) for layout in LAYOUTS}
    first = {layout: watch.seconds(1) for layout, watch in watches.items()}
    times: dict[str, list[float]] = {layout: [] for layout in LAYOUTS}
    for _ in range(ROUNDS):
        for layout, watch in watches.items():
            times[layout].append(watch.seconds(max(1, int(ROUND_SECONDS / first[layout]))))
    shares = {
        layout: statistics.median(own / usual for own, usual in zip(each, times["channels_last"], strict=True))
        for layout, each in times.items()
    }
    return {
        "design": run.design.name,
        "chosen": "contiguous" if shares["contiguous"] < CLEAR else "channels_last",
        "share_of_channels_last_time": {layout: round(share, 3) for layout, share in shares.items()},
        "seconds_a_step": {layout: statistics.median(each) for layout, each in times.items()},
        "batch": images,
        "precision": execution.precision,
        "step": "graph" if execution.graph else "plain",
        "device_name": device_name(execution.device),
        "torch": torch.__version__,
        "created": now(),
    }


class _Watch:
    """An arm's network with random images, as training sees it."""

    def __init__(self, run: Run, execution: Execution, images: int) -> None:
        self.run, self.execution = run, execution
        recipe, side = run.recipe, run.recipe.train_resolution or run.dataset.resolution
        network = first_network(run.design, run.seed, execution, min(recipe.norm_batch, images)).train()
        plain = WholeStep(network, optimiser_of(network, recipe), execution)
        self.step = GraphedStep(plain) if execution.graph else plain
        random = torch.Generator().manual_seed(0)
        pixels = torch.randn((images, run.dataset.facts.channels, side, side), generator=random)
        labels = torch.randint(run.dataset.classes, (images,), generator=random)
        pixels = pixels.to(execution.device).to(memory_format=torch.channels_last)
        self.batch = pixels, labels.to(execution.device)
        for at in range(5):  # past the recording
            self.step(self.batch, 0.0, at)

    def seconds(self, steps: int) -> float:
        """Of one step, the mean of so many."""
        self._wait()
        start = time.perf_counter()
        for at in range(steps):
            self.step(self.batch, 0.0, at)
        self._wait()
        return (time.perf_counter() - start) / steps

    def _wait(self) -> None:
        if self.execution.device == "cuda":
            torch.cuda.synchronize()
