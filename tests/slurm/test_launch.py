"""Launching on a cluster: what is submitted, from where, with which code and interpreter, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablation.claim import attempts
from ablation.records import read_records
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]


@pytest.fixture
def launch(small_sweep, small_fashion, tmp_path):
    """Launch the small sweep on the cluster, with a site file; what it printed and its exit code."""
    site = tmp_path / "site.yaml"
    site.write_text("partition: main\n")

    def launch(*options, cwd=ROOT, command=(sys.executable,), **variables):
        words = [*command, "-m", "ablation.launch", small_sweep, "--runs", tmp_path / "runs", "--on", "slurm"]
        words += ["--data-dir", small_fashion, "--set", "resources.cpus=1", *options]
        environment = os.environ | {"ABLATION_SITE": str(site)} | variables
        return subprocess.run(
            [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
        )

    launch.site = site
    return launch


@pytest.fixture
def paths(small_sweep, tmp_path):
    sweep = load_sweep(small_sweep)
    return [sweep.paths(tmp_path / "runs", run) for run in sweep.runs()]


def output(*command):
    return subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.1)


def idle():
    return not output("squeue", "-h").strip()


def resumed(paths):
    return sum(record.get("event") == "resume" for record in read_records(paths.log))


@pytest.fixture(autouse=True)
def empty_queue(slurm):
    """Each test leaves the cluster to the next one."""
    yield
    output("scancel", "--me")
    wait_until(idle)


def launched(tmp_path):
    (folder,) = (tmp_path / "runs" / "small" / "launches").iterdir()
    return folder


@pytest.fixture
def full():
    """Nothing starts on the cluster while this is held."""
    job = output("sbatch", "--parsable", "-N2", "--exclusive", "--output=/dev/null", "--wrap=srun sleep 600").strip()
    wait_until(lambda: output("squeue", "-hj", job, "-o", "%T").strip() == "RUNNING")

    def free():
        subprocess.run(["scancel", job], check=True, timeout=60)

    yield free
    free()


def test_where_jobs_may_not_queue_again_others_follow_them(launch, paths, tmp_path):
    done = launch("--chain", "2", "--set", "resources.parallel=1", "--set", "panels.0.recipe.epochs=600")
    assert "1 workers submitted as Slurm job" in done.stderr and "each followed by 2 more" in done.stderr
    jobs = json.loads((launched(tmp_path) / "launch.json").read_text())["jobs"]
    longer = load_sweep(tmp_path / "small.yaml", ["panels.0.recipe.epochs=600"])
    first = longer.paths(tmp_path / "runs", longer.runs()[0])
    wait_until(lambda: first.log.exists() and '"epoch"' in first.log.read_text())
    for number, job in enumerate(jobs[:2], 1):
        output("scancel", "--signal=USR2", job)
        wait_until(lambda number=number: resumed(first) == number)
    assert [attempt.ended for attempt in attempts(first.attempts)] == ["stopped", "stopped", None]
    ids = [attempt.fields["job"] for attempt in attempts(first.attempts)]
    assert len(set(ids)) == 3, "a job was queued again"


def test_a_successor_with_nothing_to_do_leaves_at_once(launch, paths):
    launch("--chain", "1")
    wait_until(lambda: idle())
    assert all(own.result.exists() and len(attempts(own.attempts)) == 1 for own in paths)


def test_what_is_edited_while_a_job_waits_does_not_reach_it(launch, paths, full, tmp_path):
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "ablation", checkout / "ablation", ignore=shutil.ignore_patterns("__pycache__"))
    assert launch(cwd=checkout, PYTHONPATH=str(checkout)).returncode == 0
    (checkout / "ablation" / "train.py").write_text("raise RuntimeError('edited while it waited')\n")
    full()
    wait_until(idle)
    assert all(own.result.exists() for own in paths)


def test_a_launch_from_inside_a_job_is_not_bound_by_that_job(launch, paths):
    launch_inside = ("srun", "-n1", "-t5", "--mem=500", "--gres=gpu:1", sys.executable)
    inside = launch(command=launch_inside, SBATCH_PARTITION="nowhere", SLURM_MEM_PER_NODE="7", SBATCH_GRES="gpu:2")
    assert inside.returncode == 0, inside.stderr
    wait_until(idle)
    assert all(own.result.exists() for own in paths)


def test_the_sites_interpreter_and_setup_are_used_by_every_worker(launch, paths, tmp_path):
    seen = tmp_path / "seen"
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\necho "$LOADED" >> {seen}\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    launch.site.write_text(f"partition: main\npython: {wrapper}\nsetup: [export LOADED=module]\n")
    launch("--set", "resources.parallel=2")
    wait_until(idle)
    assert seen.read_text().split() == ["module", "module"] and all(own.result.exists() for own in paths)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ("partition: nowhere\n", "invalid partition specified: nowhere"),
        ("partition: main\nconstraint: fast\n", "Invalid feature specification"),
        ("partition: main\nmemory_gb: 700\n", "Memory specification can not be satisfied"),
    ],
)
def test_what_slurm_refuses_is_said_in_its_own_words_and_leaves_nothing(launch, tmp_path, site, words):
    launch.site.write_text(site)
    refused = launch()
    assert refused.returncode == 2 and words in refused.stderr and "Traceback" not in refused.stderr
    line = site.count("\n")
    assert f"site.yaml:{line}:" in refused.stderr, "the line to blame"
    assert not list((tmp_path / "runs" / "small" / "launches").iterdir())
    assert idle()


def test_jobs_of_a_launch_that_died_after_submitting_are_taken_for_its_own(launch, paths, tmp_path, full):
    assert launch().returncode == 0
    folder = launched(tmp_path)
    (folder / "launch.json").unlink()
    jobs = output("squeue", "-h", "--array", "-n", "ablation-small", "-o", "%i").split()
    again = launch()
    assert again.returncode == 0 and "submitted" not in again.stderr, again.stderr
    assert json.loads((folder / "launch.json").read_text())["jobs"] == jobs
    full()
    wait_until(idle)
    assert all(len(attempts(own.attempts)) == 1 and own.result.exists() for own in paths)


def test_only_some_runs_are_started(launch, paths):
    launch("--only", "resnext11_4x3d", "1")
    wait_until(idle)
    assert [own.result.exists() for own in paths] == [False, False, False, True]


def test_a_run_on_two_nodes_of_two_processes_is_that_of_one_process_and_survives_being_told_to_leave(
    launch, paths, small_sweep, small_fashion, tmp_path
):
    changes = ("precision=fp64", "panels.0.recipe.epochs=12", "panels.0.recipe.norm_batch=8", "panels.0.recipe.lr=0.05")
    exact = [word for change in changes for word in ("--set", change)] + ["--only", "0", "resnet11_1x8d"]
    several = ("--set", "resources.nodes=2", "--set", "resources.tasks=2", "--set", "resources.parallel=1")
    sweep = load_sweep(small_sweep, changes)
    run = sweep.runs()[0]
    apart, one = sweep.paths(tmp_path / "runs", run), sweep.paths(tmp_path / "one", run)
    assert launch(*several, *exact).returncode == 0
    wait_until(lambda: apart.log.exists() and '"epoch"' in apart.log.read_text())
    output("scancel", "--signal=USR2", attempts(apart.attempts)[0].fields["job"])
    alone = [sys.executable, "-m", "ablation.launch", small_sweep, "--runs", tmp_path / "one", "--on", "here", *exact]
    output(*alone, "--data-dir", small_fashion)
    wait_until(apart.result.exists)
    wait_until(idle)
    assert [attempt.ended for attempt in attempts(apart.attempts)] == ["stopped", "done"]
    assert json.loads(apart.result.read_text())["attempts"] == 2
    results = [json.loads(own.result.read_text()) for own in (apart, one)]
    assert results[0]["train_loss"] == pytest.approx(results[1]["train_loss"], abs=1e-6)
    assert results[0]["evaluations"]["test"]["top1_error"] == results[1]["evaluations"]["test"]["top1_error"]
    assert apart.bits("test").read_bytes() == one.bits("test").read_bytes()


def test_more_workers_than_an_array_may_have_are_several_arrays(small_sweep, small_fashion, tmp_path, monkeypatch):
    from ablation.launch import slurm
    from ablation.launch.__main__ import make_ready
    from ablation.launch.request import Request
    from ablation.site import Site

    monkeypatch.setattr(slurm, "array_size", lambda: 3)
    request = Request(
        load_sweep(small_sweep, ["resources.parallel=4"]), tmp_path / "runs", "slurm", Site(), small_fashion
    )
    todo = [run.id for run in request.sweep.runs()]
    launch, code = make_ready(request, todo)
    slurm.submit(request, launch, todo, code)
    arrays = [job.partition("_")[0] for job in launch.jobs]
    assert [arrays.count(array) for array in dict.fromkeys(arrays)] == [3, 1]
    wait_until(idle)
    assert all((tmp_path / "runs" / "small" / id / "result.json").exists() for id in todo)


def test_a_refusal_after_the_first_array_leaves_that_one_at_work(
    small_sweep, small_fashion, tmp_path, monkeypatch, capsys
):
    from submitit.core.utils import FailedJobError

    from ablation.launch import slurm
    from ablation.launch.__main__ import start
    from ablation.launch.request import Request
    from ablation.site import Site

    real, asked = slurm.submit_array, []

    def second_is_refused(executor, job, count):
        asked.append(count)
        if len(asked) > 1:
            raise FailedJobError("sbatch: error: Batch job submission failed: Job dependency problem")
        return real(executor, job, count)

    monkeypatch.setattr(slurm, "submit_array", second_is_refused)
    sweep = load_sweep(small_sweep)
    todo = [run.id for run in sweep.runs()]
    start(Request(sweep, tmp_path / "runs", "slurm", Site(), small_fashion, chain=1), todo)
    assert "Job dependency problem" in capsys.readouterr().err
    jobs = json.loads((launched(tmp_path) / "launch.json").read_text())["jobs"]
    assert jobs and set(jobs) <= set(output("squeue", "-h", "--array", "--states=all", "-o", "%i").split())
    assert (launched(tmp_path) / slurm.PICKLE).exists()
