"""A probe: a few training steps of each distinct design of a sweep, on this machine. What they tell, `price` uses.

Images are random numbers, so that the time of reading real ones is not in it. Each measurement has a process of its
own: its memory is nobody else's.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import resource
import statistics
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.errors import UserError
from ablation.family import Architecture
from ablation.records import now
from ablation.run import read_json, write_json
from ablation.sweep import Sweep

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from ablation.stopwatch import Timer

SIDES = {"cuda": (1, 2, 4), "cpu": (1, 2)}
"""How many runs are tried side by side."""
TIMINGS, ENOUGH_SECONDS, LONG_SECONDS = 5, 0.5, 20.0
"""So many timings; more until they have taken as long as that in all; fewer where a step is slow."""
CHUNK_SECONDS = 0.05
"""Of shorter steps several are timed at once."""
WAIT_SECONDS = 900.0
"""A process that says nothing for so long is given up."""


@dataclass(frozen=True)
class Task:
    """A design as a sweep trains it."""

    design: Architecture
    batch: int
    norm_batch: int
    precision: str
    threads: int
    gpus: int | None
    processes: int = 1
    """Those that share a batch, each on a GPU of its own; the probe times one of them, without their talk."""

    @property
    def share(self) -> int:
        """Images that one process takes of each batch."""
        return max(1, self.batch // self.processes)

    def about(self) -> dict[str, Any]:
        """What a speed is of, as the file holds it."""
        return {
            "design_name": self.design.name,
            "design": self.design.to_dict(),
            **{key: getattr(self, key) for key in ("batch", "norm_batch", "precision", "threads", "processes")},
        }


@dataclass(frozen=True)
class ProbeJob:
    """A probe, here or in a Slurm job; plain values only, since it is pickled."""

    runs: Path
    sweep: str
    tasks: tuple[Task, ...]
    baselines: tuple[Task, ...]
    """Those that are run side by side too: the arms of a panel cost about the same."""

    def __call__(self, say: Callable[[str], None] = print) -> dict[str, Any]:
        """Measure every task and save what was found; see `probe`."""
        entries, device = [], dict[str, Any]()
        for task in self.tasks:
            here, entry = _measure(task, side_by_side=task in self.baselines)
            entries.append(entry)
            device = here if here["device"] else device
            say(_line(entry))
        if not device:
            raise UserError("nothing could be measured", remedy=_line(entries[0]))
        answer = {**device, "created": now(), "images": "random numbers", "designs": entries}
        return _save(self.runs / self.sweep / "probes", answer)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues again: the same probe."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def probe_job(sweep: Sweep, runs: Path) -> ProbeJob:
    """The probe of a sweep: one task for each design that it trains, at its own batch."""
    resources = sweep.resources
    processes = resources.ranks
    asked = (sweep.precision, resources.threads, resources.gpus, processes)
    tasks, baselines = [], []
    for panel in sweep.panels:
        for arm in panel.arms:
            task = Task(arm.design, arm.recipe.batch, arm.recipe.norm_batch, *asked)
            tasks.append(task)
            if arm.name == panel.baseline:
                baselines.append(task)
    return ProbeJob(runs, sweep.name, tuple(dict.fromkeys(tasks)), tuple(dict.fromkeys(baselines)))


def probe(sweep: Sweep, runs: Path, *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Time each distinct design of a sweep here, and save that in `<runs>/<sweep>/probes/<device>.json`.

    The answer holds, by design: seconds a step, images/s, seconds an evaluated image, bytes at the peak, the fastest
    layout, and for the panels' baselines images/s of 1, 2, 4 runs side by side. What does not fit has an `error`.

    Raises UserError where the sweep asks for a GPU and there is none.
    """
    return probe_job(sweep, runs)(say)


def print_probe(answer: dict[str, Any]) -> None:
    """What a probe found, as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{answer['device_name']}: random images", title_justify="left")
    for name in ("design", "batch", "s a step", "images/s", "peak memory", "fastest layout", "side by side"):
        table.add_column(name, justify="left" if name in ("design", "fastest layout", "side by side") else "right")
    for entry in answer["designs"]:
        if entry.get("error"):
            table.add_row(entry["design_name"], str(entry["batch"]), "-", "-", "-", "-", entry["error"])
            continue
        speeds = (f"{entry['seconds_a_step']:.3g}", f"{entry['images_per_second']:,.0f}")
        memory = f"{entry['peak_memory_bytes'] / 2**30:.2f} GiB"
        table.add_row(
            entry["design_name"], str(entry["batch"]), *speeds, memory, _layout(entry), _sides(entry["side_by_side"])
        )
    console = Console()
    Console(width=max(console.width, 120), highlight=False, markup=False).print(table)


def _line(entry: dict[str, Any]) -> str:
    if entry.get("error"):
        return f"{entry['design_name']}: {entry['error']}"
    return f"{entry['design_name']}: {entry['seconds_a_step']:.3g} s a step, {entry['images_per_second']:,.0f} images/s"


def _layout(entry: dict[str, Any]) -> str:
    fastest, other = sorted(entry["layouts"].items(), key=lambda item: item[1])
    return f"{fastest[0]} (x{other[1] / fastest[1]:.2f})"


def _sides(sides: dict[str, float | None] | None) -> str:
    if not sides:
        return ""
    return ", ".join(
        f"{count}: {speed:,.0f}/s" if speed else f"{count}: does not fit" for count, speed in sides.items()
    )


def _measure(task: Task, *, side_by_side: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The device, and what was found of one task there. Raises UserError where it can't be tried at all."""
    alone = _together(task, 1, everything=True)[0]
    device = {key: alone.get(key) for key in ("device", "device_name")}
    entry = {**task.about(), **{key: value for key, value in alone.items() if key not in device}}
    if side_by_side and not entry.get("error"):
        speeds = {"1": entry["images_per_second"]}
        for count in _sides_here(str(device["device"]), task.threads)[1:]:
            found = _together(task, count, everything=False)
            fits = not any(item.get("error") for item in found)
            speeds[str(count)] = sum(item["images_per_second"] for item in found) if fits else None
        fastest = max((speed, -int(count)) for count, speed in speeds.items() if speed)
        entry |= {"side_by_side": speeds, "fastest_side_by_side": -fastest[1]}
    return device, entry


