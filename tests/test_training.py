"""Training error beside test error: the same statistics, exploratory, and never more than is resolved."""

from types import SimpleNamespace

import pytest
from studies import panel_fields, sweep_fields, write_run, write_study, write_sweep

from analysis.collect import collect
from analysis.findings import findings
from analysis.report import main
from analysis.statistics import compare
from analysis.training import reading, training_comparison, training_frame, training_table

ARMS = ["resnet11_1x8d", "resnext11_2x5d", "resnext11_4x3d"]


def trained(folder, train, test, arms=ARMS, seeds=3, **evidence):
    """A study of true errors by design: (training, test), a tenth apart by seed."""
    panel = panel_fields(arms, name="panel")
    sweep = write_sweep(
        folder, {"question": "?", "panels": [panel], "seeds": seeds, "evidence": evidence, "resources": {"gpus": 0}}
    )
    for run in sweep.runs():
        own = {"train_error": train[run.design.name] + 0.1 * run.seed}
        write_run(sweep, run, folder / "runs", test[run.design.name] + 0.1 * run.seed, result=own)
    study = collect(sweep, folder / "runs")
    (finding,) = findings(sweep, study)
    return finding, study


def by_arm(finding, study):
    return training_frame(finding, study, "top1_error").set_index("arm")


def test_training_errors_are_compared_as_test_errors_are(tmp_path):
    train = dict(zip(ARMS, (9.0, 8.0, 9.0), strict=True))
    finding, study = trained(tmp_path, train, dict.fromkeys(ARMS, 12.0))
    expected = compare({arm: [train[arm] + 0.1 * seed for seed in range(3)] for arm in ARMS}, ARMS[0])
    found = training_comparison(finding, study)
    assert [c.low for c in found.contrasts] == pytest.approx([c.low for c in expected.contrasts])
    assert [c.kind for c in found.contrasts] == ["improves", "unresolved"]
    assert all("exploratory: training error was not registered" in c.verdict for c in found.contrasts)


def test_the_gap_is_by_run(tmp_path):
    finding, study = trained(tmp_path, dict.fromkeys(ARMS, 9.0), dict.fromkeys(ARMS, 12.0))
    row = by_arm(finding, study).loc[ARMS[1]]
    assert row["gap"] == pytest.approx(3.0) and row["gap_sd"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("train", "test", "margin", "told"),
    [
        (8.0, 11.0, None, "both lower: fits better"),
        (10.0, 13.0, None, "both higher: fits worse"),
        (9.0, 11.0, 0.5, "only test lower: regularised"),
        (10.0, 11.0, None, "only test lower: regularised"),
        (9.0, 11.0, None, "test lower; training not resolved"),
        (8.0, 12.0, None, "training lower; test not resolved"),
        (8.0, 13.0, None, "training lower, test higher: overfits more"),
        (9.0, 12.0, None, "neither is resolved"),
        (9.0, 12.0, 0.5, "both equivalent"),
    ],
)
def test_what_both_errors_tell_is_said_and_no_more(tmp_path, train, test, margin, told):
    pair = ARMS[:2]
    errors = dict(zip(pair, (9.0, train), strict=True)), dict(zip(pair, (12.0, test), strict=True))
    finding, study = trained(tmp_path, *errors, pair, margin=margin)
    assert by_arm(finding, study).loc[pair[1], "reading"] == told


def test_every_resolved_pair_has_its_words():
    kinds = ("improves", "worsens", "equivalent", "unresolved")
    pairs = [(SimpleNamespace(kind=a), SimpleNamespace(kind=b)) for a in kinds for b in kinds]
    assert all(reading(*pair) for pair in pairs)
    assert reading(SimpleNamespace(kind="none"), SimpleNamespace(kind="improves")) == ""


def test_another_recipes_training_error_is_not_compared(tmp_path):
    arms = [*ARMS[:2], {"design": ARMS[0], "name": "smooth", "recipe": {"base": "fashion", "label_smoothing": 0.1}}]
    errors = dict.fromkeys(ARMS, 9.0)
    finding, study = trained(tmp_path, errors, errors, arms)
    row = by_arm(finding, study).loc["smooth"]
    assert row["verdict"] == "another recipe" and row["reading"] == "" and row["train_error"] == pytest.approx(9.1)
    table = training_table(finding, study, "top1_error")
    assert "Another recipe, so that training errors are not comparable: smooth." in table.note


def test_one_seed_tells_nothing(tmp_path):
    errors = dict.fromkeys(ARMS, 9.0)
    finding, study = trained(tmp_path, errors, errors, seeds=1)
    row = by_arm(finding, study).loc[ARMS[1]]
    assert row["verdict"].startswith("one seed: no verdict") and row["reading"] == ""


def test_of_top5_sweeps_top1_error_stands_beside_training_error(tmp_path):
    errors = dict(zip(ARMS, (9.0, 8.0, 9.0), strict=True)), dict(zip(ARMS, (12.0, 11.0, 12.0), strict=True))
    finding, study = trained(tmp_path, *errors, metric="top5_error")
    frame = training_frame(finding, study, "top5_error").set_index("arm")
    assert frame.loc[ARMS[1], "reading"] == "both lower: fits better" and frame.loc[ARMS[1], "gap"] == pytest.approx(3)


def test_runs_that_recorded_none_have_no_table(tmp_path):
    sweep = write_sweep(tmp_path, sweep_fields(ARMS))
    for run in sweep.runs():
        write_run(sweep, run, tmp_path / "runs", 12.0 + 0.1 * run.seed, result={"train_error": None})
    study = collect(sweep, tmp_path / "runs")
    assert training_table(findings(sweep, study)[0], study, "top1_error") is None


def test_the_report_has_the_table_and_its_numbers(tmp_path):
    write_study(tmp_path, sweep_fields(ARMS))
    main([tmp_path / "study.yaml"], runs=tmp_path / "runs", out=tmp_path / "out")
    text = (tmp_path / "out" / "study" / "report.md").read_text()
    assert "Training error of the last epoch beside test top-1 error." in text
    assert (tmp_path / "out" / "study" / "tables" / "training.csv").exists()
