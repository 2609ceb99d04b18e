"""Command: stop runs. What was trained is kept: launch again to go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ablation import slurm
from ablation.board import LISTED, Board, Row, count, read_board
from ablation.command import print_json, run
from ablation.errors import UserError, did_you_mean
from ablation.outlook import look
from ablation.run import RunPaths
from ablation.sweep import Sweep, load_sweep

SEVERAL = ("--arm", "--seed", "--run", "--set")
WAIT_SECONDS = 15.0
"""So long is waited for workers to save and leave."""
LOOK_SECONDS = 1.0
STOPPABLE = ("running", "waiting", "unknown")


def main(
    sweep: Annotated[Path, typer.Argument(help="The sweep file.")],
    arm: Annotated[list[str] | None, typer.Option(help="Only runs of these arms.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only runs with these seeds.")] = None,
    run: Annotated[list[str] | None, typer.Option(help="Only these runs: ids, or the starts of ids.")] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as in the sweep file.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be stopped; stop nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Stop the runs of a sweep that run or wait: all of them, or some, while the workers go on with the others.

    Each run saves at its next step, and is left alone until it is launched again. Workers and Slurm jobs with nothing
    else to do are ended. Exit code 1: something is still there after 15 s.

    \b
    Example:
      python -m ablation.cancel sweeps/table3.yaml
      python -m ablation.cancel sweeps/table3.yaml --arm resnext50_32x4d --seed 1 2
    """
    content = load_sweep(sweep, set_ or ())
    chosen = Chosen(arm or [], seed or [], run or [])
    plan = make_plan(content, runs, chosen)
    left = [] if dry_run else carry_out(plan)
    if json:
        print_json({"sweep": content.name, **plan.to_json(), "remaining": left, "dry_run": dry_run})
    else:
        print(say(plan, left, dry_run=dry_run))
    return 1 if left else 0


@dataclass(frozen=True)
class Chosen:
    """Which runs are meant; all, where nothing is named."""

    arms: list[str]
    seeds: list[int]
    runs: list[str]

    @property
    def all(self) -> bool:
        """Whether the whole sweep is meant."""
        return not (self.arms or self.seeds or self.runs)

    def check(self, board: Board) -> None:
        """Raises UserError where a name fits no run."""
        known = {row.arm for row in board.rows}, {row.seed for row in board.rows}, {row.id for row in board.rows}
        for arm in self.arms:
            if arm not in known[0]:
                raise UserError(f"--arm {arm}: no such arm", remedy=did_you_mean(arm, sorted(known[0])))
        for seed in self.seeds:
            if seed not in known[1]:
                seeds = ", ".join(map(str, sorted(known[1])))
                raise UserError(f"--seed {seed}: no such seed", remedy=f"Choose from: {seeds}.")
        for start in self.runs:
            if not any(id.startswith(start) for id in known[2]):
                raise UserError(f"--run {start}: no such run", remedy="`status --json` lists the runs' ids.")

    def __call__(self, row: Row) -> bool:
        """Whether this run is meant: it fits each kind of name that is given."""
        return (
            (not self.arms or row.arm in self.arms)
            and (not self.seeds or row.seed in self.seeds)
            and (not self.runs or row.id.startswith(tuple(self.runs)))
        )


@dataclass
class Plan:
    """What is to be stopped."""

    paths: list[RunPaths]
    """Of the runs."""
    jobs: list[str] = field(default_factory=list)
    """Slurm's, of launches that have nothing else to do."""
    processes: dict[str, str] = field(default_factory=dict)
    """Local workers: when each pid started."""
    elsewhere: list[str] = field(default_factory=list)
    """Machines with workers that can't be signalled from here: they see that their runs are cancelled."""
    trouble: str = ""
    """Why Slurm's jobs are not known."""

    def to_json(self) -> dict[str, Any]:
        """Without what is derived."""
        ids = [path.id for path in self.paths]
        return {"cancelled": ids, "jobs": self.jobs, "processes": [int(pid) for pid in self.processes]}