def _sides_here(device: str, threads: int) -> tuple[int, ...]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return tuple(count for count in SIDES[device] if device == "cuda" or count == 1 or count * threads <= cores)


def _together(task: Task, count: int, *, everything: bool) -> list[dict[str, Any]]:
    """What `count` fresh processes find that work at the same time."""
    members = [_start(task, everything) for _ in range(count)]
    try:
        ready = [_hear(member) for member in members]
        if lacking := [said for said in ready if "error" in said]:
            return lacking
        for _, pipe in members:
            pipe.send("go")
        return [_hear(member) for member in members]
    finally:
        for process, pipe in members:
            process.kill()
            process.join()
            pipe.close()


Member = tuple[SpawnProcess, Connection]


def _start(task: Task, everything: bool) -> Member:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_member, args=(task, everything, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _hear(member: Member) -> dict[str, Any]:
    """What a process says next. Raises UserError for a mistake that no other task escapes."""
    process, pipe = member
    try:
        if not pipe.poll(WAIT_SECONDS):
            return {"error": f"said nothing for {WAIT_SECONDS:.0f} s"}
        said = pipe.recv()
    except (EOFError, OSError):
        process.join(5)
        killed = " (out of memory?)" if process.exitcode == -9 else ""
        return {"error": f"its process ended with {process.exitcode}{killed}"}
    if isinstance(said, tuple):
        raise UserError(said[0], where=said[1], remedy=said[2])
    return said


def _member(task: Task, everything: bool, pipe: Connection) -> None:
    """What a measuring process does."""
    import torch

    try:
        found = _find(task, everything, pipe)
    except torch.cuda.OutOfMemoryError:
        found = {"error": f"does not fit this GPU at a batch of {task.share}"}
    except UserError as error:
        pipe.send((error.message, error.where, error.remedy))
        return
    pipe.send(found)


def _find(task: Task, everything: bool, pipe: Connection) -> dict[str, Any]:
    import torch

    from ablation.execution import choose_execution, device_name
    from ablation.stopwatch import Timer

    execution = choose_execution(task.precision, task.threads, task.gpus)
    execution.apply()
    before = _resident()
    norm_batch = min(task.norm_batch, task.share)
    timer = Timer(task.design, execution, task.share, norm_batch)
    steps = _steps_at_once(timer)
    pipe.send({"ready": True})
    pipe.recv()
    seconds = _seconds(timer, steps)
    found: dict[str, Any] = {"device": execution.device, "device_name": device_name(execution.device)}
    found |= {"seconds_a_step": seconds, "images_per_second": task.batch / seconds}
    if not everything:
        return found
    found["evaluation_seconds_an_image"] = timer.evaluation_seconds() / task.processes
    on_gpu = execution.device == "cuda"
    found["peak_memory_bytes"] = torch.cuda.max_memory_allocated() if on_gpu else _resident() - before
    del timer
    other = Timer(task.design, execution, task.share, norm_batch, torch.contiguous_format)
    layouts = {"channels_last": seconds, "contiguous": _seconds(other, _steps_at_once(other))}
    fastest = min(layouts, key=lambda name: layouts[name])
    return {**found, "layouts": layouts, "fastest_layout": fastest, "side_by_side": None}


def _resident() -> int:
    """The most memory that this process has held so far, bytes; Linux counts its parent's in `ru_maxrss`."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _steps_at_once(timer: Timer) -> int:
    """Warms up; how many steps are worth timing."""
    first = timer.seconds(1)
    second = timer.seconds(1) if first < LONG_SECONDS else first
    return max(1, math.ceil(CHUNK_SECONDS / second))


def _seconds(timer: Timer, steps: int) -> float:
    """The median time of a step."""
    found: list[float] = []
    while len(found) < TIMINGS or sum(found) * steps < ENOUGH_SECONDS:
        found.append(timer.seconds(steps) / steps)
        if sum(found) * steps > LONG_SECONDS:
            break
    return statistics.median(found)


def _save(folder: Path, answer: dict[str, Any]) -> dict[str, Any]:
    """Write the answer beside what earlier probes found of other designs."""
    slug = re.sub(r"[^a-z0-9]+", "-", str(answer["device_name"]).lower()).strip("-")
    path = folder / f"{slug}.json"
    folder.mkdir(parents=True, exist_ok=True)
    fresh = [_key(entry) for entry in answer["designs"]]
    kept = [entry for entry in _earlier(path) if _key(entry) not in fresh]
    write_json(path, {**answer, "designs": kept + answer["designs"]})
    return answer


def _earlier(path: Path) -> Sequence[dict[str, Any]]:
    try:
        return read_json(path)["designs"]
    except (UserError, KeyError):
        return []


def _key(entry: dict[str, Any]) -> str:
    return repr(
        [repr(entry[key]) for key in ("design_name", "batch", "norm_batch", "precision", "threads", "processes")]
    )
