"""Launch and status as a user runs them: real processes, real training on a small part of Fashion-MNIST."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ablation.claim import attempts
from ablation.records import last_epochs, read_records
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture
def command(small_sweep, small_fashion, tmp_path):
    """Run one of our commands on the small sweep."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "ABLATION"))}
    environment["ABLATION_SITE"] = str(tmp_path / "site.yaml")
    (tmp_path / "site.yaml").write_text("{}\n")

    def command(name, *options, runs="runs", start=False, data=small_fashion):
        arguments = [
            sys.executable,
            "-m",
            f"ablation.{name}",
            str(small_sweep),
            "--runs",
            str(tmp_path / runs),
            *options,
        ]
        if name == "launch":
            arguments += ["--data-dir", str(data)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT, "env": environment}
        if start:
            return subprocess.Popen(arguments, start_new_session=True, **pipes)
        return subprocess.run(arguments, timeout=240, **pipes)

    return command


@pytest.fixture
def folders(small_sweep, tmp_path):
    def folders(runs="runs", *overrides):
        sweep = load_sweep(small_sweep, overrides)
        return [sweep.paths(tmp_path / runs, run) for run in sweep.runs()]

    return folders


def weights(paths):
    return torch.load(paths.weights, weights_only=True)


def same(one, two):
    first, second = weights(one), weights(two)
    records = [
        [(r["epoch"], r["train_loss"], r["top1_error"]) for r in last_epochs(read_records(p.log))] for p in (one, two)
    ]
    return all(torch.equal(first[key], second[key]) for key in first) and records[0] == records[1]


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)


def test_launching_finishes_the_sweep_and_launching_again_starts_nothing(command, folders):
    first = command("launch", "--on", "here")
    assert first.returncode == 0, first.stderr
    assert "small: 4 done" in first.stdout
    before = {paths.id: paths.result.read_bytes() for paths in folders()}
    again = command("launch", "--on", "here")
    assert again.returncode == 0 and "small: 4 done" in again.stdout
    assert {paths.id: paths.result.read_bytes() for paths in folders()} == before
    assert all(len(attempts(paths.attempts)) == 1 for paths in folders())


def test_local_workers_give_the_numbers_of_this_process(command, folders):
    assert command("launch", "--on", "here", "--set", "seeds=1", runs="here").returncode == 0
    local = command("launch", "--on", "local", runs="local")
    assert local.returncode == 0, local.stderr
    assert "4/4" in local.stderr and "small: 4 done" in local.stdout
    assert all(same(*pair) for pair in zip(folders("here", "seeds=1"), folders("local"), strict=False))
    workers = {attempts(paths.attempts)[0].fields["worker"] for paths in folders("local")}
    assert len(workers) == min(2, len(os.sched_getaffinity(0)))


def test_killed_workers_and_a_killed_launch_are_gone_on_with(command, folders):
    assert command("launch", "--on", "here", runs="whole").returncode == 0
    options = ("--on", "here", "--set", "resources.checkpoint_minutes=0")
    for _ in range(3):
        launch = command("launch", *options, start=True)
        wait_until(
            lambda launch=launch: any(paths.checkpoint.exists() for paths in folders()) or launch.poll() is not None
        )
        time.sleep(0.2)
        os.killpg(launch.pid, signal.SIGKILL)
        launch.communicate()
    final = command("launch", *options)
    assert final.returncode == 0, final.stderr
    assert all(same(*pair) for pair in zip(folders("whole"), folders(), strict=True))
    assert max(len(attempts(paths.attempts)) for paths in folders()) > 1


def test_ctrl_c_stops_local_workers_cleanly(command, folders):
    long = ("--on", "local", "--set", "panels.0.recipe.epochs=400", "--set", "seeds=1")
    launch = command("launch", *long, start=True)
    running = folders("runs", *long[3::2])
    wait_until(lambda: all(len(last_epochs(read_records(paths.log))) for paths in running))
    os.killpg(launch.pid, signal.SIGINT)
    _, errors = launch.communicate(timeout=60)
    assert launch.returncode == 130, errors
    assert "Traceback" not in errors
    assert all(attempts(paths.attempts)[-1].ended == "stopped" and paths.checkpoint.exists() for paths in running)


