"""The same checks from a compute node, in one short job."""

from __future__ import annotations

import getpass
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablation.doctor.finding import Finding, Findings
from ablation.doctor.folder import check_folders, says_clock
from ablation.doctor.machine import check_machine
from ablation.doctor.slurm import ask
from ablation.errors import UserError
from ablation.run import write_json
from ablation.schema import Resources
from ablation.site import Site, job_parameters, refused
from ablation.sweep import Sweep

JOB_HOURS = 0.25
LOOK_SECONDS = 1.0
OTHER_SECONDS = 15.0
"""A file that another machine wrote is seen after so long at the latest, or not at all."""
OWN_SECONDS = 3.0
"""Where other files of the job are seen already."""
ENDED = re.compile(r"(srun|slurmstepd): .*([Ee]xited with exit code|CANCELLED|Terminated)")
"""Lines that say that a job ended, and not why."""
HELLO, REPORT = "hello", "report.json"


@dataclass(frozen=True)
class NodeJob:
    """What runs on the compute node."""

    folder: Path
    """Shared with the machine that submits."""
    runs: Path
    site: Site
    sweep: Sweep | None
    data_dir: Path | None
    scratch: Path | None
    """A file in the scratch folder, written by that machine; None: the site file names no such folder."""

    def __call__(self) -> None:
        """Check this node, and leave what was found in the shared folder."""
        group = f"compute node {socket.gethostname()}"
        needs_gpu = self.sweep is not None and bool(self.sweep.resources.gpus)
        found = check_machine(self.sweep, self.site, self.data_dir, needs_gpu=needs_gpu, group=group)
        found += check_folders(self.runs, self.site, group=group)
        own = Findings(group)
        if not shutil.which("scontrol"):
            remedy = "Say requeue: false in the site file, and launch with --chain."
            own.problem("scontrol", "not on PATH: a job can't queue itself again", remedy)
        hello = self.folder / HELLO
        report = {"host": socket.gethostname(), "time": time.time(), "hello": hello.exists() and hello.read_text()}
        self._scratch(own)
        write_json(self.folder / REPORT, report | {"findings": [asdict(item) for item in found + own.all]})

    def _scratch(self, found: Findings) -> None:
        """Whether this node sees what was written to the scratch folder elsewhere."""
        if self.scratch and self.scratch.exists():
            found.ok("scratch: shared", "this node sees what was written elsewhere")
        elif self.scratch:
            says = f"this node does not see what was written in {self.scratch.parent} elsewhere"
            remedy = "A run that goes on elsewhere would start again: name a folder in scratch: that all nodes share."
            found.problem("scratch: shared", says, remedy)


def check_node(sweep: Sweep | None, site: Site, runs: Path, data_dir: Path | None, wait: float) -> list[Finding]:
    """Submit the job, wait for its report up to `wait` seconds, and judge it."""
    found = Findings("compute node")
    folder, scratch = runs / f".doctor-{uuid.uuid4().hex[:8]}", None
    try:
        folder.mkdir(parents=True)
        (folder / HELLO).write_text(socket.gethostname())
        scratch = _mark(site, folder.name)
        start = time.time()
        job = _submit(NodeJob(folder, runs, _settled(site), sweep, data_dir, scratch), sweep)
        print(f"submitted job {job}; waiting up to {wait:.0f} s for it", file=sys.stderr)
        report = _wait(found, folder, job, wait)
        return found.all + (_judge(report, start) if report else [])
    except OSError as error:
        found.problem("shared folder", f"{runs}: {error.strerror}", "Name another place: --runs.")
    except UserError as error:
        found.mistake("submitting", error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if scratch:
            scratch.unlink(missing_ok=True)
    return found.all


def _settled(site: Site) -> Site:
    """The site with its scratch folder as this machine spells it: launch fills in variables before jobs start."""
    return site.model_copy(update={"scratch": str(site.scratch_folder())}) if site.scratch else site


def _mark(site: Site, name: str) -> Path | None:
    """A file in the scratch folder, for the node to see."""
    scratch = site.scratch_folder()
    if scratch:
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / name).touch()
    return scratch and scratch / name


