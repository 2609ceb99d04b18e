"""What a launch will cost, from what was measured: hours of GPUs (of CPUs, where there are none), and wall-clock."""

from __future__ import annotations

import heapq
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablation.errors import UserError
from ablation.measured import Estimate, Measured
from ablation.run import Run, RunPaths
from ablation.schema import Resources
from ablation.sweep import Sweep

UNKNOWN = "unknown, measure with --probe"
ASSUMED_RANK = 4
FORWARD_SHARE = 1 / 3
"""Of a training step's work: evaluation is forward alone."""
TAIL_BYTES = 65_536
"""An epoch's record is found in a log's last bytes."""


@dataclass(frozen=True)
class ArmPrice:
    """What an arm's runs will cost that are still to be trained."""

    panel: str
    arm: str
    runs: int
    gpu_hours: float | None
    """Of all of them; None: unknown."""
    hours: float | None
    """Wall-clock of one whole run."""
    device: str | None
    how: str
    """What it was taken from."""


@dataclass(frozen=True)
class Price:
    """What runs will cost. `gpu_hours` are hours of a CPU where `unit` says so."""

    unit: str
    """GPU-hours or CPU-hours."""
    arms: list[ArmPrice]
    runs: dict[str, float | None]
    """GPU-hours by a run's id; None: unknown."""
    workers: int
    """Runs at a time."""
    wall_hours: float | None
    """From the first start to the last end, without waiting in a queue; None where a part is unknown."""

    @property
    def known(self) -> float:
        """GPU-hours of what is known."""
        return sum(hours for hours in self.runs.values() if hours is not None)

    @property
    def unknown(self) -> list[str]:
        """The arms of which nothing is known."""
        return list(dict.fromkeys(arm.arm for arm in self.arms if arm.gpu_hours is None))

    @property
    def total(self) -> float | None:
        """GPU-hours of all; None where a part is unknown."""
        return None if self.unknown else self.known

    def to_json(self) -> dict[str, Any]:
        """`launch --dry-run --json`, beside the runs."""
        return {
            "unit": self.unit,
            "gpu_hours": self.total,
            "known_gpu_hours": self.known,
            "wall_hours": self.wall_hours,
            "workers": self.workers,
            "arms": [asdict(arm) for arm in self.arms],
            "unknown": self.unknown,
        }

    def line(self) -> str:
        """`12 runs: 34.5 GPU-hours, about 8.6 h with 4 at a time`."""
        runs = f"{len(self.runs)} run{'s' * (len(self.runs) != 1)}"
        if self.total is None:
            part = f"{self.known:.3g} {self.unit} are known; " if self.known else ""
            whys = ", ".join(dict.fromkeys(arm.how for arm in self.arms if arm.gpu_hours is None))
            return f"{runs}: {part}of {', '.join(self.unknown)}: {whys}"
        wall = f", about {duration(self.wall_hours or 0)} with {self.workers} at a time"
        return f"{runs}: {self.total:.3g} {self.unit}{wall if self.runs else ''}"


def price(
    sweep: Sweep,
    runs: Path,
    ids: Iterable[str],
    *,
    throughput: float | Mapping[str, float] | None = None,
    workers: int | None = None,
) -> Price:
    """What the runs of a sweep named by `ids` will cost, less the epochs that they have behind them.

    Of each arm the first that there is: finished runs of it with other seeds, epochs of runs of it, runs of the same
    design, batch and precision in any sweep below `runs`, a probe, the `throughput` that is stated (images/s of each
    arm; or one number, that of the first panel's baseline, from which others differ as their MACs do). Of several
    devices the one counts on which most arms were measured. `workers`: runs at a time, where not as the sweep says.
    """
    resources, wanted = sweep.resources, set(ids)
    measured = Measured(runs, sweep.name, resources)
    arms = _arms(sweep)
    todo = {key: shares for key, own in arms.items() if (shares := _left(own, runs, wanted))}
    found = {key: measured.of(arms[key]) for key in todo}
    device = _device(found)
    best = {key: _best(found[key], device) or _assumed(sweep, arms[key][0], measured, throughput) for key in todo}
    unit, each = _rate(resources, found, device)
    why = {key: _unknown(measured, arms[key][0]) for key in todo}
    rows = [_row(key, shares, best[key], each, why[key]) for key, shares in todo.items()]
    walls = {
        id: row.hours and row.hours * part
        for row, key in zip(rows, todo, strict=True)
        for id, part in todo[key].items()
    }
    order = [id for id in dict.fromkeys(run.id for run in sweep.runs()) if id in walls]
    workers = max(1, min(len(order), workers or resources.parallel * resources.side_by_side))
    hours = {id: None if (wall := walls[id]) is None else wall * each for id in order}
    return Price(unit, rows, hours, workers, _makespan([walls[id] for id in order], workers))


def _unknown(measured: Measured, run: Run) -> str:
    """What to say of an arm without a price."""
    name = run.dataset.name
    return UNKNOWN if measured.images(run.dataset) else f"unknown: no run has told yet how many images {name} has"


def _row(
    key: tuple[str, str], shares: Mapping[str, float], best: Estimate | None, each: float, unknown: str
) -> ArmPrice:
    """An arm's line; `each`: GPUs (or CPUs) that a run takes."""
    if best is None:
        return ArmPrice(*key, len(shares), None, None, None, unknown)
    hours = best.seconds / 3600
    return ArmPrice(*key, len(shares), hours * each * sum(shares.values()), hours, best.device or None, best.how)


def _rate(resources: Resources, found: Mapping[Any, list[Estimate]], device: str | None) -> tuple[str, float]:
    """The unit, and how many of it an hour of a run takes."""
    if _on_gpu(resources.gpus, found, device):
        return "GPU-hours", resources.nodes * (resources.gpus or 1) / resources.side_by_side
    return "CPU-hours", resources.ranks * resources.threads


