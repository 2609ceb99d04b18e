"""Looks, registrations and what a panel's runs say beside each arm against the baseline."""

from dataclasses import replace

import numpy as np
import pytest
from studies import TRUTH, draw, sweep_fields, write_run, write_study, write_sweep

from ablation.registration import register
from ablation.schema import Evidence
from ablation.sweep import Sweep
from analysis.collect import collect
from analysis.confounds import confounds, still_falls, tuning
from analysis.details import crossed_table, registration_facts
from analysis.findings import INTERIM, findings
from analysis.statistics import axis_contrasts, compare, estimate, look_alphas, trend
from analysis.verdict import headline

FLAT = dict.fromkeys(TRUTH, 12.0)
FALLS = {"resnet11_1x8d": 12.0, "resnext11_2x5d": 11.0, "resnext11_4x3d": 10.0, "resnext11_8x2d": 9.0}


def run_seeds(sweep: Sweep, runs, seeds, truth=FLAT, sd=0.15):
    """Finish every run of some seeds."""
    for run in sweep.runs():
        if run.seed in seeds:
            write_run(sweep, run, runs, draw(run, truth[run.design.name], sd))


def only(sweep: Sweep, runs):
    (found,) = findings(sweep, collect(sweep, runs))
    return found


@pytest.fixture
def looking(tmp_path):
    """A sweep with looks at 3 and 5 of its 5 seeds."""
    sweep = write_sweep(tmp_path, sweep_fields(seeds=5, evidence={"looks": [3, 5]}))
    register(sweep, tmp_path / "runs")
    return sweep, tmp_path / "runs"


def test_a_look_reads_its_own_seeds_at_its_own_level(looking):
    sweep, runs = looking
    run_seeds(sweep, runs, (0, 1, 2, 3))
    found = only(sweep, runs)
    assert (found.look.seeds, found.look.number, found.look.of) == ((0, 1, 2), 1, 2)
    assert found.look.alpha == look_alphas([3, 5])[0] == found.comparison.alpha
    assert {estimate.n for estimate in found.comparison.estimates.values()} == {3}
    assert "3 seeds an arm, look 1 of 2" in headline(sweep, [found])


def test_the_last_look_reads_all(looking):
    sweep, runs = looking
    run_seeds(sweep, runs, range(5))
    found = only(sweep, runs)
    assert (found.look.number, len(found.look.seeds)) == (2, 5)
    assert found.comparison == compare(
        {arm.name: collect(sweep, runs).errors(found.panel.name, arm.name) for arm in found.panel.arms},
        "resnet11_1x8d",
        alpha=look_alphas([3, 5])[1],
    )


def test_between_looks_there_is_no_verdict(looking):
    sweep, runs = looking
    run_seeds(sweep, runs, (0, 1))
    found = only(sweep, runs)
    assert found.look.interim
    assert {contrast.verdict for contrast in found.comparison.contrasts} == {INTERIM}
    assert "no verdict yet, for 15 of 25 runs are pending" in headline(sweep, [found])
    assert found.trend is None and found.again == {} and found.beyond == ()


def test_seeds_added_later_do_not_move_the_registered_verdict(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(), truth=FLAT, registered=True)
    before = only(sweep, runs)
    longer = replace(sweep, seeds=(0, 1, 2, 3, 4, 5))
    run_seeds(longer, runs, (3, 4, 5))
    after = only(longer, runs)
    assert after.comparison == before.comparison
    assert after.look.more == (3, 4, 5)
    assert {estimate.n for estimate in after.confirmed.estimates.values()} == {3}
    assert "The 3 seeds an arm that were added after the registration say by themselves: against" in headline(
        longer, [after]
    )


def test_added_seeds_confirm_only_when_all_are_in(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(), truth=FLAT, registered=True)
    longer = replace(sweep, seeds=(0, 1, 2, 3, 4))
    run_seeds(longer, runs, (3,))
    found = only(longer, runs)
    assert found.confirmed is None and not found.look.interim


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"evidence": Evidence(margin=0.9)}, "the margin was changed"),
        ({"evidence": Evidence(metric="top5_error")}, "the metric was changed"),
    ],
)
def test_what_was_changed_after_the_runs_is_exploratory(tmp_path, change, why):
    sweep, runs = write_study(tmp_path, sweep_fields(evidence={"margin": 0.2}), registered=True)
    found = only(replace(sweep, **change), runs)
    assert all(contrast.verdict.endswith(f", exploratory: {why}") for contrast in found.comparison.contrasts)
    assert "(exploratory)" in headline(replace(sweep, **change), [found])


