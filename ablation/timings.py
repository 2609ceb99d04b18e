"""Times of training steps from the records of runs: what was trained need not be timed again."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.design import Design
from ablation.errors import UserError
from ablation.family import Architecture
from ablation.records import Record, last_epochs, read_records
from ablation.run import Run, RunPaths, load_run, read_json

if TYPE_CHECKING:
    from ablation.solver import Timed


@dataclass(frozen=True, order=True)
class Kind:
    """What a speed is of: only times of one kind are compared."""

    device: str
    precision: str
    threads: int
    batch: int
    layout: str

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}, {self.threads} threads, batch {self.batch}, {self.layout}"


@dataclass(frozen=True)
class Timing:
    """How long a run's training and evaluation took: medians over its epochs, input and all."""

    kind: Kind
    run: Run
    """Its panel and arm are not known here."""
    seconds: float
    """Of an optimiser step."""
    evaluation: float
    """Seconds an evaluated image."""
    epoch: float
    """Seconds an epoch, evaluation included."""
    block: dict[str, Any]
    """The execution block."""
    data: dict[str, Any]
    """What `run.json` says of the images: `train_images`, `evaluation_images`."""

    @property
    def design(self) -> Architecture:
        """What was trained."""
        return self.run.design


def read_timings(folder: Path) -> list[Timing]:
    """Of every run below `folder` that has recorded an epoch. Raises UserError where there is none."""
    found = [timing for path in sorted(folder.rglob("run.json")) if (timing := read_timing(_paths(path)))]
    if not found:
        raise UserError("no run here has recorded an epoch", where=str(folder), remedy="Name a folder of runs.")
    return found


def _paths(run_json: Path) -> RunPaths:
    sweep = run_json.parent.parent
    return RunPaths(sweep.parent, sweep.name, run_json.parent.name)


def read_timing(paths: RunPaths) -> Timing | None:
    """Of one run; None where it has recorded no epoch. Raises UserError where a file of it is damaged."""
    fields, epochs = read_json(paths.run_json), last_epochs(read_records(paths.log))
    block = fields.get("execution")
    if not block or not epochs:
        return None
    run = load_run(paths)
    kind = Kind(block["device_name"], block["dtype"], block["threads"], run.recipe.batch, block["layout"])
    speed = statistics.median(epoch["images_per_second"] for epoch in epochs)
    evaluation = statistics.median(_evaluation(epoch, run.recipe.batch) for epoch in epochs)
    epoch = statistics.median(epoch["seconds"] for epoch in epochs)
    return Timing(kind, run, run.recipe.batch / speed, evaluation, epoch, block, fields.get("data") or {})


def _evaluation(epoch: Record, batch: int) -> float:
    """Seconds an evaluated image: what an epoch took beside its training."""
    training = epoch["step"] / epoch["epoch"] * batch / epoch["images_per_second"]
    return max(0.0, epoch["seconds"] - training) / max(1, epoch["images"])


class Recorded:
    """A `Clock` that reads what runs recorded, all of one kind; between two recorded d (or C) it interpolates."""

    def __init__(self, timings: Iterable[Timing], reference: Architecture | None, source: str = "the runs") -> None:
        """Of several kinds, the one in which the reference was run.

        Raises UserError where that is none, or more than one.
        """
        kinds = defaultdict[Kind, list[Timing]](list)
        for timing in timings:
            kinds[timing.kind].append(timing)
        having = [kind for kind, own in kinds.items() if reference in {timing.design for timing in own}]
        if len(having) != 1:
            raise _no_kind(source, reference, having, sorted(kinds))
        self.kind, self.source = having[0], source
        self._seconds = defaultdict[Any, list[float]](list)
        for timing in kinds[self.kind]:
            self._seconds[timing.design].append(timing.seconds)

    def ratio(self, design: Architecture, reference: Architecture, near: float | None = None) -> Timed:
        """The medians' ratio, its range that of the runs; see `Clock`."""
        from ablation.solver import Timed  # its numpy takes longer to import than `launch --help` has

        own, how = self._times(design)
        other, _ = self._times(reference)
        middle = statistics.median(other)
        return Timed.of([seconds / middle for seconds in own], how)

    def bounds(self, design: Architecture, field: str) -> tuple[int, int] | None:
        """See `Clock`. Raises UserError where no run had such a design."""
        values = self._like(design, field) if isinstance(design, Design) else []
        if not values:
            raise UserError(
                f"no run of {self.source} was like {design.name}, so its time is not known",
                remedy="Measure here in place of that: --times here.",
            )
        return min(values), max(values)

    def about(self, reference: Architecture) -> dict[str, Any]:
        """See `Clock`."""
        kind = self.kind
        fields = {"device": kind.device, "precision": kind.precision, "threads": kind.threads, "batch": kind.batch}
        return {**fields, "seconds": statistics.median(self._times(reference)[0])}

    def _like(self, design: Design, field: str) -> list[int]:
        """The recorded d or C of designs that differ from this one in nothing else."""
        own = [known for known in self._seconds if isinstance(known, Design)]
        return sorted(_value(known, field) for known in own if _alike(known, design, field))

    def _times(self, design: Architecture) -> tuple[list[float], str]:
        if design in self._seconds:
            own = self._seconds[design]
            return own, f"{len(own)} run{'s' * (len(own) > 1)}"
        if isinstance(design, Design):
            for field in ("width", "cardinality"):
                values = self._like(design, field)
                below = [value for value in values if value < _value(design, field)]
                above = [value for value in values if value > _value(design, field)]
                if below and above:
                    return self._between(design, field, below[-1], above[0])
        raise UserError(f"no run of {self.source} tells the time of {design.name}", remedy="Measure: --times here.")

    def _between(self, design: Design, field: str, low: int, high: int) -> tuple[list[float], str]:
        share = (_value(design, field) - low) / (high - low)
        ends = [statistics.median(self._seconds[_at(design, field, value)]) for value in (low, high)]
        sign = "d" if field == "width" else "C"
        return [ends[0] + share * (ends[1] - ends[0])], f"between {sign}={low} and {sign}={high}"


def _value(design: Design, field: str) -> int:
    return design.widths[0] if field == "width" else design.cardinality


def _at(design: Design, field: str, value: int) -> Design:
    return design.with_width(value) if field == "width" else replace(design, cardinality=value)


def _alike(known: Design, design: Design, field: str) -> bool:
    return known.doubles and _at(known, field, _value(design, field)) == design


def _no_kind(source: str, reference: Any, having: list[Kind], kinds: list[Kind]) -> UserError:
    name = reference.name if reference else "a budget that is no design"
    if having:
        return UserError(
            f"{source} has runs of {name} of several kinds: {'; '.join(map(str, having))}",
            remedy="Times of different kinds are not compared: name the folder of one kind's runs.",
        )
    return UserError(
        f"{source} has no run of {name}, the budget's own design (it has {'; '.join(map(str, kinds))})",
        remedy="Times are compared with its time: run it too, or measure here: --times here.",
    )
