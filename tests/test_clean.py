"""Cleaning: what goes, and above all what stays."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_slurm import attempt, begun_at, line, slurm_launch
from studies import start_run, write_study

from ablation.clean import size, waste
from ablation.run import RunPaths

ROOT = Path(__file__).parent.parent
OLD = time.time() - 7200
PRECIOUS = ("run.json", "log.jsonl", "result.json", "weights.pt", "correct.test.bits")


@pytest.fixture
def study(tmp_path):
    """A finished sweep all of whose runs left everything there is."""
    sweep, runs = write_study(tmp_path)
    for run in sweep.runs():
        paths = sweep.paths(runs, run)
        for name in ("weights.pt", "correct.test.bits", "checkpoint.pt"):
            (paths.folder / name).write_bytes(b"x" * 100)
    return sweep, runs


def unfinished(study, index=0) -> RunPaths:
    paths = study[0].paths(study[1], study[0].runs()[index])
    paths.result.unlink()
    return paths


def old(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("half")
    os.utime(path, (OLD, OLD))
    return path


def submitted(study, jobs=("12_0",), ids=None):
    launch = slurm_launch(study[1], ids or [run.id for run in study[0].runs()], list(jobs))
    for name in ("12_0_submitted.pkl", "12_0_0_result.pkl", "12_submission.sh", "12_0_0_log.out", "12_0_0_log.err"):
        (launch.folder / name).write_text("x")
    return launch


def found(study, **options) -> set[str]:
    return {item.path.name for item in waste(*study, other_runs=options.get("other_runs", False))}


def test_checkpoints_of_finished_runs_go_and_nothing_else_of_them(study):
    items = list(waste(*study, other_runs=True))
    assert len(items) == 15 and {item.path.name for item in items} == {"checkpoint.pt"}
    assert sum(item.bytes for item in items) == 1500


def test_a_checkpoint_on_scratch_goes_with_the_link_to_it(study, tmp_path):
    link = study[0].paths(study[1], study[0].runs()[0]).checkpoint
    link.rename(tmp_path / "scratch.pt")
    link.symlink_to(tmp_path / "scratch.pt")
    assert {link, tmp_path / "scratch.pt"} <= {item.path for item in waste(*study, other_runs=False)}


def test_an_unfinished_run_keeps_its_checkpoint(study):
    paths = unfinished(study)
    assert paths.checkpoint not in {item.path for item in waste(*study, other_runs=True)}


def test_spare_files_of_killed_writers_go_when_they_are_old(study):
    paths = unfinished(study)
    spares = {old(paths.folder / ".checkpoint.pt.4711"), old(paths.attempts / ".clock.00c0ffee")}
    (paths.folder / ".result.json.12").touch()  # being written just now
    items = {item.path for item in waste(*study, other_runs=False) if item.path.name.startswith(".")}
    assert items == spares


def test_a_live_run_is_not_touched(study):
    paths = unfinished(study)
    old(paths.folder / ".checkpoint.pt.4711")
    attempt(paths)
    assert not {item for item in waste(*study, other_runs=True) if paths.folder in item.path.parents}


def test_of_an_ended_launch_only_its_description_stays(study, cluster):
    launch = submitted(study)
    gone = {item.path.name for item in waste(*study, other_runs=False) if launch.folder in item.path.parents}
    assert gone == {"12_0_submitted.pkl", "12_0_0_result.pkl", "12_submission.sh", "12_0_0_log.out", "12_0_0_log.err"}


def test_what_workers_printed_stays_where_a_run_is_not_done(study, cluster):
    unfinished(study)
    launch = begun_at(submitted(study), 1000)
    gone = {item.path.name for item in waste(*study, other_runs=False) if launch.folder in item.path.parents}
    assert gone == {"12_0_submitted.pkl", "12_0_0_result.pkl", "12_submission.sh"}


def test_a_live_launch_is_not_touched(study, cluster):
    launch = submitted(study)
    cluster.says("squeue", line("12_0", "COMPLETING", launch=launch))
    assert found(study) == {"checkpoint.pt"}


def test_a_launch_that_slurm_does_not_tell_of_is_not_touched(study, cluster):
    submitted(study)
    cluster.fails("squeue")
    assert found(study) == {"checkpoint.pt"}


def test_checkpoints_of_other_runs_go_only_where_they_are_asked_for(study):
    sweep, runs = study
    paths = start_run(sweep, sweep.runs()[0].at(99), runs)
    paths.checkpoint.write_text("x")
    assert paths.checkpoint not in {item.path for item in waste(*study, other_runs=False)}
    assert paths.checkpoint in {item.path for item in waste(*study, other_runs=True)}


def command(study, *options):
    arguments = [sys.executable, "-m", "ablation.clean", str(study[0].path), "--runs", str(study[1]), *options]
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, timeout=60)


def files(study) -> set[Path]:
    return {path for path in study[1].rglob("*") if path.is_file()}


def test_a_dry_run_removes_nothing(study):
    before = files(study)
    shown = command(study, "--dry-run")
    assert shown.stdout.startswith("would remove 15 files, 1.5 kB\ncheckpoint of a finished run: 15, 1.5 kB\n")
    assert files(study) == before


def test_it_removes_what_it_says_and_no_more(study, cluster):
    submitted(study)
    old(study[0].paths(study[1], study[0].runs()[0]).folder / ".log.jsonl.12")
    before = files(study)
    told = json.loads(command(study, "--json").stdout)
    gone = before - files(study)
    assert gone == {Path(item["path"]) for item in told["removed"]}
    assert told["bytes"] == sum(item["bytes"] for item in told["removed"]) and told["dry_run"] is False
    assert not {path for path in gone if path.name in PRECIOUS}
    assert command(study).stdout == "nothing to remove\n"


@pytest.mark.parametrize(("number", "words"), [(999, "999 B"), (12_300, "12.3 kB"), (3.2e12, "3.2 TB")])
def test_sizes_are_said_in_their_own_unit(number, words):
    assert size(number) == words