def test_an_added_arm_alone_is_exploratory(tmp_path):
    _, runs = write_study(tmp_path, sweep_fields(list(TRUTH)[:4]), registered=True)
    more = write_sweep(tmp_path, sweep_fields(list(TRUTH)))
    run_seeds(more, runs, (0, 1, 2), truth=TRUTH)
    found = only(more, runs)
    assert found.exploratory == {"resnext11_6x2-4-9d": "added"}
    kinds = {contrast.a: contrast.verdict for contrast in found.comparison.contrasts}
    assert [", exploratory: added" in verdict for verdict in kinds.values()] == [False, False, False, True]


def test_a_registration_made_after_the_runs_says_so_and_is_worth_nothing(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(), truth=FALLS | TRUTH)
    made, _ = register(sweep, runs)
    found = only(sweep, runs)
    assert made.known == 15
    assert set(found.exploratory.values()) == {"registered when 15 of the runs had told something"}
    facts = dict(registration_facts(sweep, collect(sweep, runs), [found]))
    assert "when 15 of its runs had told something" in facts["Registration"]


def test_leaving_out_what_was_registered_is_exploratory(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(), truth=FLAT, registered=True)
    fewer = replace(sweep, seeds=(0, 2))
    assert set(only(fewer, runs).exploratory.values()) == {"registered seeds were left out"}
    panel = replace(sweep.panels[0], arms=sweep.panels[0].arms[:2])
    assert set(only(replace(sweep, panels=(panel,)), runs).exploratory.values()) == {"registered arms were left out"}
    assert only(sweep, runs).exploratory == {}


def test_leaving_out_a_registered_contrast_is_exploratory(tmp_path):
    pairs = [["cardinality", "width"], ["resnext11_4x3d", "resnext11_2x5d"]]
    fields = sweep_fields(AXES, evidence={"contrasts": pairs})
    sweep, runs = write_study(tmp_path, fields, truth={}, registered=True)
    (contrast,) = only(replace(sweep, evidence=Evidence(contrasts=(("cardinality", "width"),))), runs).beyond
    assert contrast.verdict.endswith(", exploratory: registered contrasts were left out")


def test_only_the_seeds_that_were_added_first_confirm(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(), truth=FLAT, registered=True)
    for seeds in ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5, 6)):
        sweep = replace(sweep, seeds=seeds)
        register(sweep, runs)
        run_seeds(sweep, runs, seeds[-2:])
    assert {estimate.n for estimate in only(sweep, runs).confirmed.estimates.values()} == {2}


def test_what_was_registered_and_dropped_is_told(tmp_path):
    trial = write_sweep(tmp_path, sweep_fields(precision="tf32"))
    register(trial, tmp_path / "runs")
    sweep, runs = write_study(tmp_path, sweep_fields(), truth=FLAT, registered=True)
    study = collect(sweep, runs)
    assert [one.number for one in study.abandoned] == [1] and [one.number for one in study.registrations] == [2]
    assert "Registered before under this name" in dict(registration_facts(sweep, study, [only(sweep, runs)]))


AXES = ["resnet11_1x8d", "resnext11_4x3d", "resnext11_2x5d", "resnet11_1x9d"]


def test_contrasts_of_axes_and_arms_are_those_of_the_statistics(tmp_path):
    truth = {"resnet11_1x8d": 12.0, "resnext11_4x3d": 11.0, "resnext11_2x5d": 11.2, "resnet11_1x9d": 12.1}
    pairs = [["cardinality", "width"], ["resnext11_4x3d", "resnext11_2x5d"]]
    sweep, runs = write_study(tmp_path, sweep_fields(AXES, evidence={"contrasts": pairs}), truth=truth)
    found, study = only(sweep, runs), collect(sweep, runs)
    groups = {arm: study.errors(found.panel.name, arm) for arm in AXES}
    sides = {"cardinality": AXES[1:3], "width": AXES[3:], **{name: [name] for name in AXES}}
    assert list(found.beyond) == axis_contrasts(groups, sides, [tuple(pair) for pair in pairs])
    assert found.beyond[0].kind == "improves"
    assert "Cardinality against width: improves by" in headline(sweep, [found])
    assert " resnext11_4x3d against resnext11_2x5d: " in headline(sweep, [found])  # a name keeps its spelling


