"""How long a run takes: from finished runs of its arm, else from what runs or probes of the same design recorded."""

from __future__ import annotations

import json
import os
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.run import Run, RunPaths, read_json
from ablation.schema import Resources
from ablation.timings import Timing, read_timing

ENOUGH = 3
"""So many runs of one kind are read; more would tell little more."""
LOOKED_AT = 20
"""So many folders of runs with the same design are opened, at most."""
FOLDER = re.compile(r"(?P<design>.+)-s-?\d+-[0-9a-f]{10}")
IMAGES = {
    "fashion_mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenet": (1_281_167, 50_000),
}
"""Training and test images of what a name stands for."""


@dataclass(frozen=True)
class Estimate:
    """How long one run of an arm takes, from start to end."""

    seconds: float
    device: str
    """Its model."""
    on_gpu: bool
    how: str
    rank: int
    """What is nearer to the run itself comes first."""


class Measured:
    """What the runs and probes below a folder tell of how long runs take."""

    def __init__(self, runs: Path, sweep: str, resources: Resources) -> None:
        self.runs, self.sweep = runs, sweep
        self.threads, self.gpus, self.side_by_side = resources.threads, resources.gpus, resources.side_by_side
        self.processes = resources.ranks
        self._counts: dict[Dataset, tuple[int, int]] = {}

    def of(self, arm: Sequence[Run]) -> list[Estimate]:
        """Every estimate for an arm, given as its runs, one a device and source; none where nothing was measured."""
        own = {run.id for run in arm}
        paths = [RunPaths(self.runs, self.sweep, run.id) for run in arm]
        paths.sort(key=lambda path: not path.result.exists())
        same = list(self._timings(paths, arm[0]))
        found = [*_grouped(same, _finished, "finished run", 0), *_grouped(same, _by_epochs, "run under way", 1)]
        if found:
            return found
        named = self._index.get(arm[0].design.name, [])
        others = [path for path in named if path.sweep != self.sweep or path.id not in own]
        like = list(self._timings(others, arm[0]))
        elsewhere = list(_grouped(like, lambda item: self._scaled(item[1], arm[0]), "run of this design", 2))
        return elsewhere or list(self._probed(arm[0]))

    def images(self, dataset: Dataset) -> tuple[int, int] | None:
        """Images trained on and evaluated, as runs on it recorded, else as its name says; None where nothing says."""
        if dataset in self._counts or dataset.name not in IMAGES:
            return self._counts.get(dataset)
        train, test = IMAGES[dataset.name]
        return (train, test) if dataset.evaluate == "test" else (train - dataset.validation, dataset.validation)

    def _timings(self, paths: Iterable[RunPaths], like: Run) -> Iterator[tuple[RunPaths, Timing]]:
        """Of runs that cost a step what this one costs, on what the sweep may use."""
        found = looked = 0
        for path in paths:
            if not path.log.exists():
                continue
            looked += 1
            timing = _readable(path)
            if timing and self._fits(timing, like):
                found += 1
                if timing.data:
                    counts = timing.data["train_images"], timing.data["evaluation_images"]
                    self._counts.setdefault(timing.run.dataset, counts)
                yield path, timing
            if found == ENOUGH or looked == LOOKED_AT:
                return

    def _fits(self, timing: Timing, like: Run) -> bool:
        own, other = timing.run.recipe, like.recipe
        on_gpu = timing.block["device"] != "cpu"
        return (
            (timing.design, own.batch, own.norm_batch, own.train_resolution, timing.kind.precision)
            == (like.design, other.batch, other.norm_batch, other.train_resolution, like.precision)
            and (on_gpu or timing.kind.threads == self.threads)
            and timing.block.get("ranks", 1) == self.processes
            and (self.gpus is None or bool(self.gpus) == on_gpu)
        )

    def _scaled(self, timing: Timing, run: Run) -> float | None:
        """Another run's speed, for this run's images and epochs."""
        return self.seconds(run, timing.seconds, timing.evaluation)

    def seconds(self, run: Run, step: float, evaluated_image: float) -> float | None:
        """Of a whole run; None where it is not known how many images it has."""
        images = self.images(run.dataset)
        if images is None:
            return None
        steps = images[0] // run.recipe.batch
        return run.recipe.epochs * (steps * step + images[1] * evaluated_image)

    @cached_property
    def _index(self) -> dict[str, list[RunPaths]]:
        """Run folders by their design's name, this sweep's first."""
        found = defaultdict[str, list[RunPaths]](list)
        sweeps = sorted(_folders(self.runs), key=lambda name: (name != self.sweep, name))
        for sweep in sweeps:
            for name in sorted(_folders(self.runs / sweep)):
                if match := FOLDER.fullmatch(name):
                    found[match["design"]].append(RunPaths(self.runs, sweep, name))
        return found

    @cached_property
    def _probes(self) -> list[dict[str, Any]]:
        """What probes found: an entry a design and device."""
        files = [path for sweep in _folders(self.runs) for path in sorted((self.runs / sweep).glob("probes/*.json"))]
        answers = [answer for path in files if (answer := _json(path))]
        return [{**answer, **entry} for answer in answers for entry in answer["designs"]]

    def _probed(self, run: Run) -> Iterator[Estimate]:
        wanted = json.loads(json.dumps(run.design.to_dict()))
        for probe in self._probes:
            on_gpu = probe["device"] != "cpu"
            if (
                (probe["design"], probe["batch"], probe["norm_batch"], probe["precision"])
                == (wanted, run.recipe.batch, run.recipe.norm_batch, run.precision)
                and (on_gpu or probe["threads"] == self.threads)
                and (self.gpus is None or bool(self.gpus) == on_gpu)
                and probe.get("processes", 1) == self.processes
                and "seconds_a_step" in probe
            ):
                slower = self._slower(probe)
                step, evaluated = probe["seconds_a_step"] * slower, probe["evaluation_seconds_an_image"] * slower
                seconds = self.seconds(run, step, evaluated)
                if seconds is not None:
                    yield Estimate(seconds, probe["device_name"], on_gpu, "a probe, without reading images", 3)

    def _slower(self, probe: dict[str, Any]) -> float:
        """How much longer a step takes while others go on beside it; k times where that was not measured."""
        side, count = probe.get("side_by_side") or {}, self.side_by_side
        alone, together = side.get("1"), side.get(str(count))
        return count * alone / together if alone and together else float(count if probe["device"] != "cpu" else 1)


def _grouped(items: list[tuple[RunPaths, Timing]], seconds: Any, what: str, rank: int) -> Iterator[Estimate]:
    """An estimate for each device: the median over its runs."""
    found = defaultdict[tuple[str, bool], list[float]](list)
    for item in items:
        value = seconds(item)
        if value is not None:
            found[item[1].kind.device, item[1].block["device"] != "cpu"].append(value)
    for (device, on_gpu), values in found.items():
        count = f"{len(values)} {what}{'s' * (len(values) > 1)}"
        yield Estimate(statistics.median(values), device, on_gpu, count, rank)


def _by_epochs(item: tuple[RunPaths, Timing]) -> float:
    return item[1].epoch * item[1].run.recipe.epochs


def _finished(item: tuple[RunPaths, Timing]) -> float | None:
    """Of a finished run, all its attempts together."""
    result = _json(item[0].result)
    return result["seconds"] if result else None


def _readable(paths: RunPaths) -> Timing | None:
    try:
        return read_timing(paths)
    except (UserError, KeyError, ValueError, ZeroDivisionError):
        return None  # a damaged run is status's to tell


def _json(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except UserError:
        return None


def _folders(path: Path) -> list[str]:
    if not path.is_dir():
        return []
    with os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
