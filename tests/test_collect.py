"""What is read from run folders of known truth, and what is refused."""

import json
import shutil

import pytest
from studies import fail_run, panel_fields, start_run, sweep_fields, write_run, write_study, write_sweep

from ablation.errors import UserError
from analysis.collect import EPOCH_COLUMNS, RUN_COLUMNS, collect


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path)


def first(sweep, runs):
    run = sweep.runs()[0]
    return run, sweep.paths(runs, run)


def test_a_finished_sweep_gives_a_row_for_each_run(study):
    found = collect(*study)
    assert list(found.runs.columns) == RUN_COLUMNS and len(found.runs) == found.planned == 15
    assert list(found.epochs.columns) == EPOCH_COLUMNS and len(found.epochs) == 30
    assert found.missing == [] and found.notes == []


def test_a_row_holds_what_the_files_say(study):
    sweep, runs = study
    run, paths = first(sweep, runs)
    result = json.loads(paths.result.read_text())
    row = collect(sweep, runs).runs.iloc[0]
    assert (row["arm"], row["seed"], row["run_id"]) == ("resnet11_1x8d", 0, run.id)
    assert row["top1_error"] == result["evaluations"]["test"]["top1_error"]
    assert (row["seconds"], row["images"], row["device"]) == (result["seconds"], 10_000, "cpu")
    assert row["params"] == sweep.panels[0].arms[0].cost.params


def test_one_run_serves_two_panels(tmp_path):
    fields = sweep_fields()
    fields["panels"].append(panel_fields(["resnet11_1x8d", "resnext11_4x3d"], name="again"))
    found = collect(*write_study(tmp_path, fields))
    assert found.runs.groupby("panel").size().to_dict() == {"width 8": 15, "again": 6}
    assert len(found.runs["run_id"].unique()) == 15
    assert found.errors("again", "resnext11_4x3d") == found.errors("width 8", "resnext11_4x3d")


def test_no_folder_means_that_every_run_is_missing(tmp_path):
    sweep = write_sweep(tmp_path)
    found = collect(sweep, tmp_path / "nowhere")
    assert found.runs.empty and found.epochs.empty and len(found.missing) == 15
    assert found.missing[0] == {
        **{"panel": "width 8", "arm": "resnet11_1x8d", "seed": 0, "state": "missing", "message": "not started"}
    }


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    sweep = write_sweep(tmp_path)
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        collect(sweep, tmp_path / "runs")


def test_a_failed_run_is_listed_with_its_message(study):
    sweep, runs = study
    run, paths = first(sweep, runs)
    shutil.rmtree(paths.folder)
    fail_run(sweep, run, runs, "CUDA out of memory")
    found = collect(sweep, runs)
    assert [(m["state"], m["message"]) for m in found.missing] == [("failed", "CUDA out of memory")]
    assert found.pending == [] and len(found.runs) == 14


@pytest.mark.parametrize(
    "where", [{"evaluation": {"top1_error": float("nan")}}, {"result": {"train_loss": float("inf")}}]
)
def test_a_run_that_diverged_has_failed_and_is_not_averaged(study, where):
    sweep, runs = study
    write_run(sweep, sweep.runs()[0], runs, 12.0, **where)
    found = collect(sweep, runs)
    (missing,) = found.missing
    assert missing["state"] == "failed" and missing["message"].startswith("diverged: ")
    assert len(found.errors("width 8", "resnet11_1x8d")) == 2


def test_an_unfinished_run_is_pending(study):
    sweep, runs = study
    run, paths = first(sweep, runs)
    shutil.rmtree(paths.folder)
    start_run(sweep, run, runs)
    found = collect(sweep, runs)
    assert [m["state"] for m in found.pending] == ["missing"]


def test_a_torn_last_line_is_forgiven(study):
    sweep, runs = study
    _, paths = first(sweep, runs)
    with open(paths.log, "a") as file:
        file.write('{"kind": "epo')
    assert len(collect(sweep, runs).epochs) == 30


def test_an_epoch_written_twice_counts_once(study):
    sweep, runs = study
    _, paths = first(sweep, runs)
    text = paths.log.read_text()
    paths.log.write_text(text + text)
    assert len(collect(sweep, runs).epochs) == 30


def test_a_damaged_line_is_named_by_file_and_line(study):
    sweep, runs = study
    _, paths = first(sweep, runs)
    good, *rest = paths.log.read_text().splitlines(keepends=True)
    paths.log.write_text(good + "?\n" + "".join(rest))
    with pytest.raises(UserError) as error:
        collect(sweep, runs)
    assert error.value.where == f"{paths.log}:2"


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"evaluations": {"other": {"top1_error": 1}}, "epochs": 1, "seconds": 1}']
)
def test_a_damaged_result_is_named(study, text):
    sweep, runs = study
    _, paths = first(sweep, runs)
    paths.result.write_text(text)
    with pytest.raises(UserError) as error:
        collect(sweep, runs)
    assert error.value.where == str(paths.result) and "damaged" in error.value.message