def test_a_contrast_added_after_the_runs_is_exploratory(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(AXES), truth={}, registered=True)
    asked = replace(sweep, evidence=Evidence(contrasts=(("cardinality", "width"),)))
    (contrast,) = only(asked, runs).beyond
    assert contrast.verdict.endswith(", exploratory: the contrast was added")


def test_the_trend_is_over_log2_of_cardinality(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(list(FALLS)), truth=FALLS)
    found, study = only(sweep, runs), collect(sweep, runs)
    groups = {arm: study.errors(found.panel.name, arm) for arm in FALLS}
    assert found.trend == trend(groups, dict(zip(FALLS, (0, 1, 2, 3), strict=True)))
    assert found.trend.slope == pytest.approx(-1, abs=0.2)
    assert "Over all cardinalities, error falls with log2 C: " in headline(sweep, [found])
    assert max(found.again, key=found.again.get) == "resnext11_8x2d"


def test_bits_give_intervals_for_new_images(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(AXES[:2]))
    random = np.random.default_rng(0)
    for run in sweep.runs():
        right = random.random(10_000) > 0.12
        sweep.paths(runs, run).bits("test").write_bytes(np.packbits(right).tobytes())
    found = only(sweep, runs)
    interval = found.new_images["resnext11_4x3d"]
    assert interval.low < interval.difference < interval.high
    sweep.paths(runs, sweep.runs()[0]).bits("test").write_bytes(b"short")
    assert only(sweep, runs).new_images == {}


@pytest.mark.parametrize("change", [{"epochs": 4}, {"mixup": 0.2}], ids=["a field", "a later field"])
def test_crossed_recipes_are_an_interaction(tmp_path, change):
    other = {"base": "fashion", **change}
    arms = [{"design": arm} for arm in AXES[:2]]
    arms += [{"design": arm, "name": f"{arm} other", "recipe": other} for arm in AXES[:2]]
    sweep, runs = write_study(tmp_path, sweep_fields(arms), truth=FLAT | dict.fromkeys(AXES, 12.0))
    found = only(sweep, runs)
    assert found.crossed.df1 == 1
    assert "Whether what a design gains depends on the recipe (exploratory): " in headline(sweep, [found])


def test_many_designs_of_a_cardinality_are_a_population(tmp_path):
    arms = [f"resnet11_1x{d}d" for d in range(5, 11)] + [f"resnext11_2x{d}d" for d in range(3, 9)]
    truth = {arm: 12.0 if "_1x" in arm else 10.0 for arm in arms}
    sweep, runs = write_study(tmp_path, sweep_fields(arms, seeds=2), truth=truth)
    (contrast,) = only(sweep, runs).populations
    assert (contrast.a, contrast.b, contrast.kind) == ("C=2", "C=1", "improves")
    assert "Designs with C=2 against those with C=1: a random one of the former errs less" in headline(
        sweep, [only(sweep, runs)]
    )


def test_confounds_stand_beside_each_contrast(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(AXES[:2]))
    frame = confounds(only(sweep, runs), collect(sweep, runs)).set_index("arm")
    base, other = frame.loc["resnet11_1x8d"], frame.loc["resnext11_4x3d"]
    assert base["params"] == base["time"] == base["memory"] == 0
    assert other["params"] == pytest.approx(32_782 / 33_930 - 1)
    assert other["time"] == pytest.approx(1.4 / 1.1 - 1, abs=0.02)
    assert other["last_tenth"] < 0 and other["still_falls"]


def test_what_still_falls_is_not_converged():
    assert still_falls(np.array([-0.5, -0.6, -0.4]))
    assert not still_falls(np.array([-0.5, 0.6, -0.4]))
    assert not still_falls(np.array([]))
    assert still_falls(np.array([-0.1])) and not still_falls(np.array([0.1]))