def _submit(job: NodeJob, sweep: Sweep | None) -> str:
    """The id of the submitted job. Raises UserError where Slurm refuses."""
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

    from ablation.launch.slurm import outside_slurm

    code = Path(__file__).parent.parent.parent
    executor = SlurmExecutor(job.folder, python=job.site.python)
    resources = sweep.resources if sweep else Resources()
    path = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
    exports = [f"export PYTHONPATH={shlex.quote(path)}"]
    parameters = job_parameters(job.site, resources, job_hours=JOB_HOURS, exports=exports)
    executor.update_parameters(job_name="ablation-doctor", **parameters)
    try:
        with outside_slurm():
            return executor.submit(job).job_id
    except (FailedJobError, OSError, subprocess.SubprocessError) as error:
        raise refused(job.site, str(error), sweep.path if sweep else None) from None


def _wait(found: Findings, folder: Path, job: str, wait: float) -> dict[str, Any] | None:
    """The job's report; None, and a finding, where it does not come."""
    end, said, gone = time.monotonic() + wait, "", 0.0
    while time.monotonic() < end:
        if (folder / REPORT).exists():
            return json.loads((folder / REPORT).read_text())
        answer = ask("squeue", "--noheader", "--states=all", "--format=%T %r %N", f"--jobs={job}")
        state = answer.text.strip()
        if state and state != said:
            print(f"job {job}: {state}", file=sys.stderr)
            said = state
        live = state.startswith(("PENDING", "RUNNING", "CONFIGURING", "COMPLETING")) or (answer.error and not state)
        gone = 0.0 if live else gone or time.monotonic()
        patience = OWN_SECONDS if _printed(folder) else OTHER_SECONDS
        if gone and time.monotonic() - gone > patience:
            _no_report(found, folder, job, said)
            return None
        time.sleep(LOOK_SECONDS)
    ask("scancel", job)
    if said.startswith("PENDING"):
        why = said.split()[1] if " " in said else "unknown"
        remedy = f"Wait for longer: --wait 3600; `squeue -u {getpass.getuser()} --start` says when it may start."
        found.problem("job", f"still pending after {wait:.0f} s (reason: {why}); it was cancelled", remedy)
    else:
        found.problem("job", f"no report after {wait:.0f} s ({said or 'unknown state'}); cancelled", "Try again.")
    return None


def _no_report(found: Findings, folder: Path, job: str, state: str) -> None:
    """A job that ended without a report: what it printed last, or that its files can't be seen here."""
    lines = _printed(folder)
    if lines:
        remedy = "See setup: and python: in the site file; the node must have the same Python environment."
        found.problem("job", f"{job} ended ({state}) without a report: {lines[-1]}", remedy)
    else:
        remedy = "Name a folder that all nodes share: --runs."
        found.problem("shared folder", f"job {job} ended ({state}), and nothing that it wrote is seen here", remedy)


def _printed(folder: Path) -> list[str]:
    """What the job wrote to standard error."""
    lines = [line for log in sorted(folder.glob("*.err")) for line in log.read_text(errors="replace").splitlines()]
    return [line for line in lines if line.strip() and not ENDED.match(line)]


def _judge(report: dict[str, Any], start: float) -> list[Finding]:
    """What the node found, whether both saw each other's files, and how far their clocks are apart."""
    now, node = time.time(), report["time"]
    found = Findings(f"compute node {report['host']}")
    if report["hello"] == socket.gethostname():
        found.ok("shared folder", "each sees what the other wrote")
    else:
        remedy = "Name a folder that all nodes share: --runs."
        found.problem("shared folder", "the node does not see a file written here a moment before", remedy)
    ahead = node - now if node > now else min(0.0, node - start)
    says_clock(found, "clock of the node", ahead, "the node's clock", "this machine's")
    return [*(Finding(**item) for item in report["findings"]), *found.all]
