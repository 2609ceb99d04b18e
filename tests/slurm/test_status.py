"""What status says of jobs on a real Slurm, whatever becomes of them; the jobs sleep."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_slurm import attempt, slurm_launch
from studies import start_run, write_sweep

from ablation import slurm as asking
from ablation.board import read_board
from ablation.claim import process_started

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm", "quiet")]


class Study:
    """A sweep whose workers sleep, and launches of it."""

    def __init__(self, folder: Path) -> None:
        self.sweep, self.runs = write_sweep(folder), folder / "runs"
        self.every = self.sweep.runs()
        self.ids = [run.id for run in self.every]

    def submit(self, *options: str, count: int = 1, written: bool = True):
        """Submit an array of `count` jobs for all runs; with `written`, as a launch that lived to write it down."""
        launch = slurm_launch(self.runs, self.ids, None)
        command = ["sbatch", "--parsable", f"--array=0-{count - 1}", f"--comment=ablation:{launch.id}"]
        command += ["--job-name=ablation-study", "--output=/dev/null", *options, "--wrap", "exec sleep 600"]
        array = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        jobs = [f"{array}_{index}" for index in range(count)]
        if written:
            launch.record("slurm", self.ids, jobs)
        return launch, jobs

    def row(self, index: int = 0):
        return read_board(self.sweep, self.runs).rows[index]

    def until(self, state: str, index: int = 0, seconds: float = 60):
        """The row of a run when it is in a state."""
        end = time.monotonic() + seconds
        while (row := self.row(index)).state != state:
            assert time.monotonic() < end, row
            time.sleep(0.2)
        return row

    def claimed(self, launch, job: str, index: int = 0):
        """The run as if a worker in a job had it, and had not stirred since."""
        start_run(self.sweep, self.every[index], self.runs)
        paths = self.sweep.paths(self.runs, self.every[index])
        return attempt(paths, launch, silent=1000, job=number(job))

    def command(self, name: str, *options: str):
        arguments = [sys.executable, "-m", f"ablation.{name}", str(self.sweep.path), "--runs", str(self.runs), *options]
        return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=120)


def number(job: str) -> str:
    """What the job itself knows as its number."""
    queue = asking.ask_squeue([os.getuid()])
    return next(one.raw for one in queue.jobs if one.id == job)


def state(job: str) -> str:
    queue = asking.ask_squeue([os.getuid()])
    return next((one.state for one in queue.jobs if one.id == job), "")


def wait_for(job: str, *states: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while state(job) not in states:
        assert time.monotonic() < end, f"{job} is {state(job)}"
        time.sleep(0.1)


@pytest.fixture
def quiet():
    """Nothing in the queue, before and after."""

    def empty():
        subprocess.run(["scancel", "--me"], check=True)
        end = time.monotonic() + 60
        while subprocess.run(["squeue", "-h"], capture_output=True, text=True).stdout and time.monotonic() < end:
            time.sleep(0.1)

    empty()
    yield
    empty()


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_the_reason_is_slurms(study):
    subprocess.run(["sbatch", "--exclusive", "-N2", "-o/dev/null", "--wrap", "sleep 600"], check=True)
    study.submit("--exclusive", count=2)
    end = time.monotonic() + 30
    while study.row().reason not in ("Resources", "Priority") and time.monotonic() < end:
        time.sleep(0.2)
    assert study.row().reason in ("Resources", "Priority")
    assert f"waiting ({study.row().reason}): 15 runs" in study.command("status").stdout


def test_a_run_without_a_heartbeat_runs_while_its_job_does_and_is_missing_when_it_is_cancelled(study):
    launch, (job,) = study.submit()
    wait_for(job, "RUNNING")
    study.claimed(launch, job)
    assert study.row().state == "running"
    subprocess.run(["scancel", job], check=True)
    assert "CANCELLED" in study.until("missing").message


def test_a_job_that_is_queued_again_waits(study):
    launch, (job,) = study.submit()
    wait_for(job, "RUNNING")
    study.claimed(launch, job)
    subprocess.run(["scontrol", "requeue", job], check=True)
    assert study.until("waiting").state == "waiting"


def test_a_job_that_fails_is_said_in_slurms_word(study):
    launch = slurm_launch(study.runs, study.ids, None)
    command = ["sbatch", "--parsable", f"--comment=ablation:{launch.id}", "-o/dev/null", "--wrap", "exit 3"]
    job = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    launch.record("slurm", study.ids, [job])
    assert study.until("missing").message == "never started, and its jobs are gone: FAILED"


def test_elements_cancelled_before_they_started_are_gone(study):
    _, jobs = study.submit("--hold", count=3)
    assert study.until("waiting").reason == "JobHeldUser"
    subprocess.run(["scancel", jobs[0].partition("_")[0]], check=True)
    assert study.until("missing").message == "never started, and its jobs are gone: CANCELLED"


def test_accounting_knows_elements_that_never_started(study):
    _, jobs = study.submit("--hold", count=3)
    subprocess.run(["scancel", *jobs[:2]], check=True)
    subprocess.run(["scontrol", "release", jobs[2]], check=True)
    wait_for(jobs[2], "RUNNING")
    end, known = time.monotonic() + 20, {}
    while jobs[2] not in known and time.monotonic() < end:
        known = asking.ask_sacct({jobs[0].partition("_")[0]}, time.time()) or {}
        time.sleep(0.3)
    # those that were cancelled one by one have no record, or one that says so; never another state
    assert {known[job].state for job in jobs[:2] if job in known} <= {"CANCELLED"}
    assert known[jobs[2]].state == "RUNNING"


def test_jobs_whose_launch_died_before_it_wrote_them_down_are_adopted(study):
    launch, jobs = study.submit("--hold", count=2, written=False)
    assert [job.id for job in asking.find(launch.id)] == jobs
    assert study.row().state == "waiting"
    assert json.loads(launch.description.read_text())["jobs"] == jobs


def test_a_controller_that_is_down_is_unknown_within_seconds_and_right_again_when_it_is_back(study, slurm, mend):
    study.submit("--hold", count=2)
    assert study.until("waiting").reason == "JobHeldUser"
    pid = int((slurm.parent.parent / "run" / "slurmctld.pid").read_text())
    time.sleep(6)  # the controller saves its queue within five seconds
    os.kill(pid, signal.SIGKILL)
    while process_started(pid):
        time.sleep(0.05)
    try:
        began = time.monotonic()
        board = json.loads(study.command("status", "--json").stdout)
        seconds = time.monotonic() - began
        cancelled = study.command("cancel", "--seed", "2")
    finally:
        mend()
    assert board["states"] == {"unknown": 15}
    assert {run["message"] for run in board["runs"]} == {"slurmctld does not answer"}
    assert seconds < 2 * asking.QUERY_SECONDS, "squeue alone takes 19 s to give up"
    assert cancelled.returncode == 2 and "slurmctld does not answer" in cancelled.stderr
    assert study.until("waiting").reason == "JobHeldUser"
    assert study.row(14).message == "cancelled"


def test_a_thousand_jobs_cost_two_queries(study):
    _, jobs = study.submit("--hold", count=1000)
    assert len(jobs) == 1000 and study.row().state == "waiting"
    queue = asking.ask_squeue([os.getuid()])
    assert sum(job.live for job in queue.jobs) == 1000