def test_for_whom_a_recipe_was_tuned_is_said(tmp_path):
    fields = sweep_fields(AXES[:2])
    assert "is not stated" in tuning(write_sweep(tmp_path, fields).panels[0])
    fields["panels"][0]["tuned"] = {"arms": AXES[:1], "trials": 15}
    assert tuning(write_sweep(tmp_path, fields).panels[0]) == (
        "The recipe was tuned for resnet11_1x8d, in 15 runs on the validation split."
    )


def test_at_a_look_intervals_are_called_what_they_are(looking):
    sweep, runs = looking
    run_seeds(sweep, runs, (0, 1, 2), truth={**FLAT, "resnext11_4x3d": 2.0})
    found = only(sweep, runs)
    sure = f"{100 - 100 * look_alphas([3, 5])[0]:.5g}%"
    said = headline(sweep, [found])
    assert "resnext11_4x3d improves by " in said
    assert f"(simultaneous {sure} interval " in said and "95%" not in said
    assert found.comparison.estimates["resnet11_1x8d"] == estimate(
        collect(sweep, runs).errors(found.panel.name, "resnet11_1x8d")
    )


@pytest.mark.parametrize(
    "stray",
    [
        {"design": "resnext11_8x2d_form-b"},
        {"design": "resnext11_8x2d_shortcut-none"},
        {"design": "resnext11_8x8d"},
        {"design": "resnext11_8x2d", "recipe": {"base": "fashion", "epochs": 3}},
    ],
    ids=["form", "shortcut", "cost", "recipe"],
)
def test_the_trend_is_over_arms_that_differ_in_cardinality_alone(tmp_path, stray):
    truth = FALLS | {"resnext11_8x2d_form-b": 30.0, "resnext11_8x2d_shortcut-none": 30.0, "resnext11_8x8d": 30.0}
    arms = list(FALLS)[:3]
    sweep, runs = write_study(tmp_path, sweep_fields([*arms, stray]), truth=truth | {"resnext11_8x2d": 30.0})
    found, study = only(sweep, runs), collect(sweep, runs)
    groups = {arm: study.errors(found.panel.name, arm) for arm in arms}
    assert found.trend == trend(groups, dict(zip(arms, (0, 1, 2), strict=True)))


def crossed(folder, gains):
    """Three designs under two recipes; the true gain of each design under each recipe."""
    arms = list(AXES)[:3]
    fields = [*arms, *({"design": a, "name": f"{a} long", "recipe": {"base": "fashion", "epochs": 4}} for a in arms)]
    sweep = write_sweep(folder, sweep_fields(fields, seeds=4))
    for run in sweep.runs():
        gain = gains[run.recipe.epochs > 2][arms.index(run.design.name)]
        write_run(sweep, run, folder / "runs", 12.0 - gain + 0.1 * (run.seed - 1.5))
    return only(sweep, folder / "runs"), arms


def test_a_gain_that_another_recipe_takes_away_is_a_difference_of_differences(tmp_path):
    found, arms = crossed(tmp_path, ((0.0, 1.0, 2.0), (0.0, 0.0, 2.0)))
    table = crossed_table(found)
    rows = {(row[0], row[1]): row[2:] for row in table.rows()}
    assert rows[arms[1], "fashion"][:2][0].startswith("−1.00 [") and rows[arms[1], "fashion"][1] == "improves"
    lost = rows[arms[1], "fashion with epochs 4"]
    assert lost[1].startswith("unresolved") and lost[2].startswith("+1.00 [") and lost[4] == "differs"
    kept = rows[arms[2], "fashion with epochs 4"]
    assert kept[1] == "improves" and kept[2].startswith("0.00 [") and kept[4].startswith("unresolved")
    assert "Exploratory" in table.note and found.crossed.verdict == "interacts"


def test_gains_are_judged_with_the_sd_of_all_cells(tmp_path):
    found, arms = crossed(tmp_path, ((0.0, 1.0, 2.0), (0.0, 1.0, 2.0)))
    assert [round(gain.difference, 9) for gain in found.crossed.gains] == [-1.0, -2.0, -1.0, -2.0]
    assert {gain.b for gain in found.crossed.gains} == {
        f"{arms[0]} under {name}" for name in ("fashion", "fashion with epochs 4")
    }
    assert found.crossed.verdict.startswith("unresolved")
