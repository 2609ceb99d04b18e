"""Command: start the workers that the missing runs need."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablation.board import Board, read_board
from ablation.command import print_json, run
from ablation.errors import UserError
from ablation.family import FamilyDesign
from ablation.launch.request import Request, check_shares, place
from ablation.launches import Launch, new_launch
from ablation.registration import changes, register, registrations, related
from ablation.run import prepare
from ablation.site import load_site
from ablation.snapshot import Snapshot, take_snapshot
from ablation.sweep import load_sweep

if TYPE_CHECKING:
    from submitit import Job

SEVERAL = ("--only", "--set")


def main(
    sweep: Annotated[Path, typer.Argument(help="The sweep file, such as sweeps/table3.yaml.")],
    on: Annotated[
        str | None,
        typer.Option(
            help="slurm, local (workers on this machine) or here (in this process). By default: here inside "
            "a Slurm allocation, slurm where this machine belongs to a cluster, else local."
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as in the sweep file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where data sets lie; else $ABLATION_DATA.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these runs: failed, missing, names of arms, seeds; all must fit.")
    ] = None,
    chain: Annotated[
        int, typer.Option(min=0, help="Slurm: so many jobs follow each one, where jobs may not queue again.")
    ] = 0,
    max_gpu_hours: Annotated[
        float | None, typer.Option(min=0, help="Refuse to start what costs more, or an unknown amount.")
    ] = None,
    throughput: Annotated[
        float | None, typer.Option(min=0, help="Images/s of the baseline, where nothing was measured yet.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Time a few steps of each design, for the price; start nothing else.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show every run and the job script; start nothing.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="With local workers: do not wait.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Start the workers that a sweep's missing runs need; what is done, running or waiting is left alone.

    Launch again after anything: what was interrupted goes on from its checkpoint, what failed is tried again.

    \b
    Example:
      python -m ablation.launch sweeps/fashion_mnist.yaml
      python -m ablation.launch sweeps/table3.yaml --on slurm --dry-run
      python -m ablation.launch sweeps/table3.yaml --only failed
    """
    overrides = tuple(set_ or ())
    request = Request(
        load_sweep(sweep, overrides),
        runs.absolute(),
        place(on),
        load_site(),
        data_dir and data_dir.absolute(),
        overrides,
        tuple(only or ()),
        chain,
    )
    request.sweep.count_families()
    check_shares(request.sweep)
    if probe:
        return measure(request, as_json=json)
    limits = Limits(throughput, max_gpu_hours, dry_run=dry_run)
    return carry_out(request, limits, detach=detach, as_json=json)


@dataclass(frozen=True)
class Limits:
    """What a launch may cost."""

    throughput: float | None
    """Images/s of the baseline, where nothing was measured."""
    gpu_hours: float | None
    dry_run: bool


def carry_out(request: Request, limits: Limits, *, detach: bool, as_json: bool) -> int:
    """Price what is to start, start it unless that is too much, and wait where that was asked for; the exit code."""
    from ablation.price import check_limit, price

    board = read_board(request.sweep, request.runs)
    todo, others = request.todo(board), board.ids("running", "waiting")
    cost = price(request.sweep, request.runs, todo, throughput=limits.throughput, workers=side_by_side(request))
    if limits.dry_run:
        from ablation.launch.dry_run import show_plan

        return show_plan(request, board, cost, as_json=as_json)
    if limits.gpu_hours is not None:
        check_limit(cost, limits.gpu_hours)
    if todo and cost.known:
        typer.echo(cost.line(), err=True)
    jobs = start(request, todo) if todo else []
    waited_for = todo if request.on == "here" else []
    if request.on == "local" and not detach and todo + others:
        from ablation.progress import wait_for

        waited_for = todo + others
        wait_for(jobs, request.sweep, request.runs, waited_for)
    return report(read_board(request.sweep, request.runs), as_json=as_json, waited_for=waited_for)


def measure(request: Request, *, as_json: bool) -> int:
    """Time a few steps of each design: here, or in a short Slurm job that this does not wait for."""
    if request.on == "slurm":
        from ablation.launch.slurm import submit_probe

        launch, code = make_ready(request, [])
        submit_probe(request, launch, code)
        return 0
    from ablation.probe import print_probe, probe

    answer = probe(request.sweep, request.runs, say=lambda line: typer.echo(line, err=True))
    print_json(answer) if as_json else print_probe(answer)
    return 0


def side_by_side(request: Request) -> int | None:
    """Runs at a time, where that is not the sweep's to say."""
    from ablation.launch.local import worker_count

    workers = {"local": worker_count, "here": lambda request: 1}.get(request.on)
    return request.sweep.resources.side_by_side * workers(request) if workers else None


def start(request: Request, todo: list[str]) -> list[Job[Any]]:
    """Start workers for some runs; the local jobs that can be waited for."""
    from ablation.launch import local, slurm

    slurm.fetch_data(request) if request.on == "slurm" else local.check_here(request)
    launch, code = make_ready(request, todo)
    try:
        if request.on == "slurm":
            slurm.submit(request, launch, todo, code)
        elif request.on == "local":
            return local.start_local(request, launch, todo, code)
        else:
            local.start_here(request, launch, todo)
    except UserError:
        shutil.rmtree(launch.folder, ignore_errors=True)
        raise
    return []


def make_ready(request: Request, todo: list[str]) -> tuple[Launch, Snapshot]:
    """Write the runs' folders, the registration, the copies of code and sweep. Raises UserError where that fails."""
    wanted = set(todo)
    try:
        for item in request.sweep.runs():
            if item.id in wanted:
                paths = request.sweep.paths(request.runs, item)
                prepare(item, paths)
                paths.cancelled.unlink(missing_ok=True)
        if todo:
            announce(request)
        launch = new_launch(request.runs, request.sweep.name)
        launch.keep(request.sweep.path, request.overrides)
        arms = [arm.design for panel in request.sweep.panels for arm in panel.arms]
        families = {design.family for design in arms if isinstance(design, FamilyDesign)}
        return launch, take_snapshot(request.runs, sorted(families))
    except OSError as error:
        what = f"can't write run folders: {error.strerror or error}"
        raise UserError(what, where=str(request.runs), remedy="Mend that, or name another place: --runs.") from None


def announce(request: Request) -> None:
    """Freeze what the sweep is going to ask, before any run tells anything; say what is no longer as it was."""
    made, new = register(request.sweep, request.runs)
    if not new:
        return
    typer.echo(f"registered {request.sweep.name}: sha256 {made.digest[:16]}, {made.date}", err=True)
    first = related(registrations(request.runs, request.sweep.name), made.content)[0]
    for change in changes(first.content, made.content):
        typer.echo(f"exploratory, for it was registered otherwise on {first.date[:10]}: {change}", err=True)


def report(board: Board, *, as_json: bool, waited_for: list[str]) -> int:
    """Say where the sweep stands; 1 where a run that was waited for is not done."""
    from ablation.board import remarks

    if as_json:
        print_json(board.to_json())
    else:
        print("\n".join([f"{board.sweep}: {board.line()}", *remarks(board)]))
    return 1 if set(waited_for) - set(board.ids("done")) else 0


if __name__ == "__main__":
    run(main, several=SEVERAL)
