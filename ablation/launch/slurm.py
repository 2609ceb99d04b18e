"""Workers on a Slurm cluster: arrays of jobs, submitted through submitit."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ablation.dataset import DEBIAN
from ablation.job import WorkerJob, signal_seconds
from ablation.launch.request import Request
from ablation.launches import Launch
from ablation.private import guard
from ablation.run import write_json
from ablation.site import job_parameters, minutes, refused
from ablation.slurm import QUERY_SECONDS
from ablation.snapshot import Snapshot

if TYPE_CHECKING:
    from submitit import SlurmExecutor

    from ablation.probe import ProbeJob

PROBE_HOURS = 0.5
PICKLE = "worker.pkl"
"""What the jobs of a launch load, in its folder."""
FOREVER = 10_000
"""How often submitit may queue a job again; what ends a run that gets no further is its worker's business."""
TOO_MANY = re.compile(r"limit|too many", re.IGNORECASE)
"""What sbatch says of more jobs than a user, an account or an array may have."""


def fetch_data(request: Request) -> None:
    """Have small data sets of which nothing says where they lie downloaded here, for jobs never do.

    Raises UserError where that fails.
    """
    for dataset in dict.fromkeys(panel.dataset for panel in request.sweep.panels):
        named = dataset.name in request.data or os.environ.get("ABLATION_DATA")
        if not named and not dataset.facts.folder and not (dataset.name == "fashion_mnist" and DEBIAN.is_dir()):
            from ablation.sources import read_small

            read_small(dataset.name, None)


def submit(request: Request, launch: Launch, todo: list[str], code: Snapshot) -> None:
    """Submit workers, and where asked for the jobs that follow them. Raises UserError where Slurm refuses."""
    resources = request.sweep.resources
    count = min(len(todo), resources.parallel)
    limit = minutes(request.site, resources.job_hours)
    job = request.worker(launch, todo, limit, requeue=not request.chain and request.site.requeue)
    write_json(launch.folder / "planned.json", {"on": "slurm", "runs": todo, "count": count})
    jobs: list[str] = []
    with outside_slurm():
        while len(jobs) < count:
            added = _array(request, launch, job, code, min(count - len(jobs), array_size()), first=not jobs)
            if not added:
                break
            jobs += added
        launch.record("slurm", todo, jobs)
        jobs += _successors(request, launch, job, code, jobs)
        launch.record("slurm", todo, jobs)
    _say(count, jobs, request.chain)


def _array(
    request: Request, launch: Launch, job: WorkerJob, code: Snapshot, count: int, *, first: bool, after: str = ""
) -> list[str]:
    """Ids of a new array's jobs: as many as Slurm takes, up to `count`; none where it takes no more.

    Raises UserError where it refuses the first array for another reason, or takes not even one.
    """
    from submitit.core.utils import FailedJobError

    while count:
        try:
            executor = slurm_executor(request, launch.folder, code, after)
            with redirect_stderr(io.StringIO()):  # submitit prints what it raises
                return submit_array(executor, job, count)
        except (FailedJobError, OSError, subprocess.SubprocessError) as error:
            fewer = TOO_MANY.search(str(error)) and (count > 1 or not first)
            if first and not fewer:
                raise refused(request.site, str(error), request.sweep.path) from None
            if not fewer:  # what was submitted before works on
                typer.echo(f"warning: {refused(request.site, str(error), request.sweep.path).message}", err=True)
                return []
            count //= 2
    return []


def _successors(request: Request, launch: Launch, job: WorkerJob, code: Snapshot, jobs: list[str]) -> list[str]:
    """Jobs that start when these have ended, and so on, `chain` times; fewer where Slurm takes no more."""
    found, last = [], jobs
    for _ in range(request.chain):
        after = ":".join(dict.fromkeys(job.partition("_")[0] for job in last))
        last = _array(request, launch, job, code, len(last), first=False, after=f"afterany:{after}")
        found += last
        if not last:
            break
    return found