def test_two_launches_at_once_run_nothing_twice(command, folders):
    launches = [command("launch", "--on", "here", start=True) for _ in range(2)]
    for launch in launches:
        launch.communicate(timeout=240)
    assert command("launch", "--on", "here").returncode == 0
    starts = [[r for r in read_records(paths.log) if r.get("event") == "start"] for paths in folders()]
    assert all(len(found) == 1 for found in starts)


def test_a_failing_arm_does_not_sink_the_sweep(command):
    diverging = (
        "--set",
        "panels.0.arms.1.recipe={base: fashion, batch: 32, norm_batch: 32, lr: 1.0e+30}",
        "--set",
        "seeds=1",
    )
    launch = command("launch", "--on", "here", *diverging)
    assert launch.returncode == 1
    assert "diverged" in launch.stdout and "Traceback" not in launch.stderr
    board = json.loads(command("status", "--json", *diverging).stdout)
    assert board["states"] == {"done": 1, "failed": 1}
    assert "diverged" in board["runs"][1]["message"]


def test_only_what_failed_is_tried_again(command, folders, tmp_path):
    failed = ("--set", "panels.0.recipe.lr=1.0e+30")
    assert command("launch", "--on", "here", "--only", "0", *failed).returncode == 1
    paths = folders("runs", "panels.0.recipe.lr=1.0e+30")
    assert command("launch", "--on", "here", "--only", "failed", *failed).returncode == 1
    assert [len(attempts(own.attempts)) for own in paths] == [2, 2, 0, 0]
    nothing = command("launch", "--on", "here", "--only", "nothing")
    assert nothing.returncode == 2 and "--only nothing: no such state, arm or seed" in nothing.stderr


def test_a_missing_data_set_is_said_before_anything_starts(command, tmp_path):
    launch = command("launch", "--on", "local", data=tmp_path / "absent")
    assert launch.returncode == 2
    assert launch.stderr == f"error: no data directory {tmp_path / 'absent'}\n  Mend --data-dir or $ABLATION_DATA.\n"
    assert not (tmp_path / "runs").exists()


def test_status_is_what_design_md_says(command, folders):
    command("launch", "--on", "here", "--set", "seeds=1")
    board = json.loads(command("status", "--json").stdout)
    assert list(board) == ["sweep", "runs", "states"] and board["states"] == {"done": 2, "missing": 2}
    keys = ["id", "panel", "arm", "seed", "state", "epoch", "epochs", "top1_error", "seconds", "message"]
    assert all(list(run)[: len(keys)] == keys for run in board["runs"])
    assert [run["id"] for run in board["runs"]] == [paths.id for paths in folders()]
    shown = command("status").stdout
    assert "2 done, 2 missing" in shown and "resnext11_4x3d" in shown
    log = command("status", "--log", "resnet11_1x8d-s0").stdout
    assert "epoch=2" in log and "event=done" in log
    assert command("status", "--log", "resn").returncode == 2


def test_a_dry_run_starts_nothing(command, tmp_path):
    shown = command("launch", "--dry-run", "--on", "local")
    assert shown.returncode == 0 and "resnext11_4x3d" in shown.stdout and "4 to start" in shown.stdout
    assert not (tmp_path / "runs").exists()


def test_the_dry_run_of_table_3_lists_the_papers_costs():
    arguments = [sys.executable, "-m", "ablation.launch", "sweeps/table3.yaml", "--dry-run", "--json", "--on", "local"]
    answer = json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    assert answer["sweep"] == "table3" and len(answer["runs"]) == 30
    keys = ["id", "panel", "arm", "design", "seed", "params", "macs", "state", "gpu_hours"]
    assert all(list(run) == keys for run in answer["runs"])
    costs = {run["design"]: (run["params"], run["macs"]) for run in answer["runs"]}
    assert costs["resnext50_8x14d"] == (25_603_016, 4_267_409_408)
    assert costs["resnext101_32x4d"] == (44_177_704, 7_969_996_800)


