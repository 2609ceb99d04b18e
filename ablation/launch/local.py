"""Workers on this machine: in this process, or through submitit's local executor."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import typer

from ablation.errors import UserError
from ablation.launch.request import Request
from ablation.launches import Launch
from ablation.snapshot import Snapshot, environment
from ablation.sweep import Sweep

if TYPE_CHECKING:
    from submitit import Job, LocalExecutor


def check_here(request: Request) -> None:
    """Find out before any run starts what this machine lacks: data, a GPU, a fast bf16. Raises UserError."""
    from ablation import mps
    from ablation.worker import check

    resources = request.sweep.resources
    if resources.shares_gpu:
        mps.check()
    if resources.nodes > 1 or (request.on == "here" and resources.ranks > 1):
        where = "one machine" if resources.nodes > 1 else "this process"
        raise UserError(
            f"a run of this sweep has {resources.ranks} processes on {resources.nodes} nodes, and {where} is asked for",
            remedy="Launch it --on slurm, or --on local with --set resources.nodes=1.",
        )
    warning = check(request.sweep.runs(), resources.gpus, resources.threads, request.data)
    if warning:
        typer.echo(f"warning: {warning}", err=True)


def start_here(request: Request, launch: Launch, todo: list[str]) -> None:
    """Work in this process; where several runs are to go side by side, in processes of it."""
    launch.record("here", todo, [])
    job = request.worker(launch, todo)
    if job.side_by_side > 1:
        job()
    else:
        job.work()


def start_local(request: Request, launch: Launch, todo: list[str], code: Snapshot) -> list[Job[Any]]:
    """Start as many workers as the cores or the GPUs carry; the jobs can be waited for.

    They are started deaf to Ctrl-C, which a terminal sends to them too, and to a terminal's end: a launch that waits
    tells them to stop by SIGTERM.
    """
    count = min(len(todo), worker_count(request))
    deaf = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        job = request.worker(launch, todo)
        with environment(code.variables()):
            jobs = [local_executor(request, launch, index).submit(job) for index in range(count)]
    finally:
        for number, handler in deaf.items():
            signal.signal(number, handler)
    launch.record("local", todo, [job.job_id for job in jobs])
    workers = "worker" if count == 1 else "workers"
    typer.echo(f"{count} {workers} started; follow: python -m ablation.status {request.sweep.path} --watch", err=True)
    return jobs


def local_executor(request: Request, launch: Launch, index: int) -> LocalExecutor:
    """submitit's executor for one worker on this machine, with GPUs of its own."""
    from submitit import LocalExecutor

    each = request.sweep.resources.gpus or 1
    gpus = gpus_for(request)[index * each : (index + 1) * each]
    executor = LocalExecutor(launch.folder)
    executor.update_parameters(timeout_min=60 * 24 * 365, gpus_per_node=len(gpus), visible_gpus=tuple(gpus))
    executor.update_parameters(tasks_per_node=request.sweep.resources.tasks_a_node)
    return executor


def worker_count(request: Request) -> int:
    """Workers that this machine is to carry at a time."""
    gpus, resources = gpus_for(request), request.sweep.resources
    return min(resources.parallel, len(gpus) // (resources.gpus or 1) if gpus else local_workers(request.sweep)) or 1


def gpus_for(request: Request) -> list[int]:
    """The GPUs of this machine that the sweep may use."""
    return visible_gpus() if request.sweep.resources.gpus != 0 else []


def local_workers(sweep: Sweep) -> int:
    """Workers that the cores carry: runs of one thread side by side do more than one run of many."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (sweep.resources.threads * sweep.resources.side_by_side * sweep.resources.ranks))


def visible_gpus() -> list[int]:
    """The GPUs that this process may use, by number, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(part) for part in visible.split(",") if re.fullmatch(r"[0-9]{1,4}", part.strip())]
    if not shutil.which("nvidia-smi"):
        return []
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return list(range(sum(line.startswith("GPU ") for line in answer.stdout.splitlines())))
