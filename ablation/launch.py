"""Command: start the workers that the missing runs need."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablation.board import Board, read_board
from ablation.command import print_json, run
from ablation.errors import UserError
from ablation.job import WorkerJob
from ablation.launches import Launch, new_launch, slurm_answers
from ablation.registration import changes, register, registrations, related
from ablation.run import prepare
from ablation.site import load_site
from ablation.sweep import Sweep, load_sweep

if TYPE_CHECKING:
    from submitit import Job, LocalExecutor, SlurmExecutor

PLACES = ("slurm", "local", "here")


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    sweep: Sweep
    runs: Path
    data_dir: Path | None
    on: str


def main(
    sweep: Annotated[Path, typer.Argument(help="The sweep file, such as sweeps/table3.yaml.")],
    on: Annotated[
        str | None,
        typer.Option(
            help="slurm, local (workers on this machine) or here (in this process). By default: here inside "
            "a Slurm allocation, slurm where it answers within 2 s, else local."
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders lie.")] = Path("runs"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="key.path=value, as in the sweep file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where data sets lie; else $ABLATION_DATA.")] = None,
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
    """
    request = Request(load_sweep(sweep, set_ or ()), runs.absolute(), data_dir and data_dir.absolute(), place(on))
    request.sweep.count_families()
    board = read_board(request.sweep, request.runs)
    if dry_run:
        return show_plan(request, board, as_json=json)
    todo, others = board.ids("missing", "failed"), board.ids("running", "waiting")
    jobs = start(request, todo) if todo else []
    waited_for = todo if request.on == "here" else []
    if request.on == "local" and not detach and todo + others:
        from ablation.progress import wait_for

        waited_for = todo + others
        wait_for(jobs, request.sweep, request.runs, waited_for)
    return report(read_board(request.sweep, request.runs), as_json=json, waited_for=waited_for)


def start(request: Request, todo: list[str]) -> list[Job[Any]]:
    """Start workers for some runs; the local jobs that can be waited for."""
    if request.on != "slurm":
        check_here(request)
    try:
        for item in request.sweep.runs():
            if item.id in todo:
                prepare(item, request.sweep.paths(request.runs, item))
        announce(request)
        launch = new_launch(request.runs, request.sweep.name)
    except OSError as error:
        what = f"can't write run folders: {error.strerror or error}"
        raise UserError(what, where=str(request.runs), remedy="Mend that, or name another place: --runs.") from None
    return {"here": start_here, "local": start_local, "slurm": start_slurm}[request.on](request, launch, todo)


def announce(request: Request) -> None:
    """Freeze what the sweep is going to ask, before any run tells anything; say what is no longer as it was."""
    made, new = register(request.sweep, request.runs)
    if not new:
        return
    typer.echo(f"registered {request.sweep.name}: sha256 {made.digest[:16]}, {made.date}", err=True)
    first = related(registrations(request.runs, request.sweep.name), made.content)[0]
    for change in changes(first.content, made.content):
        typer.echo(f"exploratory, for it was registered otherwise on {first.date[:10]}: {change}", err=True)


def place(on: str | None) -> str:
    """Where workers start."""
    if on is None:
        return "here" if "SLURM_JOB_ID" in os.environ else "slurm" if slurm_answers() else "local"
    if on not in PLACES:
        raise UserError(f"--on {on}", remedy=f"Choose from: {', '.join(PLACES)}.")
    if on == "slurm" and not slurm_answers(10):
        raise UserError("no Slurm controller answers", remedy="Use --on local, or mend SLURM_CONF and PATH.")
    return on


def report(board: Board, *, as_json: bool, waited_for: list[str]) -> int:
    """Say where the sweep stands; 1 where a run that was waited for is not done."""
    from ablation.board import remarks

    if as_json:
        print_json(board.to_json())
    else:
        print("\n".join([f"{board.sweep}: {board.line()}", *remarks(board)]))
    return 1 if set(waited_for) - set(board.ids("done")) else 0


def check_here(request: Request) -> None:
    """Find out before any run starts what this machine lacks: data, a GPU, a fast bf16."""
    from ablation.worker import check

    resources = request.sweep.resources
    warning = check(request.sweep.runs(), resources.gpus, resources.threads, request.data_dir)
    if warning:
        typer.echo(f"warning: {warning}", err=True)


def worker_job(request: Request, launch: Launch, todo: list[str]) -> WorkerJob:
    """The worker that this launch starts, once or several times."""
    resources = request.sweep.resources
    return WorkerJob(
        runs=request.runs,
        sweep=request.sweep.name,
        ids=tuple(todo),
        launch=launch.id,
        gpus=resources.gpus,
        threads=resources.threads,
        checkpoint_minutes=resources.checkpoint_minutes,
        data_dir=request.data_dir,
    )


def start_here(request: Request, launch: Launch, todo: list[str]) -> list[Job[Any]]:
    """Work in this process."""
    launch.record("here", todo, [])
    worker_job(request, launch, todo)()
    return []