def make_plan(sweep: Sweep, runs: Path, chosen: Chosen) -> Plan:
    """What is to be stopped, found out with one squeue. Raises UserError where a name fits no run."""
    asked = slurm.Slurm(every=slurm.CALM_SECONDS)
    board = read_board(sweep, runs, asked)
    chosen.check(board)
    ids = [row.id for row in board.once if row.state in STOPPABLE and chosen(row)]
    plan = Plan([RunPaths(runs, sweep.name, id) for id in ids])
    outlook = look(runs, sweep.name, None, asked)
    plan.trouble = next((why for row in ids for why in outlook.unknown.get(row, ())), "")
    known = {row.id for row in board.rows}
    others = {row.id for row in board.once if row.state in STOPPABLE} - set(ids)
    for live in outlook.live:
        foreign = [path for id in live.launch.runs if id not in known and _open(path := RunPaths(runs, sweep.name, id))]
        if chosen.all or not (foreign or others.intersection(live.launch.runs)):
            plan.paths += [path for path in foreign if path not in plan.paths]
            plan.jobs += [job.id for job in live.jobs]
            plan.processes |= live.launch.processes
    plan.elsewhere = sorted({row.node for row in board.once if row.id in ids and row.node and not row.job} - {_node()})
    return plan


def _node() -> str:
    return os.uname().nodename


def _open(paths: RunPaths) -> bool:
    """Whether a run that the sweep file no longer has is still to be done by the launch that has it."""
    return paths.folder.is_dir() and not paths.result.exists() and not paths.cancelled.exists()


def carry_out(plan: Plan) -> list[str]:
    """Mark the runs, signal the workers, wait a while; what is still there then.

    Raises UserError where Slurm does not answer: runs are marked, and its jobs wait on.
    """
    for paths in plan.paths:
        paths.folder.mkdir(parents=True, exist_ok=True)
        paths.cancelled.touch()
    for pid in plan.processes:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    trouble = plan.trouble or (slurm.cancel(arrays(plan.jobs)) if plan.jobs else "")
    if trouble:
        raise UserError(
            f"{trouble}: its jobs could not be cancelled",
            remedy=f"{count(len(plan.paths))} marked as cancelled: workers leave them alone. "
            "Mend that and cancel again, so that no job waits for nothing.",
        )
    return wait_until_gone(plan, time.sleep)


def arrays(jobs: Sequence[str]) -> list[str]:
    """What scancel is told: a job, or elements of an array in one word, `12_[0-2,4]`: they can be thousands."""
    elements: dict[str, list[int]] = {}
    for job in jobs:
        array, _, index = job.partition("_")
        elements.setdefault(array, []).extend([int(index)] if index else [])
    return [f"{array}_[{spans(sorted(found))}]" if found else array for array, found in elements.items()]


def spans(numbers: Sequence[int]) -> str:
    """`0-2,4` of 0, 1, 2, 4."""
    starts = [n for index, n in enumerate(numbers) if not index or numbers[index - 1] != n - 1]
    ends = [n for index, n in enumerate(numbers) if index + 1 == len(numbers) or numbers[index + 1] != n + 1]
    return ",".join(f"{low}-{high}" if low < high else f"{low}" for low, high in zip(starts, ends, strict=True))


def wait_until_gone(plan: Plan, sleep: Callable[[float], None]) -> list[str]:
    """Wait until workers have saved and left, 15 s at most; what is still there then."""
    end = time.monotonic() + WAIT_SECONDS
    while (left := remaining(plan)) and time.monotonic() < end:
        sleep(LOOK_SECONDS)
    return left


def remaining(plan: Plan) -> list[str]:
    """Processes and jobs of the plan that have not ended."""
    from ablation.claim import process_started

    left = [f"process {pid}" for pid, began in plan.processes.items() if process_started(int(pid)) == began]
    if not plan.jobs:
        return left
    queue = slurm.ask_squeue([os.getuid()])
    if queue.trouble:
        return [*left, f"unknown: {queue.trouble}"]
    return left + [f"job {job.id} ({job.state})" for job in queue.jobs if job.live and job.id in set(plan.jobs)]


def say(plan: Plan, left: Sequence[str], *, dry_run: bool) -> str:
    """What was stopped, and what is still there."""
    if not plan.paths and not plan.jobs and not plan.processes:
        return "nothing runs or waits"
    verb = "would be cancelled" if dry_run else "cancelled"
    lines = [f"{verb}: {count(len(plan.paths))}"]
    lines += [f"  {path.id}" for path in plan.paths[:LISTED]]
    lines += [f"  and {len(plan.paths) - LISTED} more"] if len(plan.paths) > LISTED else []
    lines += [f"Slurm jobs: {' '.join(arrays(plan.jobs))}"] if plan.jobs else []
    lines += [f"processes: {' '.join(plan.processes)}"] if plan.processes else []
    lines += [f"workers on {node} stop by themselves" for node in plan.elsewhere]
    lines += [f"still there: {', '.join(left[:LISTED])}" + (" ..." if len(left) > LISTED else "")] if left else []
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, several=SEVERAL)
