"""What goes wrong in a study: a report all the same, with what it lacks said first, or one plain error and nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from studies import epoch_record, fail_run, start_run, sweep_fields, write_run, write_study, write_sweep

from ablation.errors import UserError
from ablation.registration import register
from analysis.report import main

ROOT = Path(__file__).parent.parent


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path)


def made(folder, capsys):
    """What the report answers, its first paragraph, and all of its Markdown."""
    capsys.readouterr()
    main([folder / "study.yaml"], runs=folder / "runs", out=folder / "reports", json=True)
    text = (folder / "reports" / "study" / "report.md").read_text()
    return json.loads(capsys.readouterr().out), text.split("\n\n")[1], text


def refused(folder):
    """The command's error: one plain one, exit 2, no traceback, nothing written."""
    command = [sys.executable, "-m", "analysis.report", "study.yaml"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and not (folder / "reports").exists()
    return done.stderr


def fail(study, numbers, message="out of memory"):
    sweep, runs = study
    for number in numbers:
        run = sweep.runs()[number]
        for path in (sweep.paths(runs, run).result, sweep.paths(runs, run).log):
            path.unlink(missing_ok=True)
        fail_run(sweep, run, runs, message)


def write_bits(study, size):
    """Correct images of every run; `size` is the file's length by the run's number."""
    sweep, runs = study
    for number, run in enumerate(sweep.runs()):
        right = np.random.default_rng(number).random(10_000) > 0.12
        data = np.packbits(right).tobytes()
        sweep.paths(runs, run).bits("test").write_bytes(data[: size(number)])


def test_one_seed_gives_estimates_and_no_verdict(tmp_path, capsys):
    write_study(tmp_path, sweep_fields(seeds=1))
    answer, first, _ = made(tmp_path, capsys)
    assert {c["verdict"] for c in answer["contrasts"]} == {"one seed: no verdict"}
    assert "one seed" in answer["verdict"] and first == "Sweep study: all 5 runs finished."


def test_all_runs_failed_is_one_error_with_the_first_message(tmp_path):
    sweep = write_sweep(tmp_path)
    for run in sweep.runs():
        fail_run(sweep, run, tmp_path / "runs", "CUDA out of memory")
    assert "15 failed, the first (resnet11_1x8d, seed 0) with: CUDA out of memory" in refused(tmp_path)


def test_unequal_seeds_are_counted_and_said(study, tmp_path, capsys):
    fail(study, [0, 5, 6])
    answer, first, text = made(tmp_path, capsys)
    assert [arm["n"] for arm in answer["arms"]] == [1, 2, 3, 3, 3]
    assert "12 of 15 runs finished; 3 failed (listed below)" in first
    assert "1 to 3 of 3 seeds an arm (3 runs failed)" in answer["verdict"] and "out of memory" in text


def test_an_arm_without_any_run_has_no_estimate_and_no_verdict(study, tmp_path, capsys):
    fail(study, [1, 6, 11])
    answer, first, _ = made(tmp_path, capsys)
    assert answer["arms"][1]["n"] == 0 and answer["arms"][1]["top1_error"] is None
    assert "improves" not in answer["contrasts"][0]["verdict"] and "3 failed" in first


def test_without_the_baseline_nothing_is_compared(study, tmp_path, capsys):
    fail(study, [0, 5, 10])
    answer, first, _ = made(tmp_path, capsys)
    assert answer["arms"][0]["n"] == 0 and "3 failed" in first
    assert not [c for c in answer["contrasts"] if c["verdict"].split()[0] in ("improves", "worsens", "equivalent")]


@pytest.mark.parametrize("where", [{"evaluation": {"loss": float("nan")}}, {"result": {"train_loss": float("inf")}}])
def test_losses_that_are_not_finite_are_a_run_that_diverged(study, tmp_path, capsys, where):
    sweep, runs = study
    write_run(sweep, sweep.runs()[2], runs, 90.0, **where)
    answer, first, text = made(tmp_path, capsys)
    assert "Means are over the runs that did not diverge; runs of resnext11_3x4-7-15d did." in first
    assert answer["arms"][2]["n"] == 2 and answer["arms"][2]["top1_error"] < 20 and "diverged: " in text


def test_a_run_that_stopped_because_it_diverged_is_said_first_too(study, tmp_path, capsys):
    fail(study, [2], "diverged: the training loss is nan in epoch 1")
    assert "runs of resnext11_3x4-7-15d did" in made(tmp_path, capsys)[1]


def test_epochs_written_twice_after_a_requeue_count_once(study, tmp_path, capsys):
    before = made(tmp_path, capsys)
    tables = (tmp_path / "reports" / "study" / "tables" / "epochs.csv").read_bytes()
    sweep, runs = study
    run = sweep.runs()[0]
    log = sweep.paths(runs, run).log
    resumed = json.dumps({"kind": "event", "event": "resume"}) + "\n"
    log.write_text(json.dumps(epoch_record(run, 2, 50.0)) + "\n" + resumed + log.read_text())
    assert made(tmp_path, capsys) == before
    assert (tmp_path / "reports" / "study" / "tables" / "epochs.csv").read_bytes() == tables


def test_whole_bits_speak_of_new_images(study, tmp_path, capsys):
    write_bits(study, lambda _: 1250)
    _, first, text = made(tmp_path, capsys)
    assert "cut off" not in first and "Do the differences hold for new images?" in text


def test_bits_that_were_cut_off_are_said_first_and_left_out(study, tmp_path, capsys):
    write_bits(study, lambda number: 600 if number == 6 else 1250)
    _, first, text = made(tmp_path, capsys)
    run = study[0].runs()[6]
    assert f"Of 1 run the file of correct images was cut off ({run.id}: 4,800 bits for 10,000 images)" in first
    assert "so nothing is said of new images for resnext11_2x5d." in first
    table = text.split("Do the differences hold for new images?")[1].split("\n\n")[1]
    assert "resnext11_2x5d" not in table and "resnext11_4x3d" in table
    assert str(tmp_path) not in text


def test_bits_of_the_baseline_that_were_cut_off_leave_all_out(study, tmp_path, capsys):
    write_bits(study, lambda number: 0 if number == 5 else 1250)
    _, first, text = made(tmp_path, capsys)
    assert "for resnet11_1x8d." in first and "hold for new images?" not in text


def test_a_test_set_of_another_size_is_one_error_with_its_run(study, tmp_path):
    sweep, runs = study
    write_run(sweep, sweep.runs()[7], runs, 12.0, evaluation={"images": 9_999})
    said = refused(tmp_path)
    assert "mixes numbers of evaluated images" in said and f"9999 (such as {sweep.runs()[7].id})" in said


def test_a_run_without_its_description_is_one_error_with_its_file(study, tmp_path):
    sweep, runs = study
    path = sweep.paths(runs, sweep.runs()[7]).run_json
    path.unlink()
    said = refused(tmp_path)
    assert f"{path.relative_to(tmp_path)}: missing file" in said and "Remove the run's folder" in said


def test_a_registration_that_was_edited_is_one_error_with_its_file(study, tmp_path):
    sweep, runs = study
    register(sweep, runs)
    path = runs / "study" / "registration.json"
    path.write_text(path.read_text().replace('"margin": null', '"margin": 0.5'))
    assert "runs/study/registration.json: this registration was changed after it was made" in refused(tmp_path)


def test_a_registration_that_can_not_be_read_is_one_error(study, tmp_path):
    sweep, runs = study
    register(sweep, runs)
    (runs / "study" / "registration.json").write_text("{")
    assert "runs/study/registration.json: damaged file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("log.jsonl", '{"kind": "epoch", "epoch": 1}\n?\n', "log.jsonl:2: damaged record"),
        ("log.jsonl", '{"kind": "epoch", "epoch": 1, "loss": "low"}\n', "log.jsonl:1: damaged record"),
        ("result.json", "{", "result.json: damaged file"),
        ("result.json", '{"evaluations": {"test": {"top1_error": "low"}}}', "result.json: damaged result"),
        ("run.json", "[]", "run.json: damaged file"),
        ("run.json", "{}", "run.json: damaged run description"),
    ],
)
def test_a_damaged_file_is_one_error_with_its_place(study, tmp_path, file, text, said):
    sweep, runs = study
    (sweep.paths(runs, sweep.runs()[3]).folder / file).write_text(text)
    assert said in refused(tmp_path)


def test_a_torn_last_line_is_forgiven(study, tmp_path, capsys):
    sweep, runs = study
    before = made(tmp_path, capsys)
    with open(sweep.paths(runs, sweep.runs()[3]).log, "a") as log:
        log.write('{"kind": "epoch", "epo')
    assert made(tmp_path, capsys) == before


def test_a_run_that_only_began_makes_it_interim(study, tmp_path, capsys):
    sweep, runs = study
    run = sweep.runs()[14]
    sweep.paths(runs, run).result.unlink()
    start_run(sweep, run, runs)
    answer, first, _ = made(tmp_path, capsys)
    assert "This is an interim report" in first and "no verdict yet" in answer["verdict"]


def test_an_error_leaves_an_earlier_report_as_it_was(study, tmp_path, capsys):
    made(tmp_path, capsys)
    folder = tmp_path / "reports"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sweep, runs = study
    sweep.paths(runs, sweep.runs()[0]).result.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        made(tmp_path, capsys)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