def check_limit(price: Price, limit: float) -> None:
    """Raises UserError where the runs cost more than `limit` GPU-hours, or it is not known of all what they cost."""
    over = price.known > limit
    if not over and not price.unknown:
        return
    cost = "; ".join(f"{arm.arm}: {arm.gpu_hours:.3g}" for arm in price.arms if arm.gpu_hours is not None)
    said = f" ({cost})" if cost else ""
    if over:
        raise UserError(
            f"this launch takes {price.known:.3g} {price.unit}{said}, more than the {limit:g} of --max-gpu-hours",
            remedy="Raise the limit, or start a part: --only, --set seeds=1, --set panels.*.recipe.epochs=...",
        )
    rest = f"; the rest takes {price.known:.3g} {price.unit}{said}" if said else ""
    raise UserError(
        f"it is not known what {', '.join(price.unknown)} will take{rest}",
        remedy="Measure with --probe, or launch without --max-gpu-hours.",
    )


def print_price(price: Price) -> None:
    """The price on a terminal: a line an arm, and the sum."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=price.line(), title_justify="left")
    for name in ("panel", "arm", "runs", "a run takes", price.unit, "measured on", "by"):
        table.add_column(name, justify="right" if name in ("runs", "a run takes", price.unit) else "left")
    for arm in price.arms:
        known = arm.hours is not None and arm.gpu_hours is not None
        taken = duration(arm.hours) if arm.hours is not None else "?"
        table.add_row(
            arm.panel,
            arm.arm,
            str(arm.runs),
            taken,
            f"{arm.gpu_hours:.3g}" if known else "?",
            arm.device or "",
            arm.how,
        )
    console = Console()
    Console(width=max(console.width, 120), highlight=False, markup=False).print(table)


def duration(hours: float) -> str:
    """`43 s`, `12 min`, `8.6 h`, `3.2 days`."""
    for unit, size, until in (("s", 1 / 3600, 1.5 / 60), ("min", 1 / 60, 1.5), ("h", 1.0, 48.0)):
        if hours < until:
            return f"{hours / size:.3g} {unit}"
    return f"{hours / 24:.3g} days"


def _arms(sweep: Sweep) -> dict[tuple[str, str], list[Run]]:
    """Runs by panel and arm, each run once: two panels may share it."""
    found: dict[tuple[str, str], list[Run]] = {}
    seen = set[str]()
    for run in sweep.runs():
        own = found.setdefault((run.panel, run.arm), [])
        if run.id not in seen:
            own.append(run)
        seen.add(run.id)
    return found


def _left(own: Sequence[Run], runs: Path, wanted: set[str]) -> dict[str, float]:
    """The part of each wanted run that is still to be trained, by id."""
    todo = [run for run in own if run.id in wanted]
    return {run.id: 1 - _epochs_done(RunPaths(runs, run.sweep, run.id)) / run.recipe.epochs for run in todo}


def _epochs_done(paths: RunPaths) -> int:
    """Epochs that a run will not train again."""
    if not paths.resumes or not paths.log.exists():
        return 0
    with open(paths.log, "rb") as file:
        file.seek(max(0, paths.log.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")
    for line in reversed(lines[:-1]):
        try:
            record = json.loads(line)
        except ValueError:
            continue  # cut in two, or damaged: status tells that
        if isinstance(record, dict) and record.get("kind") == "epoch":
            return int(record["epoch"])
    return 0


def _device(found: Mapping[Any, list[Estimate]]) -> str | None:
    """The device on which most arms were measured; of equals, that of the nearer measurements."""
    arms, ranks = Counter[str](), Counter[str]()
    for estimates in found.values():
        arms.update({item.device for item in estimates})
        ranks.update({item.device: item.rank for item in estimates})
    return min(arms, key=lambda device: (-arms[device], ranks[device], device)) if arms else None


def _on_gpu(gpus: int | None, found: Mapping[Any, list[Estimate]], device: str | None) -> bool:
    if gpus is not None:
        return gpus > 0
    if device is None:
        return shutil.which("nvidia-smi") is not None  # one where there is one
    return any(item.on_gpu for estimates in found.values() for item in estimates if item.device == device)


def _best(estimates: Sequence[Estimate], device: str | None) -> Estimate | None:
    return min(estimates, key=lambda item: (item.device != device, item.rank), default=None)


def _assumed(
    sweep: Sweep, run: Run, measured: Measured, throughput: float | Mapping[str, float] | None
) -> Estimate | None:
    """From images a second that somebody stated."""
    if throughput is None:
        return None
    panel = sweep.panels[0]
    macs = {(item.name, arm.name): arm.cost.macs for item in sweep.panels for arm in item.arms}
    if isinstance(throughput, Mapping):
        speed, how = throughput.get(run.arm), "assumed images/s"
    else:
        speed = throughput * macs[panel.name, panel.baseline] / macs[run.panel, run.arm]
        how = f"assumed: {throughput:g} images/s of {panel.baseline}, by MACs"
    if not speed:
        return None
    seconds = measured.seconds(run, run.recipe.batch / speed, FORWARD_SHARE / speed)
    return None if seconds is None else Estimate(seconds, "", True, how, ASSUMED_RANK)


def _makespan(walls: Sequence[float | None], workers: int) -> float | None:
    """Hours until the last of these ends, each started by the first worker that is free; None where one is unknown."""
    free = [0.0] * workers
    for wall in walls:
        if wall is None:
            return None
        heapq.heapreplace(free, free[0] + wall)
    return max(free)