def test_a_folder_that_holds_another_run_is_refused(study):
    sweep, runs = study
    _, paths = first(sweep, runs)
    shutil.copy(sweep.paths(runs, sweep.runs()[1]).run_json, paths.run_json)
    with pytest.raises(UserError, match=r"run\.json describes"):
        collect(sweep, runs)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": {"digest": "sha256:other"}}, "data digests"),
        ({"evaluation": {"images": 9_999}}, "numbers of evaluated images"),
        ({"execution": {"dtype": "bfloat16"}}, "precisions"),
    ],
)
def test_runs_that_can_not_be_compared_are_refused_with_their_names(study, changes, what):
    sweep, runs = study
    run = sweep.runs()[7]
    write_run(sweep, run, runs, 12.0, **changes)
    with pytest.raises(UserError, match=f"mixes {what}.*{run.id}"):
        collect(sweep, runs)


def test_packed_and_native_kernels_are_told(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields())
    packed = {"4 groups of 3, 3x3, at 14x14": "1 groups of 12"}
    write_run(sweep, sweep.runs()[0], runs, 12.0, execution={"kernels": packed})
    assert {block["kernels"] for block in collect(sweep, runs).provenance["executions"]} == {"native", "packed"}


def test_other_devices_are_said_and_not_refused(study):
    sweep, runs = study
    write_run(sweep, sweep.runs()[7], runs, 12.0, execution={"device": "cuda", "device_name": "Example GPU"})
    assert collect(sweep, runs).notes == [
        "The runs of panel width 8 differ in devices: Example CPU, 2 cores, Example GPU."
    ]


def test_provenance_lists_what_the_runs_say(study):
    found = collect(*study).provenance
    assert found["versions"]["torch"] == ["2.14.1"] and found["devices"] == ["Example CPU, 2 cores"]
    assert found["data"][0]["train_images"] == 60_000 and len(found["commits"]) == 1 and not found["dirty"]
    assert found["finished"] == ["2026-01-01T10:00:00.000+00:00", "2026-01-03T10:00:00.000+00:00"]


def further(sweep, run, runs, bits=True, **evaluations):
    """Gives a finished run more evaluations, and the bits of each."""
    import numpy as np

    paths = sweep.paths(runs, run)
    result = json.loads(paths.result.read_text())
    for name, error in evaluations.items():
        result["evaluations"][name] = {"top1_error": error, "top5_error": error / 4, "images": 16}
        if bits:
            right = np.arange(16) >= error
            paths.bits(name).write_bytes(np.packbits(right).tobytes())
    paths.result.write_text(json.dumps(result))


def test_every_evaluation_of_a_run_is_collected(tmp_path):
    sweep, runs = write_study(tmp_path)
    for run in sweep.runs():
        further(sweep, run, runs, **{"320": 3.0, "1K-way": 5.0})
    study = collect(sweep, runs)
    assert study.evaluations == ["1K-way", "320"] and study.lacks == []
    assert set(study.runs["top1_error at 320"]) == {3.0} and set(study.runs["top5_error at 1K-way"]) == {1.25}
    arm = sweep.panels[0].arms[0].name
    assert study.errors("width 8", arm, "top1_error at 320", (0, 1)) == [3.0, 3.0]
    assert study.right("width 8", arm, evaluation="320").sum(1).tolist() == [13, 13, 13]
    assert study.right("width 8", arm, evaluation="1K-way").sum(1).tolist() == [11, 11, 11]
    assert study.right("width 8", arm, evaluation="299") is None
    again = collect(sweep, runs, cache=False)
    assert again.runs.equals(study.runs)


def test_an_evaluation_that_some_runs_lack_is_said(tmp_path):
    sweep, runs = write_study(tmp_path)
    for run in sweep.runs()[:-1]:
        further(sweep, run, runs, bits=False, **{"320": 3.0})
    study = collect(sweep, runs)
    assert study.lacks == ["Evaluation 320 is missing in 1 of 15 runs (resnext11_6x2-4-9d)."]
    assert study.right("width 8", "resnext11_6x2-4-9d", evaluation="320") is None


def test_a_damaged_further_evaluation_is_named(tmp_path):
    sweep, runs = write_study(tmp_path)
    path = sweep.paths(runs, sweep.runs()[0]).result
    result = json.loads(path.read_text())
    result["evaluations"]["320"] = "later"
    path.write_text(json.dumps(result))
    with pytest.raises(UserError, match="evaluation 320 is 'later'"):
        collect(sweep, runs, cache=False)