def start_local(request: Request, launch: Launch, todo: list[str]) -> list[Job[Any]]:
    """Start as many workers as the cores or the GPUs carry, through submitit's local executor.

    They are started deaf to Ctrl-C, which a terminal sends to them too, and to a terminal's end: a launch that waits
    tells them to stop by SIGTERM.
    """
    gpus = visible_gpus() if request.sweep.resources.gpus != 0 else []
    count = min(len(todo), request.sweep.resources.parallel, len(gpus) or local_workers(request.sweep))
    deaf = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        job = worker_job(request, launch, todo)
        jobs = [local_executor(launch, gpus[index : index + 1]).submit(job) for index in range(count)]
    finally:
        for number, handler in deaf.items():
            signal.signal(number, handler)
    launch.record("local", todo, [job.job_id for job in jobs])
    workers = "worker" if count == 1 else "workers"
    typer.echo(f"{count} {workers} started; follow: python -m ablation.status {request.sweep.path} --watch", err=True)
    return jobs


def local_executor(launch: Launch, gpus: list[int]) -> LocalExecutor:
    """submitit's executor for one worker on this machine."""
    from submitit import LocalExecutor

    executor = LocalExecutor(launch.folder)
    executor.update_parameters(timeout_min=60 * 24 * 365, gpus_per_node=len(gpus), visible_gpus=tuple(gpus))
    return executor


def local_workers(sweep: Sweep) -> int:
    """Workers that the cores carry: runs of one thread side by side do more than one run of many."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // sweep.resources.threads)


def visible_gpus() -> list[int]:
    """The GPUs that this process may use, by number, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(part) for part in visible.split(",") if part.strip().isdigit()]
    if not shutil.which("nvidia-smi"):
        return []
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return list(range(sum(line.startswith("GPU ") for line in answer.stdout.splitlines())))


def start_slurm(request: Request, launch: Launch, todo: list[str]) -> list[Job[Any]]:
    """Submit an array of workers and return."""
    from submitit.core.utils import FailedJobError

    job = worker_job(request, launch, todo)
    count = min(len(todo), request.sweep.resources.parallel)
    try:
        executor = slurm_executor(request, launch.folder)
        with executor.batch():  # the job itself, not a function of it: submitit looks for its `checkpoint`
            jobs = [executor.submit(job) for _ in range(count)]
    except (FailedJobError, OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(launch.folder, ignore_errors=True)
        raise UserError(f"Slurm refused the submission: {error}", remedy="See the job script: --dry-run.") from None
    launch.record("slurm", todo, [job.job_id for job in jobs])
    typer.echo(f"{count} workers submitted as Slurm job {jobs[0].job_id.partition('_')[0]}", err=True)
    return []


def slurm_executor(request: Request, folder: Path) -> SlurmExecutor:
    """submitit's executor for an array of workers; the site file has the last word."""
    from submitit import SlurmExecutor

    site, resources = load_site(), request.sweep.resources
    gpus = resources.gpus or 0
    cpus = resources.cpus or max(resources.threads, 8 * gpus)
    minutes = max(1, round(60 * resources.job_hours))
    parameters: dict[str, Any] = {
        "job_name": f"ablation-{request.sweep.name}",
        "time": minutes,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": cpus,
        "gpus_per_node": gpus or None,
        "mem": f"{resources.memory_gb}GB" if resources.memory_gb else None,
        "signal_delay_s": min(90, 15 * minutes),
        "array_parallelism": resources.parallel,
        "wckey": None,
        "account": site.account,
        "partition": site.partition,
        "qos": site.qos,
        "constraint": site.constraint,
        "setup": site.setup or None,
        "srun_args": [f"--cpus-per-task={cpus}"],
        "additional_parameters": site.sbatch or None,
    }
    executor = SlurmExecutor(folder, max_num_timeout=10_000, python=site.python)
    executor.update_parameters(
        **{key: value for key, value in parameters.items() if value is not None or key == "wckey"}
    )
    return executor


def show_plan(request: Request, board: Board, *, as_json: bool) -> int:
    """Print every run with its cost and state, and for Slurm the job script."""
    costs = {(panel.name, arm.name): arm for panel in request.sweep.panels for arm in panel.arms}
    rows = [
        {
            "id": row.id,
            "panel": row.panel,
            "arm": row.arm,
            "design": costs[row.panel, row.arm].design.name,
            "seed": row.seed,
            "params": costs[row.panel, row.arm].cost.params,
            "macs": costs[row.panel, row.arm].cost.macs,
            "state": row.state,
            "gpu_hours": None,
        }
        for row in board.rows
    ]
    if as_json:
        print_json({"sweep": request.sweep.name, "runs": rows})
        return 0
    from ablation.progress import print_plan

    todo = board.ids("missing", "failed")
    print_plan(rows, f"{board.line()}; {len(todo)} to start on {request.on}")
    if request.on == "slurm":
        print(job_script(request, len(todo)))
    return 0


def job_script(request: Request, todo: int) -> str:
    """The sbatch script that a launch would submit."""
    folder = request.runs / request.sweep.name / "launches" / "<launch>"
    executor = slurm_executor(request, folder)
    executor.parameters["map_count"] = min(max(todo, 1), request.sweep.resources.parallel)
    return executor._make_submission_file_text(executor._submitit_command_str, "<launch>")


if __name__ == "__main__":
    run(main)