@pytest.mark.parametrize("on", ["slurn", "slurm"])
def test_a_place_that_is_not_there(command, on, monkeypatch):
    launch = command("launch", "--on", on)
    assert launch.returncode == 2 and launch.stderr.startswith("error: ")


def test_a_launch_waits_for_the_workers_of_a_killed_one(command, folders):
    first = command("launch", "--on", "local", "--set", "panels.0.recipe.epochs=20", start=True)
    running = folders("runs", "panels.0.recipe.epochs=20")
    wait_until(lambda: any(paths.log.exists() for paths in running))
    os.kill(first.pid, signal.SIGKILL)  # its workers live on
    second = command("launch", "--on", "local", "--set", "panels.0.recipe.epochs=20")
    first.communicate()
    assert second.returncode == 0, second.stderr
    assert "started" not in second.stderr and "small: 4 done" in second.stdout
    assert all(len(attempts(paths.attempts)) == 1 for paths in running)


def test_what_is_printed_for_machines_is_json_alone(command):
    launched = command("launch", "--on", "local", "--set", "seeds=1", "--json")
    assert json.loads(launched.stdout)["states"] == {"done": 2}


def test_a_place_that_can_not_be_written_is_said(command, tmp_path):
    (tmp_path / "file").touch()
    launch = command("launch", "--on", "local", runs="file/runs")
    assert launch.returncode == 2 and "can't write run folders: Not a directory" in launch.stderr
    assert "Traceback" not in launch.stderr


def test_a_run_of_two_processes_on_this_machine_is_that_of_one(command, folders):
    exact = ("--set", "precision=fp64", "--set", "panels.0.recipe.lr=0.05", "--only", "0")
    assert command("launch", "--on", "here", *exact, runs="one").returncode == 0
    both = command("launch", "--on", "local", *exact, "--set", "resources.tasks=2", runs="two")
    assert both.returncode == 0, both.stderr
    changes = ("precision=fp64", "panels.0.recipe.lr=0.05")
    for one, two in zip(*(folders(name, *changes) for name in ("one", "two")), strict=True):
        if one.result.exists():
            first, second = (json.loads(paths.result.read_text()) for paths in (one, two))
            assert first["train_loss"] == pytest.approx(second["train_loss"], abs=1e-6)
            assert one.bits("test").read_bytes() == two.bits("test").read_bytes()
            kept = weights(one), weights(two)
            assert all(torch.allclose(kept[0][key], kept[1][key], rtol=0, atol=1e-9) for key in kept[0])
    assert "done" in both.stdout


@pytest.mark.parametrize(("on", "what"), [("here", "resources.tasks=2"), ("local", "resources.nodes=2")])
def test_more_processes_than_a_place_can_have_are_refused(command, on, what):
    refused = command("launch", "--on", on, "--set", what)
    assert refused.returncode == 2 and "Launch it --on slurm" in refused.stderr


def test_a_batch_that_can_not_be_shared_is_refused_before_anything_starts(command, tmp_path):
    refused = command("launch", "--on", "local", "--set", "resources.tasks=4", "--dry-run")
    assert refused.returncode == 2 and "4 processes can't share a batch of 32" in refused.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("on", ["here", "local"])
def test_runs_side_by_side_give_the_numbers_of_one_after_the_other(command, folders, on):
    assert command("launch", "--on", "here", runs="one").returncode == 0
    together = command("launch", "--on", on, "--set", "resources.side_by_side=2", runs="two")
    assert together.returncode == 0 and "small: 4 done" in together.stdout, together.stderr
    assert all(same(one, two) for one, two in zip(folders("one"), folders("two"), strict=True))
