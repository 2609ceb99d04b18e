"""Where runs stand, with Slurm's programs played by scripts that print real lines: tests/slurm has the real ones."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_slurm import attempt, begun_at, line, slurm_launch
from studies import fail_run, start_run, write_run, write_study, write_sweep

from ablation import outlook, slurm
from ablation.board import Row, read_board
from ablation.launches import Launch
from ablation.slurm import Slurm
from ablation.status.grid import duration, lines, picture
from ablation.status.log import last_traceback, named

ROOT = Path(__file__).parent.parent


@pytest.fixture
def study(tmp_path):
    """A sweep none of whose runs has begun, its folder of runs, and the ids of its runs."""
    sweep = write_sweep(tmp_path)
    (tmp_path / "runs" / "study").mkdir(parents=True)
    return sweep, tmp_path / "runs", [run.id for run in sweep.runs()]


def rows(study) -> dict[str, Row]:
    return {row.id: row for row in read_board(study[0], study[1]).rows}


def first(study) -> Row:
    return rows(study)[study[2][0]]


def paths_of(study, index=0):
    sweep, runs, _ = study
    run = sweep.runs()[index]
    start_run(sweep, run, runs)
    return sweep.paths(runs, run)


def test_a_live_launch_costs_one_squeue_and_no_sacct(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0", "12_1"])
    cluster.says("squeue", *(line(f"12_{i}", "PENDING", launch=launch, reason="Resources") for i in range(2)))
    found = rows(study)
    assert {(row.state, row.reason) for row in found.values()} == {("waiting", "Resources")}
    assert len(cluster.calls("squeue")) == 1 and not cluster.calls("sacct")


def test_many_launches_cost_one_squeue_and_one_sacct(study, cluster):
    for number in range(20):
        slurm_launch(study[1], study[2], [f"{number}_0", f"{number}_1"])
    cluster.says("sacct", *(line(f"{number}_{i}", "FAILED") for number in range(20) for i in range(2)))
    rows(study)
    assert len(cluster.calls("squeue")) == 1 and len(cluster.calls("sacct")) == 1


def test_a_finished_sweep_asks_slurm_nothing(tmp_path, cluster):
    sweep, runs = write_study(tmp_path)
    slurm_launch(runs, [run.id for run in sweep.runs()], ["12_0"])
    assert read_board(sweep, runs).states == {"done": 15}
    assert not cluster.calls("squeue") and not cluster.calls("sacct")


def test_how_a_launch_ended_is_asked_once(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    cluster.says("sacct", line("12_0", "OUT_OF_MEMORY"))
    assert first(study).message == "never started, and its jobs are gone: OUT_OF_MEMORY"
    assert first(study).message == "never started, and its jobs are gone: OUT_OF_MEMORY"
    assert len(cluster.calls("squeue")) == 1 and len(cluster.calls("sacct")) == 1
    assert json.loads(launch.end.read_text())["jobs"][0]["state"] == "OUT_OF_MEMORY"


@pytest.mark.parametrize("state", ["PENDING", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED"])
def test_a_run_whose_job_has_not_ended_waits(study, cluster, state):
    launch = slurm_launch(study[1], study[2], ["12"])
    cluster.says("squeue", line("12", state, launch=launch))
    assert first(study).state == "waiting"


@pytest.mark.parametrize("silent", [5, 1000], ids=["lease holds", "lease is over"])
@pytest.mark.parametrize("word", ["FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", "CANCELLED by 0"])
def test_a_run_whose_job_is_gone_says_slurms_word(study, cluster, word, silent):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    attempt(paths_of(study), launch, job="57", silent=silent)
    cluster.says("squeue", line("12_0", word, raw="57", launch=launch))
    row = first(study)
    assert row.state == "missing"
    assert row.message == f"interrupted by Slurm: {word.split()[0]}; launch again to run it again"


def test_a_run_whose_heart_is_silent_runs_while_its_job_does(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    attempt(paths_of(study), launch, job="57", silent=1000)
    cluster.says("squeue", line("12_0", "RUNNING", raw="57", launch=launch, nodes="n1"))
    assert first(study).state == "running"


def test_a_run_whose_job_is_queued_again_waits(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    attempt(paths_of(study), launch, job="57", silent=5)
    cluster.says("squeue", line("12_0", "PENDING", raw="57", launch=launch, reason="BeginTime"))
    assert (first(study).state, first(study).reason) == ("waiting", "BeginTime")


def test_an_element_that_waits_is_not_taken_for_the_one_whose_number_it_shows(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0", "12_1"])
    attempt(paths_of(study), launch, job="12")
    cluster.says("squeue", line("12_1", "PENDING", launch=launch), line("12_0", "RUNNING", launch=launch))
    assert first(study).state == "running"


def test_an_element_cancelled_before_it_started_has_no_record_and_is_gone(study, cluster):
    begun_at(slurm_launch(study[1], study[2], ["12_0", "12_1"]), 1000)
    cluster.says("sacct", line("12_0", "COMPLETED"))
    assert first(study).state == "missing"
    rows(study)
    assert len(cluster.calls("sacct")) == 1, "it will never be known, and is not asked for again"


def test_elements_that_never_started_are_one_line_of_sacct(study, cluster):
    slurm_launch(study[1], study[2], [f"12_{i}" for i in range(5)])
    cluster.says("sacct", line("12_[0-2,4%2]", "CANCELLED by 0"), line("12_3", "FAILED"))
    assert first(study).message == "never started, and its jobs are gone: CANCELLED, FAILED"


def silent(cluster, monkeypatch):
    monkeypatch.setattr(slurm, "QUERY_SECONDS", 0.5)
    monkeypatch.setattr(slurm.ask_squeue, "__defaults__", (0.5,))
    cluster.does("squeue", "exec sleep 30")


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_controller_that_is_down_makes_states_unknown(study, cluster, monkeypatch, how):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    attempt(paths_of(study, 0), launch, job="57", silent=1000)
    attempt(paths_of(study, 1), launch, job="58")
    fail_run(study[0], study[0].runs()[2], study[1], "diverged")
    silent(cluster, monkeypatch) if how == "silent" else cluster.fails("squeue")
    found = [rows(study)[id] for id in study[2]]
    assert [row.state for row in found[:4]] == ["unknown", "running", "failed", "unknown"]
    assert found[0].message == found[3].message == "slurmctld does not answer"
    assert not cluster.calls("sacct")


def test_accounting_that_is_down_leaves_a_run_missing_and_is_asked_again(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    cluster.fails("sacct", "sacct: error: slurm_persist_conn_open: failed to connect\n")
    assert first(study).state == "missing" and not launch.end.exists()


def test_accounting_that_is_off_is_not_asked_for_ever(study, cluster):
    begun_at(slurm_launch(study[1], study[2], ["12_0"]), 1000)
    cluster.fails("sacct", "Slurm accounting storage is disabled\n")
    assert [first(study).state for _ in range(2)] == ["missing"] * 2
    assert len(cluster.calls("sacct")) == 1


def test_a_job_id_that_came_back_is_another_launchs(study, cluster):
    old = begun_at(slurm_launch(study[1], study[2][:3], ["12_0"]), 1000)
    new = slurm_launch(study[1], study[2][3:], ["12_0"])
    cluster.says("squeue", line("12_0", "RUNNING", launch=new))
    assert [row.state for row in rows(study).values()] == ["missing"] * 3 + ["waiting"] * 12
    assert old.id < new.id


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"comment": "project 7"}, "waiting"),
        ({"comment": "project 7", "name": "another"}, "missing"),
        ({"comment": "project 7", "submitted": "2020-01-01T00:00:00"}, "missing"),
        ({"comment": "ablation:another"}, "missing"),
    ],
)
def test_where_a_site_demands_its_own_comment_name_and_time_tell_a_job(study, cluster, changes, state):
    slurm_launch(study[1], study[2], ["12_0"])
    cluster.says("squeue", line("12_0", "PENDING", **changes))
    assert first(study).state == state


def test_jobs_that_nobody_wrote_down_are_adopted(study, cluster):
    launch = slurm_launch(study[1], study[2], None)
    cluster.says("squeue", *(line(f"12_{i}", "PENDING", launch=launch, reason="Priority") for i in range(2)))
    assert (first(study).state, first(study).reason) == ("waiting", "Priority")
    content = json.loads(launch.description.read_text())
    assert content["jobs"] == ["12_0", "12_1"] and content["runs"] == study[2]


def test_a_submission_that_left_no_job_is_missing_after_a_while(study, cluster):
    begun_at(slurm_launch(study[1], study[2], None), outlook.SUBMIT_SECONDS + 5)
    assert first(study).state == "missing"


def test_a_submission_under_way_is_not_made_again(study, cluster):
    slurm_launch(study[1], study[2], None)
    assert (first(study).state, first(study).reason) == ("waiting", "being submitted")


def test_what_watches_asks_slurm_seldom(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    cluster.says("squeue", line("12_0", "PENDING", launch=launch))
    asked = Slurm(every=100)
    for _ in range(3):
        assert read_board(study[0], study[1], asked).states == {"waiting": 15}
    assert len(cluster.calls("squeue")) == 1


def test_a_run_that_ends_between_the_two_looks_is_done(study, cluster, tmp_path):
    sweep, runs, ids = study
    launch = slurm_launch(runs, ids, ["12_0"])
    paths = paths_of(study)
    attempt(paths, launch, job="57")
    elsewhere = write_run(sweep, sweep.runs()[0], tmp_path / "other", 12.0)
    cluster.says("squeue", line("12_0", "COMPLETED", raw="57", launch=launch))
    cluster.does("squeue", f"cp {elsewhere.result} {paths.result}")
    assert first(study).state == "done"


def failed_in(study, launch, **fields):
    fields = {"ended": "failed", "message": "diverged", **fields}
    attempt(paths_of(study), launch, **fields)


@pytest.mark.parametrize(("final", "state"), [(True, "failed"), (False, "waiting")])
def test_a_run_that_failed_for_good_is_not_tried_by_the_same_launch(study, cluster, final, state):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    failed_in(study, launch, final=final)
    cluster.says("squeue", line("12_0", "RUNNING", launch=launch))
    assert first(study).state == state


def test_a_run_that_failed_waits_for_a_later_launch(study, cluster):
    failed_in(study, begun_at(slurm_launch(study[1], study[2], ["11_0"]), 500))
    launch = slurm_launch(study[1], study[2], ["12_0"])
    cluster.says("squeue", line("12_0", "RUNNING", launch=launch))
    assert (first(study).state, first(study).message) == ("waiting", "diverged")


def test_a_cancelled_run_is_missing_whatever_its_launch_does(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    cluster.says("squeue", line("12_0", "RUNNING", launch=launch))
    paths_of(study).cancelled.touch()
    found = rows(study)
    assert (found[study[2][0]].state, found[study[2][0]].message) == ("missing", "cancelled")
    assert found[study[2][1]].state == "waiting"


def test_workers_of_another_machine_show_life_by_their_lease(study):
    launch = slurm_launch(study[1], study[2], ["1"])
    content = {"on": "local", "runs": study[2], "jobs": ["1"], "processes": {"1": "5"}, "host": "n1 pid:[1]"}
    launch.description.write_text(json.dumps(content))
    assert rows(study)[study[2][1]].state == "missing"
    attempt(paths_of(study), launch)
    assert rows(study)[study[2][1]].state == "waiting"


def test_hours_are_those_of_all_attempts(study):
    paths = paths_of(study)
    for start, end in (("10:00", "11:00"), ("12:00", "12:30")):
        times = {"started": f"2026-01-01T{start}:00.000+00:00", "ended_at": f"2026-01-01T{end}:00.000+00:00"}
        attempt(paths, ended="stopped", **times)
    row = first(study)
    assert (row.cpu_hours, row.gpu_hours, row.attempts, row.node) == (1.5, None, 2, "n1")


def test_gpu_hours_count_every_gpu_of_a_run_and_share_what_is_shared(tmp_path):
    from studies import sweep_fields

    sweep = write_sweep(tmp_path, sweep_fields(resources={"gpus": 1, "side_by_side": 2}))
    times = {"started": "2026-01-01T10:00:00.000+00:00", "ended_at": "2026-01-01T11:00:00.000+00:00"}
    paths = start_run(sweep, sweep.runs()[0], tmp_path / "runs", execution={"device": "cuda"})
    attempt(paths, ended="stopped", **times)
    row = read_board(sweep, tmp_path / "runs").rows[0]
    assert (row.gpu_hours, row.cpu_hours) == (0.5, None)


def test_what_is_left_is_told_by_the_arms_other_runs(tmp_path):
    sweep, runs = write_study(tmp_path)
    last = sweep.runs()[-1]
    for path in sweep.paths(runs, last).folder.iterdir():
        path.unlink()
    row = read_board(sweep, runs).rows[-1]
    others = [row for row in read_board(sweep, runs).rows if row.arm == last.arm and row.state == "done"]
    assert row.seconds_left == pytest.approx(sum(row.seconds for row in others) / len(others), abs=0.1)


def printed(board, width=80):
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO())
    console.print(picture(board))
    return console.export_text().rstrip().splitlines()


def test_five_arms_and_three_seeds_fit_eighty_columns(tmp_path):
    sweep, runs = write_study(tmp_path)
    shown = printed(read_board(sweep, runs))
    assert shown[0].startswith("study: 15 done")
    lines = [line for line in shown if "resn" in line]
    assert len(lines) == 5 and all(line.count("done ") == 3 and "%" in line for line in lines)
    assert max(map(len, shown)) <= 80


@pytest.mark.parametrize(("seeds", "word"), [(10, " 9 "), (30, "mean error")])
def test_many_seeds_still_fit(tmp_path, seeds, word):
    from studies import sweep_fields

    sweep, runs = write_study(tmp_path, sweep_fields(seeds=seeds))
    shown = printed(read_board(sweep, runs), 120)
    assert any(word in line for line in shown) and sum("resn" in line for line in shown) == 5
    assert "…" not in "".join(shown)


def test_words_below_the_grid_say_why_runs_wait_and_failed(study, cluster):
    launch = slurm_launch(study[1], study[2], ["12_0"])
    cluster.says("squeue", line("12_0", "PENDING", launch=launch, reason="Resources"))
    failed_in(study, launch)
    attempt(paths_of(study, 1), launch, ended="failed", message="diverged")
    assert lines(read_board(study[0], study[1])) == [
        "waiting (Resources): 13 runs",
        f"{study[2][0]} and 1 more: failed: diverged",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(60, "about 60 s"), (600, "about 10 min"), (7200, "about 2 h"), (1e6, "about 11.6 days")]
)
def test_durations_are_said_in_their_own_unit(seconds, words):
    assert duration(seconds) == words


def command(sweep, runs, *options):
    arguments = [sys.executable, "-m", "ablation.status", str(sweep.path), "--runs", str(runs), *options]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=60)


TRACE = """Traceback (most recent call last):
  File "train.py", line 1, in step
    boom()
