"""What the GPU benchmarks are made of: training steps of ours and of others, timed in turn; rows of figures."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from ablation.design import Design
from ablation.execution import Execution
from ablation.graphs import GraphedStep
from ablation.recipe import Recipe
from ablation.step import WholeStep, first_network, optimiser_of

PLAIN = Recipe(
    name="timing", epochs=1, batch=1, norm_batch=1, lr=1e-3, momentum=0.9, weight_decay=1e-4, schedule="constant"
)
Step = Callable[[], object]


@dataclass(frozen=True)
class Bench:
    """A section under way: where it runs, until when, and where its rows go."""

    section: str
    device: str
    quick: bool
    deadline: float
    """By the monotonic clock."""
    rows: Path
    data: Path | None = None

    @property
    def late(self) -> bool:
        """Whether no further measurement should begin."""
        return time.monotonic() > self.deadline

    def row(self, what: str, values: float | list[float], unit: str, note: str = "") -> None:
        """Append a figure to the file at once: what follows may be cut off."""
        each = values if isinstance(values, list) else [values]
        found = {"section": self.section, "what": what, "value": median(each), "low": min(each), "high": max(each)}
        with open(self.rows, "a") as file:
            file.write(json.dumps({**found, "unit": unit, "note": note}) + "\n")
        print(f"{self.section}: {what}: {median(each):.4g} {unit} {note}", flush=True)

    def say(self, what: str) -> None:
        """Append that something was not measured."""
        with open(self.rows, "a") as file:
            file.write(json.dumps({"section": self.section, "what": what, "note": "not measured"}) + "\n")
        print(f"{self.section}: {what}", flush=True)

    def execution(self, **changes: Any) -> Execution:
        """bf16 on the device, as a sweep would have it."""
        return replace(Execution(self.device, "bf16", 1), **changes)

    def wait(self) -> None:
        """Until the device is done."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def images(bench: Bench, design: Design, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images, channels last, and labels, on the device."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randn((batch, design.channels, design.resolution, design.resolution), generator=random)
    labels = torch.randint(design.classes, (batch,), generator=random)
    return pixels.to(bench.device).to(memory_format=torch.channels_last), labels.to(bench.device)


def ours(
    bench: Bench,
    design: Design,
    batch: int,
    norm_batch: int | None = None,
    layout: str = "channels_last",
    graph: bool = True,
    fastest: bool = False,
    kernels: tuple[tuple[str, str], ...] = (),
) -> Step:
    """Our optimiser step, warmed up; `graph` counts on a GPU only."""
    execution = bench.execution(layout=layout, fastest=fastest, **({"kernels": kernels} if kernels else {}))
    execution.apply()
    network = first_network(design, 0, execution, norm_batch).train()
    plain = WholeStep(network, optimiser_of(network, PLAIN), execution)
    step = GraphedStep(plain) if graph and bench.device == "cuda" else plain
    data = images(bench, design, batch)
    for at in range(5 if bench.device == "cuda" else 1):
        step(data, 0.0, at)
        if said := step.look():
            bench.say(f"{design.name}: {said}")

    def go() -> None:
        cudnn(fastest)
        step(data, 0.0, 0)

    return go


def cudnn(fastest: bool) -> None:
    """Let cuDNN take its fastest kernels, or those that give the same bits each time; cheap enough for every step."""
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = not fastest, fastest


def eager(bench: Bench, network: nn.Module, design: Design, batch: int) -> Step:
    """A step of somebody else's network as torchvision's reference script does it: eager AMP, cuDNN's fastest kernels;
    channels last."""
    network = network.to(bench.device).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    criterion, (pixels, labels) = nn.CrossEntropyLoss(), images(bench, design, batch)

    def step() -> None:
        cudnn(fastest=True)
        with torch.autocast(bench.device, dtype=torch.bfloat16):
            loss = criterion(network(pixels), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    for _ in range(3 if bench.device == "cuda" else 1):
        step()
    return step


def seconds(bench: Bench, step: Step, steps: int) -> float:
    """Of one step, the mean of so many."""
    bench.wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    bench.wait()
    return (time.perf_counter() - start) / steps


def in_turn(
    bench: Bench, steps: Mapping[str, Step], for_seconds: float = 0.5, rounds: int = 5
) -> dict[str, list[float]]:
    """Seconds of one step of each, A B A B; in quick mode one round of one step."""
    if bench.quick:
        return {name: [seconds(bench, step, 1)] for name, step in steps.items()}
    many = {name: max(1, int(for_seconds / seconds(bench, step, 2))) for name, step in steps.items()}
    found: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(rounds):
        if round_ and bench.late:
            break
        for name, step in steps.items():
            found[name].append(seconds(bench, step, many[name]))
    return found


def ratios(slow: list[float], fast: list[float]) -> list[float]:
    """How many times faster, pair by pair."""
    return [a / b for a, b in zip(slow, fast, strict=True)]


def clear() -> None:
    """Give memory back before the next networks."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