def submit_probe(request: Request, launch: Launch, code: Snapshot) -> None:
    """Submit a short job that times a few steps of each design. Raises UserError where Slurm refuses."""
    from submitit.core.utils import FailedJobError

    from ablation.probe import probe_job

    executor = slurm_executor(request, launch.folder, code)
    executor.update_parameters(time=minutes(request.site, PROBE_HOURS), job_name=f"ablation-probe-{request.sweep.name}")
    try:
        with outside_slurm():
            (job,) = submit_array(executor, probe_job(request.sweep, request.runs), 1)
    except (FailedJobError, OSError, subprocess.SubprocessError) as error:
        raise refused(request.site, str(error), request.sweep.path) from None
    output = launch.folder / f"{job}_0_log.out"
    typer.echo(f"probe submitted as Slurm job {job}; it prints to {output}; then see --dry-run for the price", err=True)


def submit_array(executor: SlurmExecutor, job: WorkerJob | ProbeJob, count: int) -> list[str]:
    """Submit `count` workers as one array; their ids.

    Not submitit's own way of doing so: that forgets the interpreter, and writes what a job loads when the job is
    submitted already, so that a launch that dies in between leaves jobs that fail. Here each job copies it.
    """
    from submitit.core.utils import DelayedSubmission

    delayed = DelayedSubmission(job)
    delayed.set_timeout(executor.parameters["time"], FOREVER)
    delayed.dump(executor.folder / PICKLE)
    executor.parameters["map_count"] = count
    executor.parameters["setup"] = [*executor.parameters.get("setup", []), *_fetch(executor.folder)]
    array = executor._submit_command(executor._submitit_command_str).job_id.partition("_")[0]
    return [f"{array}_{index}" for index in range(count)]


def _fetch(folder: Path) -> list[str]:
    """Shell lines by which a job lays what it loads where submitit looks for it; a requeued job has its own already.

    Where the folder has become another's, nothing of it is loaded.
    """
    own = f'{shlex.quote(str(folder))}/"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}_submitted.pkl"'
    return [guard(folder), f"[ -e {own} ] || cp {shlex.quote(str(folder / PICKLE))} {own}"]


def _say(planned: int, jobs: list[str], chain: int) -> None:
    arrays = list(dict.fromkeys(job.partition("_")[0] for job in jobs))
    workers = len(jobs) // (chain + 1) if chain else len(jobs)
    followed = f", each followed by {chain} more" if chain else ""
    typer.echo(f"{workers} workers submitted as Slurm job {', '.join(arrays)}{followed}", err=True)
    if len(jobs) < planned * (chain + 1):
        typer.echo(f"warning: {planned * (chain + 1)} were wanted, and Slurm takes no more jobs now", err=True)


def slurm_executor(request: Request, folder: Path, code: Snapshot | None = None, after: str = "") -> SlurmExecutor:
    """submitit's executor for an array of workers; the site file has the last word."""
    from submitit import SlurmExecutor

    site, resources = request.site, request.sweep.resources
    exports = [guard(code.folder)] if code else []
    exports += [f"export {name}={shlex.quote(value)}" for name, value in (code.variables() if code else {}).items()]
    parameters: dict[str, Any] = job_parameters(site, resources, exports=exports)
    parameters |= {
        "job_name": f"ablation-{request.sweep.name}",
        "comment": f"ablation:{folder.name}",
        "signal_delay_s": signal_seconds(parameters["time"]),
        "array_parallelism": resources.parallel,
    }
    parameters |= {"dependency": after} if after else {}
    executor = SlurmExecutor(folder, max_num_timeout=FOREVER, python=site.python)
    executor.update_parameters(**parameters)
    return executor


@contextmanager
def outside_slurm() -> Iterator[None]:
    """Without the variables of a job that this process runs in: they would become the new jobs' options."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("SLURM_", "SBATCH_", "SUBMITIT_")) and name != "SLURM_CONF":
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)


@cache
def array_size() -> int:
    """The most jobs that one array may have here; Slurm's default where it does not say."""
    try:
        command = ["scontrol", "show", "config"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 1001
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.MULTILINE)
    return int(found[1]) if found else 1001


def job_script(request: Request, todo: int) -> str:
    """The sbatch script that a launch would submit."""
    executor = slurm_executor(request, request.runs / request.sweep.name / "launches" / "<launch>")
    executor.parameters["map_count"] = min(max(todo, 1), request.sweep.resources.parallel)
    executor.parameters["setup"] = [*executor.parameters.get("setup", []), *_fetch(executor.folder)]
    return executor._make_submission_file_text(executor._submitit_command_str, "<launch>")