ValueError: boom"""


def test_log_shows_records_output_and_the_last_traceback(study):
    sweep, runs, ids = study
    launch = slurm_launch(runs, ids, ["12_0", "12_1"])
    attempt(paths_of(study), launch, job="57", output="12_0", ended="failed", message="ValueError: boom")
    (launch.folder / "12_0_0_log.err").write_text(
        f"{TRACE.replace('boom', 'old')}\nother failed: old\n{TRACE}\n{ids[0]} failed: boom\n"
    )
    (launch.folder / "12_1_0_log.err").write_text("another worker's\n")
    shown = command(sweep, runs, "--log", f"{sweep.panels[0].arms[0].name}:0").stdout
    assert "attempt 1 worker=n1:17 job=57" in shown and "failed ValueError: boom" in shown
    assert shown.endswith(f"the last traceback:\n{TRACE}\n")
    assert "another worker's" not in shown


def test_the_last_traceback_is_the_runs_own():
    text = f"{TRACE}\nmine failed: boom\n{TRACE.replace('boom', 'later')}\nother failed: later\n"
    assert last_traceback(text, "mine") == TRACE
    assert last_traceback("all is well\n", "mine") == ""


def test_a_run_is_named_by_the_start_of_its_id_or_its_arm_and_seed(study):
    sweep, _, ids = study
    assert named(sweep, ids[3][:-2]) == ids[3]
    assert named(sweep, f"{sweep.panels[0].arms[1].name}:2") == sweep.runs()[11].id


def test_a_name_that_fits_several_runs_lists_them(study):
    told = command(study[0], study[1], "--log", "resnext11_2x5d")
    assert told.returncode == 2 and told.stderr.count("\n  resnext11_2x5d-s") == 3
    assert "3 runs are named so" in told.stderr


def test_json_keeps_its_keys(study):
    board = json.loads(command(study[0], study[1], "--json").stdout)
    keys = ["id", "panel", "arm", "seed", "state", "epoch", "epochs", "top1_error", "seconds", "message"]
    assert list(board) == ["sweep", "runs", "states"] and list(board["runs"][0])[:10] == keys


def test_a_launch_that_died_before_it_wrote_anything_is_nothing(study):
    (study[1] / "study" / "launches" / "20260101T000000-abcdef").mkdir(parents=True)
    assert Launch(study[1] / "study" / "launches" / "20260101T000000-abcdef").runs == []
    assert first(study).state == "missing"
