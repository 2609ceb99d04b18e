"""Cancelling: which runs, which jobs, which processes, and what is left alone."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_slurm import attempt, line, slurm_launch
from studies import start_run, write_run, write_sweep

from ablation import cancel
from ablation.board import read_board
from ablation.cancel import Chosen, Plan, arrays, carry_out, make_plan
from ablation.claim import host, process_started
from ablation.errors import UserError
from ablation.launches import new_launch

ROOT = Path(__file__).parent.parent
ALL = Chosen([], [], [])


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(cancel, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(cancel, "WAIT_SECONDS", 1.0)


@pytest.fixture
def study(tmp_path):
    """A sweep whose first run is done; its folder of runs; the ids of its runs."""
    sweep = write_sweep(tmp_path)
    every = sweep.runs()
    write_run(sweep, every[0], tmp_path / "runs", 12.0)
    for run in every[1:]:
        start_run(sweep, run, tmp_path / "runs")
    return sweep, tmp_path / "runs", [run.id for run in every]


@pytest.fixture
def worker():
    """A process that ends on SIGTERM."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def queued(study, cluster, *jobs, state="PENDING", ids=None):
    launch = slurm_launch(study[1], ids or study[2], list(jobs))
    cluster.says("squeue", *(line(job, state, launch=launch) for job in jobs))
    cluster.does("scancel", f"rm {cluster.folder}/squeue.says")
    return launch


def local_launch(study, *pids, started=None, where=None):
    launch = new_launch(study[1], "study")
    processes = {str(pid): started or process_started(pid) for pid in pids}
    content = {"on": "local", "runs": study[2], "jobs": list(processes), "processes": processes}
    launch.description.write_text(json.dumps({**content, "host": where or host()}))
    return launch


def marked(study):
    sweep, runs, _ = study
    return [run.id for run in sweep.runs() if sweep.paths(runs, run).cancelled.exists()]


def test_a_sweep_is_cancelled_whole_but_for_what_is_done(study, cluster):
    queued(study, cluster, "12_0", "12_1", "12_2", "12_4")
    assert carry_out(make_plan(study[0], study[1], ALL)) == []
    assert marked(study) == study[2][1:]
    assert cluster.calls("scancel") == ["--quiet 12_[0-2,4]"]
    assert read_board(study[0], study[1]).states == {"done": 1, "missing": 14}


def test_some_runs_are_cancelled_and_the_workers_go_on(study, cluster):
    queued(study, cluster, "12_0", state="RUNNING")
    chosen = Chosen(["resnext11_2x5d"], [0, 2], [])
    assert carry_out(make_plan(study[0], study[1], chosen)) == []
    runs = [run for run in study[0].runs() if run.arm == "resnext11_2x5d" and run.seed != 1]
    assert marked(study) == [run.id for run in runs] and not cluster.calls("scancel")


def test_jobs_with_nothing_left_to_do_are_ended_too(study, cluster):
    runs = [run.id for run in study[0].runs() if run.arm == "resnext11_2x5d"]
    queued(study, cluster, "12_0", ids=runs)
    carry_out(make_plan(study[0], study[1], Chosen(["resnext11_2x5d"], [], [])))
    assert cluster.calls("scancel") == ["--quiet 12_[0]"]


def test_a_launch_with_runs_that_the_sweep_no_longer_has_goes_on(study, cluster, tmp_path):
    (tmp_path / "runs" / "study" / "an-older-run").mkdir()
    queued(study, cluster, "12_0", ids=[*study[2], "an-older-run"])
    some = make_plan(study[0], study[1], Chosen([], [0, 1, 2], []))
    assert not some.jobs
    assert make_plan(study[0], study[1], ALL).paths[-1].id == "an-older-run"


def test_the_jobs_of_others_are_left_alone(study, cluster):
    queued(study, cluster, "12_0")
    cluster.says("squeue", line("12_0", "RUNNING", comment="ablation:another"), line("13", "RUNNING", name="mine"))
    assert not make_plan(study[0], study[1], ALL).jobs


