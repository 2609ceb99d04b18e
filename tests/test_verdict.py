"""The headline says what the runs allow, with its scope, and withholds a verdict where they allow none."""

import shutil

import pytest
from studies import fail_run, panel_fields, sweep_fields, write_run, write_study

from analysis.collect import collect
from analysis.findings import findings
from analysis.tables import results_table
from analysis.verdict import completeness, headline, join, short


def say(sweep, runs):
    study = collect(sweep, runs)
    found = findings(sweep, study)
    return completeness(study), headline(sweep, found), found


def test_the_truth_is_found_and_said_with_its_scope(tmp_path):
    complete, text, _ = say(*write_study(tmp_path))
    assert complete == "All 15 runs finished."
    assert text.startswith(
        "Fashion-MNIST, test top-1 error over 10,000 images, budget fashion (33,930 parameters, 1.21M MACs), "
        "2 epochs, 3 seeds an arm: against the baseline resnet11_1x8d, resnext11_2x5d improves by 0.61 points"
    )
    assert "resnext11_6x2-4-9d worsens by 1.11 points" in text
    assert "resnext11_3x4-7-15d and resnext11_4x3d are unresolved (these seeds resolve 0.52 points)" in text


def test_equivalence_needs_a_margin(tmp_path):
    truth = {"resnet11_1x8d": 12.0, "resnext11_4x3d": 12.0}
    fields = sweep_fields(tuple(truth), seeds=5, evidence={"margin": 1.0})
    _, text, _ = say(*write_study(tmp_path, fields, truth=truth, sd=0.05))
    assert "resnext11_4x3d is equivalent within ±1 points" in text


def test_where_holm_resolves_more_than_the_interval_only_the_sign_is_claimed(tmp_path):
    errors = {"resnet11_1x8d": (12.0, 12.1, 12.2), "resnext11_2x5d": (10.0, 10.1, 10.2)}
    errors["resnext11_4x3d"] = (11.77, 11.87, 11.97)
    sweep, runs = write_study(tmp_path, sweep_fields(tuple(errors)))
    for run in sweep.runs():
        write_run(sweep, run, runs, errors[run.arm][run.seed])
    _, text, (found,) = say(sweep, runs)
    close = found.comparison.contrasts[1]
    assert close.verdict == "improves" and close.p_adjusted < 0.05 < 2 * close.p and close.low < 0 < close.high
    assert "resnext11_4x3d by 0.23 (−0.01 to 0.47, only its sign is resolved)" in text
    assert "only a sign is claimed" in results_table(found, "top1_error", "error").note


def test_a_claim_that_needs_equal_spreads_is_said_with_its_condition(tmp_path):
    errors = {"resnet11_1x8d": (11.2, 12.8, 12.4), "resnext11_2x5d": (10.0, 10.1, 10.2)}
    errors |= {"resnext11_4x3d": (12.1, 12.2, 12.3), "resnext11_6x2-4-9d": (12.0, 12.1, 12.2)}
    sweep, runs = write_study(tmp_path, sweep_fields(tuple(errors)))
    for run in sweep.runs():
        write_run(sweep, run, runs, errors[run.arm][run.seed])
    _, text, (found,) = say(sweep, runs)
    assert "resnext11_2x5d improves by 2.03 points" in text and "), if spreads are equal; " in text
    assert "Welch's test" in results_table(found, "top1_error", "error").note


def test_one_seed_gives_no_verdict(tmp_path):
    _, text, _ = say(*write_study(tmp_path, sweep_fields(seeds=1)))
    assert "1 seed an arm: " in text and text.endswith(": one seed: no verdict.")
    assert not {"improves", "worsens", "unresolved"} & set(text.split())


def test_a_half_finished_panel_is_interim_and_has_no_verdict(tmp_path):
    sweep, runs = write_study(tmp_path)
    for run in sweep.runs()[9:]:
        shutil.rmtree(sweep.paths(runs, run).folder)
    complete, text, (found,) = say(sweep, runs)
    assert complete.startswith("9 of 15 runs finished; 6 missing") and "interim" in complete
    assert text.endswith("1 to 2 of 3 seeds an arm: no verdict yet, for 6 of 15 runs are pending.")
    assert {c.kind for c in found.comparison.contrasts} == {"none"}


def test_a_failed_run_does_not_withhold_the_verdict_but_is_said(tmp_path):
    sweep, runs = write_study(tmp_path)
    run = sweep.runs()[-1]
    shutil.rmtree(sweep.paths(runs, run).folder)
    fail_run(sweep, run, runs, "out of memory")
    complete, text, _ = say(sweep, runs)
    assert complete == "14 of 15 runs finished; 1 failed (listed below)."
    assert "2 to 3 of 3 seeds an arm (1 run failed): against the baseline" in text


def test_an_arm_that_diverged_is_named(tmp_path):
    sweep, runs = write_study(tmp_path)
    write_run(sweep, sweep.runs()[-1], runs, 90.0, result={"train_loss": float("nan")})
    complete, _, (found,) = say(sweep, runs)
    assert "runs of resnext11_6x2-4-9d did" in complete
    assert found.comparison.estimates["resnext11_6x2-4-9d"].n == 2


def test_each_panel_has_its_sentence(tmp_path):
    fields = sweep_fields()
    fields["panels"].append(panel_fields(["resnet11_1x8d"], name="alone", recipe={"base": "fashion", "epochs": 1}))
    _, text, _ = say(*write_study(tmp_path, fields))
    assert text.startswith("Panel width 8: ")
    assert "Panel alone: " in text and text.endswith(
        "1 epoch, 3 seeds an arm: resnet11_1x8d is the only arm, so there is nothing to compare."
    )


def test_the_metric_is_the_sweeps(tmp_path):
    _, text, (found,) = say(*write_study(tmp_path, sweep_fields(evidence={"metric": "top5_error"})))
    assert "test top-5 error" in text and found.comparison.estimates["resnet11_1x8d"].mean < 1


@pytest.mark.parametrize(
    ("count", "text"), [(5, "5"), (33_930, "33.9k"), (1_210_880, "1.21M"), (4_089_184_256, "4.09G"), (15e9, "15.0G")]
)
def test_short_counts(count, text):
    assert short(count) == text


@pytest.mark.parametrize(("words", "text"), [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b and c")])
def test_lists_in_words(words, text):
    assert join(words) == text
