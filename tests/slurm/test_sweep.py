"""The demo sweep, shortened, on a real Slurm cluster."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablation.claim import attempts
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent.parent
SHORT = ("panels.0.recipe.epochs=1", "panels.0.recipe.batch=32", "panels.0.recipe.norm_batch=32", "seeds=1")
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]


def command(name, *options):
    arguments = [sys.executable, "-m", f"ablation.{name}", "sweeps/fashion_mnist.yaml", *options]
    for override in SHORT:
        arguments += ["--set", override]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, cwd=ROOT)


def board(runs):
    return json.loads(command("status", "--runs", str(runs), "--json").stdout)


def wait_for(runs, seconds=180):
    end = time.monotonic() + seconds
    while (now := board(runs))["states"].keys() & {"running", "waiting"} and time.monotonic() < end:
        time.sleep(0.5)
    return now


def test_the_demo_sweep_is_submitted_and_finished(small_fashion, tmp_path):
    runs = tmp_path / "runs"
    options = ("--runs", str(runs), "--data-dir", str(small_fashion), "--on", "slurm")
    first = command("launch", *options)
    assert first.returncode == 0, first.stderr
    assert "4 workers submitted as Slurm job" in first.stderr
    second = command("launch", *options)
    assert second.returncode == 0 and "submitted" not in second.stderr, "launching twice must start nothing twice"
    final = wait_for(runs)
    assert final["states"] == {"done": 5}, final
    sweep = load_sweep(ROOT / "sweeps" / "fashion_mnist.yaml", SHORT)
    tries = [attempts(sweep.paths(runs, run).attempts) for run in sweep.runs()]
    assert all(len(found) == 1 and found[0].fields["job"] for found in tries)
    hosts = {found[0].fields["worker"].partition(":")[0] for found in tries}
    assert hosts <= {"n1", "n2"}


# submitit takes any signal for a time-out where the limit is ten minutes or less, and for a preemption in a long job
@pytest.mark.parametrize("hours", [24, 0.1], ids=["preempted", "timed out"])
def test_a_worker_that_is_told_to_leave_saves_is_queued_again_and_goes_on(small_fashion, tmp_path, monkeypatch, hours):
    monkeypatch.setitem(os.environ, "ABLATION_SITE", str(tmp_path / "site.yaml"))
    (tmp_path / "site.yaml").write_text("partition: main\n")
    runs, longer = tmp_path / "runs", ("--set", "panels.0.recipe.epochs=150")
    overrides = (*SHORT, "resources.parallel=1", longer[1])
    options = ("--runs", str(runs), "--data-dir", str(small_fashion), "--on", "slurm", "--set", "resources.parallel=1")
    sweep = load_sweep(ROOT / "sweeps" / "fashion_mnist.yaml", overrides)
    paths = sweep.paths(runs, sweep.runs()[0])
    arguments = [sys.executable, "-m", "ablation.launch", "sweeps/fashion_mnist.yaml", *options]
    for override in (*SHORT, longer[1], f"resources.job_hours={hours}"):
        arguments += ["--set", override]
    subprocess.run(arguments, check=True, cwd=ROOT, timeout=60, capture_output=True)
    deadline = time.monotonic() + 60
    while not (paths.log.exists() and paths.log.read_text().count('"epoch"') > 2) and time.monotonic() < deadline:
        time.sleep(0.1)
    job = attempts(paths.attempts)[0].fields["job"]
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    deadline = time.monotonic() + 60
    while '"resume"' not in paths.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.2)
    log = paths.log.read_text()
    assert '"stop"' in log and '"resume"' in log
    assert [attempt.ended for attempt in attempts(paths.attempts)][:1] == ["stopped"]
    subprocess.run(["scancel", job], check=True)