def test_a_local_worker_is_told_to_stop(study, worker):
    local_launch(study, worker.pid)
    assert carry_out(make_plan(study[0], study[1], ALL)) == []
    assert worker.wait(10) == -signal.SIGTERM
    assert marked(study) == study[2][1:]


@pytest.mark.parametrize("changes", [{"started": "1"}, {"where": "n7 pid:[1]"}], ids=["later namesake", "elsewhere"])
def test_another_process_with_the_same_number_is_not_touched(study, worker, changes):
    local_launch(study, worker.pid, **changes)
    carry_out(make_plan(study[0], study[1], ALL))
    assert worker.poll() is None


def test_workers_on_another_machine_are_named_and_see_the_mark(study):
    launch = local_launch(study, 1, where="n7 pid:[1]")
    attempt(study[0].paths(study[1], study[0].runs()[1]), launch)
    plan = make_plan(study[0], study[1], ALL)
    assert plan.elsewhere == ["n1"]
    carry_out(plan)
    assert marked(study) == study[2][1:]
    assert read_board(study[0], study[1]).rows[1].message == "cancelled, and about to stop"


def test_what_is_still_there_after_a_while_is_said(study, cluster):
    queued(study, cluster, "12_0", state="RUNNING")
    cluster.does("scancel", ":")
    assert carry_out(make_plan(study[0], study[1], ALL)) == ["job 12_0 (RUNNING)"]


def test_where_slurm_is_away_runs_are_marked_and_the_rest_is_said(study, cluster):
    queued(study, cluster, "12_0")
    cluster.fails("squeue")
    with pytest.raises(UserError, match="slurmctld does not answer") as error:
        carry_out(make_plan(study[0], study[1], ALL))
    assert "14 runs marked" in str(error.value) and marked(study) == study[2][1:]
    assert not cluster.calls("scancel")


def test_what_slurm_says_against_it_is_passed_on(study, cluster):
    queued(study, cluster, "12_0")
    cluster.does("scancel", ":")
    cluster.fails("scancel", "scancel: error: Kill job error on job id 12: Access/permission denied\n")
    with pytest.raises(UserError, match="Access/permission denied"):
        carry_out(make_plan(study[0], study[1], ALL))


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (Chosen(["resnext11_2x5"], [], []), "--arm resnext11_2x5: no such arm\n  Did you mean resnext11_2x5d"),
        (Chosen([], [7], []), "--seed 7: no such seed\n  Choose from: 0, 1, 2."),
        (Chosen([], [], ["resnext99"]), "--run resnext99: no such run"),
    ],
)
def test_a_name_that_fits_no_run_is_said(study, chosen, words):
    with pytest.raises(UserError) as error:
        make_plan(study[0], study[1], chosen)
    assert str(error.value).startswith(words) and not marked(study)


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        (["12"], ["12"]),
        (["12_0"], ["12_[0]"]),
        (["12_3", "12_0", "12_1", "13", "14_2"], ["12_[0-1,3]", "13", "14_[2]"]),
        ([f"12_{i}" for i in range(20_000)], ["12_[0-19999]"]),
    ],
)
def test_an_array_is_cancelled_by_one_word(jobs, words):
    assert arrays(jobs) == words


def command(study, *options):
    arguments = [sys.executable, "-m", "ablation.cancel", str(study[0].path), "--runs", str(study[1]), *options]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_a_dry_run_stops_nothing(study, cluster, worker):
    local_launch(study, worker.pid)
    shown = command(study, "--dry-run", "--seed", "0", "1")
    assert shown.returncode == 0 and shown.stdout.startswith("would be cancelled: 9 runs\n")
    assert not marked(study) and worker.poll() is None


def test_json_says_what_was_stopped(study, cluster):
    queued(study, cluster, "12_0")
    told = json.loads(command(study, "--json").stdout)
    assert told == {
        **{"sweep": "study", "cancelled": study[2][1:], "jobs": ["12_0"], "processes": []},
        **{"remaining": [], "dry_run": False},
    }


def test_nothing_to_cancel_is_no_mistake(study):
    shown = command(study)
    assert (shown.returncode, shown.stdout) == (0, "nothing runs or waits\n")


def test_a_plan_for_nothing_does_nothing():
    assert carry_out(Plan([])) == []
