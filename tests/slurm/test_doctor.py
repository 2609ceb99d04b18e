"""Doctor, the site file and a probe on a real Slurm cluster."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablation.probe import probe_job
from ablation.site import Site, read_site, sbatch_parameters
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]


@pytest.fixture
def doctor(tmp_path, small_fashion):
    """Run the command with a site file; its exit code, its findings by group and check, and what it said."""

    def doctor(*options, site="{}\n"):
        (tmp_path / "site.yaml").write_text(site)
        environment = {**os.environ, "ABLATION_SITE": str(tmp_path / "site.yaml")}
        places = ("--runs", str(tmp_path / "runs"), "--data-dir", str(small_fashion))
        command = [sys.executable, "-m", "ablation.doctor", *places, *map(str, options), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=ROOT, env=environment)
        findings = json.loads(done.stdout)["findings"] if done.stdout else []
        return done.returncode, {(item["group"], item["check"]): item for item in findings}, done.stderr

    return doctor


def queue():
    return subprocess.run(["squeue", "-h"], check=True, capture_output=True, text=True).stdout


def test_a_cluster_that_works_has_no_problem(doctor, small_sweep):
    code, found, said = doctor(small_sweep)
    assert code == 0, (said, [item for item in found.values() if item["state"] == "problem"])
    for check in ("programs", "controller", "accounting", "requeue", "job limits", "job's time", "a job like that"):
        assert found["cluster", check]["state"] == "ok"
    assert "warned 10 s before" in found["cluster", "preemption"]["says"]
    assert found["cluster", "partition main"]["says"] == ("no time limit (default): 2 x 4 CPUs, 3.91 GiB, 2 GPUs")


def test_a_limit_on_jobs_is_held_against_the_sweep(doctor, small_sweep):
    def limit(count):
        command = ["sacctmgr", "-iQ", "modify", "user", "where", "name=root", "set", f"MaxSubmitJobs={count}"]
        subprocess.run(command, check=True, capture_output=True)

    limit(20)
    try:
        code, found, _ = doctor(small_sweep, "--set", "resources.parallel=50")
    finally:
        limit(-1)
    assert code == 0 and found["cluster", "job limits"]["state"] == "note"
    assert "MaxSubmitJobs 20 for you; the sweep wants 50 workers" in found["cluster", "job limits"]["says"]


def test_a_compute_node_reports_back(doctor, small_sweep, tmp_path):
    code, found, said = doctor(small_sweep, "--on", "slurm")
    assert code == 0, said
    (node,) = {group for group, _ in found if group.startswith("compute node")}
    assert node in ("compute node n1", "compute node n2")
    for check in ("python", "data fashion_mnist", "writing", "shared folder", "clock of the node"):
        assert found[node, check]["state"] == "ok"
    assert not list((tmp_path / "runs").glob(".doctor*")) and queue() == ""


def test_scratch_must_be_seen_by_all_nodes(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", str(tmp_path / "scratch"))
    code, found, _ = doctor("--on", "slurm", site="scratch: $PLACE\n")
    (shared,) = [item for (_, check), item in found.items() if check == "scratch: shared"]
    assert code == 0 and shared["state"] == "ok" and not list((tmp_path / "scratch").iterdir())


def test_scratch_of_one_node_is_a_problem(doctor, tmp_path):
    inside = f'mount -t tmpfs none {tmp_path}/scratch && exec {sys.executable} "$@"'
    python = json.dumps(f"unshare --mount sh -c '{inside}' _")
    site = f"scratch: {tmp_path}/scratch\npython: {python}\n"
    code, found, said = doctor("--on", "slurm", site=site)
    (shared,) = [item for (_, check), item in found.items() if check == "scratch: shared"]
    assert code == 1 and shared["state"] == "problem" and "start again" in shared["remedy"], said


def test_gpus_that_torch_does_not_see_on_the_node_are_a_problem(doctor, small_sweep):
    code, found, _ = doctor(small_sweep, "--on", "slurm", "--set", "resources.gpus=1", site="cpus_per_gpu: 2\n")
    assert code == 1
    (item,) = [item for (group, check), item in found.items() if "compute node" in group and check == "GPUs"]
    assert item["state"] == "problem" and "asks for 1, torch sees 0" in item["says"]


def test_a_job_that_stays_pending_is_said_in_plain_words_and_cancelled(doctor):
    code, found, _ = doctor("--on", "slurm", "--wait", 4, site="sbatch: {begin: now+1hour}\n")
    assert code == 1
    says = found["compute node", "job"]["says"]
    assert says == "still pending after 4 s (reason: BeginTime); it was cancelled"
    assert queue() == ""


def test_an_interpreter_that_the_node_lacks_is_said(doctor):
    code, found, _ = doctor("--on", "slurm", site="python: /no/such/python\n")
    assert code == 1
    (item,) = [item for (group, _), item in found.items() if group == "compute node"]
    assert "without a report" in item["says"] and "/no/such/python" in item["says"] and "python:" in item["remedy"]


@pytest.mark.parametrize(
    ("site", "place", "words"),
    [
        ("account: root\npartition: gpuu\n", "2:12", "Invalid partition name"),
        ("constraint: fast\n", "1:13", "Invalid feature specification"),
        ("sbatch:\n  nicee: 3\n", "2:3", "unrecognized option '--nicee=3'"),
    ],
)
def test_what_slurm_refuses_is_found_before_anything_is_submitted(doctor, tmp_path, site, place, words):
    code, found, _ = doctor(site=site)
    assert code == 1
    says = found["cluster", "a job like that"]["says"]
    assert says.startswith(f"{tmp_path / 'site.yaml'}:{place}: Slurm refused the submission: ") and words in says


def test_the_draft_of_a_site_file_is_taken_by_the_cluster(doctor, tmp_path, small_sweep):
    environment = {**os.environ, "ABLATION_SITE": str(tmp_path / "new.yaml")}
    command = [sys.executable, "-m", "ablation.doctor", "--write-site"]
    first = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)
    assert first.returncode == 0 and "written to" in first.stderr
    site = read_site(tmp_path / "new.yaml")
    assert (site.partition, site.gpu_option, site.cpus_per_gpu, site.memory_gb_per_gpu) == (
        "main",
        "gpus-per-node",
        2,
        1,
    )
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)
    assert "not written, for there is" in again.stderr and again.stdout == first.stdout
    code, found, _ = doctor(small_sweep, "--set", "resources.gpus=1", site=first.stdout)
    assert found["cluster", "a job like that"]["state"] == "ok" and code == 0


def test_a_probe_runs_as_a_job(small_sweep, tmp_path):
    from submitit import SlurmExecutor

    one = "panels.0.arms=[{design: resnet11_1x8d, params: 33930, macs: 1210880}]"
    job = probe_job(load_sweep(small_sweep, [one]), tmp_path / "runs")
    executor = SlurmExecutor(tmp_path / "jobs")
    executor.update_parameters(**sbatch_parameters(Site(), job_hours=0.2, cpus=2))
    executor.submit(job)
    end = time.monotonic() + 150
    while not (found := list((tmp_path / "runs").glob("small/probes/*.json"))):
        assert time.monotonic() < end, [path.read_text() for path in (tmp_path / "jobs").glob("*.err")]
        time.sleep(0.5)
    designs = json.loads(found[0].read_text())["designs"]
    assert [entry["design_name"] for entry in designs] == ["resnet11_1x8d"]
    assert designs[0]["seconds_a_step"] > 0 and designs[0]["peak_memory_bytes"] > 0
