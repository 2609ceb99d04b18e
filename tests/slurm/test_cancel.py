"""Cancelling on a real Slurm: jobs that wait, one arm while workers go on, a whole sweep while it trains."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablation import slurm as asking
from ablation.claim import attempts
from ablation.records import read_records
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]
SWEEP = """\
question: Can it be stopped?
panels:
  - name: small
    budget: fashion
    dataset: {name: fashion_mnist, validation: 100}
    recipe: {base: fashion, epochs: 400, batch: 32, norm_batch: 16, augment: [crop, flip]}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
      - {design: resnext11_4x3d, params: 32782, macs: 1243424}
seeds: 2
precision: fp32
resources: {gpus: 0, threads: 1, cpus: 1, parallel: 2, job_hours: 1}
"""


class Study:
    """A sweep of four runs, and commands for it."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.file, self.runs, self.data = folder / "stop.yaml", folder / "runs", data
        self.file.write_text(SWEEP)
        self.sweep = load_sweep(self.file)
        self.paths = [self.sweep.paths(self.runs, run) for run in self.sweep.runs()]

    def command(self, name: str, *options: str):
        arguments = [sys.executable, "-m", f"ablation.{name}", str(self.file), "--runs", str(self.runs), *options]
        return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=120)

    def launch(self, *options: str):
        done = self.command("launch", "--on", "slurm", "--data-dir", str(self.data), *options)
        assert done.returncode == 0, done.stderr

    def board(self):
        return json.loads(self.command("status", "--json").stdout)

    def trains(self, index: int) -> None:
        """Wait until a run has recorded an epoch of the attempt under way."""
        until(lambda: any(record["kind"] == "epoch" for record in read_records(self.paths[index].log)))


def until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.2)


def live():
    return [job for job in asking.ask_squeue([os.getuid()]).jobs if job.live]


@pytest.fixture
def study(tmp_path, small_fashion, monkeypatch):
    (tmp_path / "site.yaml").write_text("{}\n")
    monkeypatch.setenv("ABLATION_SITE", str(tmp_path / "site.yaml"))
    subprocess.run(["scancel", "--me"], check=True)
    until(lambda: not live())
    yield Study(tmp_path, small_fashion)
    subprocess.run(["scancel", "--me"], check=True)
    until(lambda: not live())


def test_jobs_that_wait_are_cancelled_at_once(study, tmp_path):
    (tmp_path / "site.yaml").write_text("sbatch: {hold: true}\n")
    study.launch()
    assert len(live()) == 2
    told = study.command("cancel")
    assert told.returncode == 0 and told.stdout.startswith("cancelled: 4 runs\n"), told.stdout + told.stderr
    assert not live()
    board = study.board()
    assert board["states"] == {"missing": 4} and {run["message"] for run in board["runs"]} == {"cancelled"}


def test_one_arm_is_cancelled_while_its_worker_goes_on_with_another(study):
    study.launch("--set", "resources.parallel=1")
    study.trains(0)
    told = study.command("cancel", "--arm", "resnet11_1x8d")
    assert told.returncode == 0 and "Slurm jobs" not in told.stdout, told.stdout + told.stderr
    study.trains(1)
    first, second = (attempts(study.paths[index].attempts)[-1] for index in (0, 1))
    assert (first.ended, first.message) == ("stopped", "cancelled") and study.paths[0].checkpoint.exists()
    assert second.fields["worker"] == first.fields["worker"]
    assert "Starting with JobEnvironment" in study.command("status", "--log", "resnext11_4x3d:0").stdout
    assert [run["state"] for run in study.board()["runs"]] == ["missing", "running", "missing", "waiting"]


def test_a_sweep_that_trains_is_cancelled_saves_and_goes_on_when_launched_again(study):
    study.launch()
    study.trains(0)
    study.trains(1)
    told = study.command("cancel")
    assert told.returncode == 0, told.stdout + told.stderr
    assert not live() and study.board()["states"] == {"missing": 4}
    assert all(paths.checkpoint.exists() for paths in study.paths[:2])
    study.launch()
    until(lambda: any(record.get("event") == "resume" for record in read_records(study.paths[0].log)))
    assert study.command("cancel").returncode == 0
