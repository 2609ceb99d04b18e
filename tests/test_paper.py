"""The paper's tables beside what was measured: rows in its order, differences only where they are fair."""

import json

import pytest
from studies import panel_fields, write_run, write_study, write_sweep

from ablation.recipe import RECIPES
from analysis.against import is_twin, rows
from analysis.collect import collect
from analysis.findings import findings
from analysis.paper import LAYOUTS, lines, plain
from analysis.paper_tables import paper_frame, paper_tables
from analysis.report import main
from analysis.twins import twin_tables

IMAGENET = {"train_images": 1_281_167, "evaluation_images": 50_000}
CIFAR = {"train_images": 50_000, "evaluation_images": 10_000}
PAIR = ["resnet50_1x64d", "resnext50_32x4d"]


def panel(table, arms=PAIR, dataset="imagenet", recipe="imagenet-paper", budget="resnet50", name="panel"):
    return panel_fields(arms, name=name, dataset=dataset, recipe=recipe, budget=budget) | {"table": table}


def studied(folder, *panels, data=IMAGENET, images=50_000, error=22.5, further=None, **changes):
    """A study whose runs have errors around `error`, a tenth apart by seed; `further` evaluations by name."""
    sweep = write_sweep(folder, {"question": "?", "panels": list(panels), "seeds": 3, **changes})
    for run in sweep.runs():
        own = {"top1_error": error + 0.1 * run.seed, "top5_error": 6.0, "loss": 1.0, "images": images}
        evaluations = {run.dataset.evaluate: own, **(further or {})}
        write_run(sweep, run, folder / "runs", error, data=data, result={"evaluations": evaluations})
    study = collect(sweep, folder / "runs")
    return sweep, study, findings(sweep, study)


def cells(part, table):
    """Each cell of a table by (what the paper calls its arm, column); the arms it has not under their own names."""
    return {
        (f"{line.arm} {line.setting} {line.aside}".strip(), title): cell
        for line, own in rows(part[1], part[2], table)
        for title, cell in own.items()
    }


@pytest.mark.parametrize("table", LAYOUTS)
def test_every_number_of_a_table_has_its_place(table):
    from analysis.published import select

    placed = [row for line in lines(table) for row in line.numbers.values()]
    assert set(placed) == {row for row in select(table=table) if row.metric != "params"}


def test_rows_stand_in_the_papers_order_under_its_names(tmp_path):
    (table,) = paper_tables(*studied(tmp_path, panel(3)))
    shown = [row[:3] for row in table.rows()]
    assert shown[:5] == [
        ["ResNet-50", "1 × 64d", "23.9"],
        ["ResNeXt-50", "2 × 40d", "23.0"],
        ["ResNeXt-50", "4 × 24d", "22.6"],
        ["ResNeXt-50", "8 × 14d", "22.3"],
        ["ResNeXt-50", "32 × 4d", "22.2"],
    ]
    assert [row[3] == "–" for row in table.rows()] == [False, True, True, True, False] + 5 * [True]


def test_a_fair_difference_is_measured_less_published_with_our_interval(tmp_path):
    part = studied(tmp_path, panel(3))
    cell = cells(part, "3")["ResNet-50 1 × 64d", "top-1"]
    assert cell.difference.mean == pytest.approx(22.6 - 23.9)
    assert cell.difference.high - cell.difference.low == pytest.approx(cell.measured.high - cell.measured.low)
    (table,) = paper_tables(*part)
    assert table.rows()[0][4].startswith("−1.30 [") and "single runs" in table.note


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"recipe": {"base": "imagenet-paper", "epochs": 90}}, "recipe: epochs 90 (paper: 100)"),
        ({"dataset": {"name": "imagenet", "resolution": 128}}, "resolution: 128 pixels, not 224"),
        ({"dataset": {"name": "imagenet", "evaluate": "validation"}}, "evaluated on the validation split"),
        ({"dataset": {"name": "folder", "path": "pets", "classes": 37}}, "data: pets, not ImageNet-1K"),
        ({"arms": [{"design": PAIR[0], "twin_of": PAIR[0]}]}, "a small twin of resnet50_1x64d"),
    ],
)
def test_what_makes_a_number_incomparable_is_said_and_no_difference_is_given(tmp_path, changes, why):
    part = studied(tmp_path, panel(3, **changes))
    cell = cells(part, "3")["ResNet-50 1 × 64d", "top-1"]
    assert cell.why[0] == why and cell.measured.n == 3 and cell.difference.n == 0


@pytest.mark.parametrize(
    ("data", "images", "why"),
    [
        ({**IMAGENET, "train_images": 1000}, 50_000, "data: trained on 1,000 images, not 1,281,167"),
        (IMAGENET, 500, "data: 500 images evaluated, not 50,000"),
    ],
)
def test_a_shrunken_copy_of_the_data_is_not_the_papers(tmp_path, data, images, why):
    part = studied(tmp_path, panel(3), data=data, images=images)
    assert cells(part, "3")["ResNet-50 1 × 64d", "top-1"].why == (why,)


def test_a_recipe_is_compared_in_all_of_its_fields(tmp_path):
    part = studied(tmp_path, panel(3, recipe={"base": "imagenet-paper", "epochs": 30, "lr": 0.2, "milestones": [9]}))
    (table,) = paper_tables(*part)
    assert "recipe: epochs 30 (paper: 100), lr 0.2 (paper: 0.1), milestones 9 (paper: 30, 60, 90)" in table.note
    assert {row[4] for row in table.rows()} == {"–"} and "No difference is given" in table.note


def test_an_engine_that_gives_other_numbers_is_not_comparable(tmp_path):
    from analysis.comparable import reasons
    from analysis.published import select

    sweep, study, _ = studied(tmp_path, panel(3))
    study.provenance["engines"] = [0]
    (why,) = reasons(study, sweep.panels[0], sweep.panels[0].arms[0], select(table="3")[0])
    assert why.startswith("engine 0")


def test_another_evaluation_stands_in_its_own_columns(tmp_path):
    further = {"320": {"top1_error": 20.5, "top5_error": 5.0, "images": 50_000}}
    arms = ["resnet101_1x64d", "resnet200_1x64d"]
    part = studied(tmp_path, panel(5, arms, budget="resnet101"), further=further)
    found = cells(part, "5")
    assert found["ResNet-200", "320 / 299: top-1"].difference.mean == pytest.approx(0.4)
    assert found["ResNet-200", "224: top-1"].difference.mean == pytest.approx(22.6 - 21.7)
    assert found["ResNet-101", "320 / 299: top-1"].published is None
    assert found["Inception-v3", "320 / 299: top-1"].published == 21.2
    tables = paper_tables(*part)
    assert [row[0] for row in tables[0].rows()][:4] == ["ResNet-101", "", "", "ResNet-200"]
    assert tables[1].rows()[0] == ["ResNet-50", "47.6", "26.5"]  # table 8, of which nothing is run


def test_an_evaluation_that_was_not_made_is_said(tmp_path):
    part = studied(tmp_path, panel(5, ["resnet101_1x64d", "resnet200_1x64d"], budget="resnet101"))
    cell = cells(part, "5")["ResNet-200", "320 / 299: top-1"]
    assert cell.says == ("evaluation 320 was not made",) and cell.difference.n == 0


def test_which_5000_classes_the_paper_had_is_not_known(tmp_path):
    data = {"name": "folder", "path": "imagenet5k", "classes": 5000}
    further = {"1K-way": {"top1_error": 25.0, "top5_error": 7.0, "images": 50_000}}
    part = studied(tmp_path, panel(6, dataset=data), further=further, error=44.0)
    cell = cells(part, "6")["ResNeXt-50 32x4d", "1K-way: top-1"]
    assert (cell.published, cell.measured.mean, cell.evaluation) == (24.4, 25.0, "1K-way")
    assert "5,000 classes" in cell.why[0]


def test_table_7_holds_both_data_sets_in_their_columns(tmp_path):
    arms = ["resnext29_8x64d", "resnext29_16x64d"]
    own = [panel(7, arms, data, "cifar-paper", "resnext29_8x64d", data) for data in ("cifar10", "cifar100")]
    part = studied(tmp_path, *own, data=CIFAR, images=10_000, error=3.6)
    found = cells(part, "7")
    assert found["ResNeXt-29 8x64d  34.4M", "CIFAR-10"].panel == "cifar10"
    assert found["ResNeXt-29 8x64d  34.4M", "CIFAR-100"].difference.mean == pytest.approx(3.7 - 17.77)
    (table,) = paper_tables(*part)
    assert table.rows()[0] == ["Wide ResNet", "36.5M", "published", "4.17", "20.50", ""]
    assert "means of 10 runs" in table.note


def test_both_ways_to_have_no_shortcut_have_their_row(tmp_path):
    arms = [PAIR[0], f"{PAIR[0]}_shortcut-none", f"{PAIR[0]}_shortcut-projection-only"]
    part = studied(tmp_path, panel("residual", arms), error=30.0)
    found = cells(part, "residual")
    for aside, arm in (("dropped", arms[1]), ("kept", arms[2])):
        cell = found[f"ResNet-50 1x64d  {aside}", "without"]
        assert (cell.published, cell.arm) == (31.2, arm) and "projections" in cell.says[0]
        assert found[f"ResNet-50 1x64d  {aside}", "with shortcuts"].arm == arms[0]
    assert found["ResNeXt-50 32x4d  dropped", "without"].measured.n == 0


def test_an_arm_that_the_paper_has_not_is_measured_alone(tmp_path):
    part = studied(tmp_path, panel(3, [*PAIR, "resnext50_16x7d"]))
    (table,) = paper_tables(*part)
    last = table.rows()[-1]
    assert last[0] == "resnext50_16x7d" and last[2] == "–" and last[3].startswith("22.60") and last[4] == "–"
    assert "not in the paper's table" in table.note


def test_of_two_recipes_the_papers_own_stands_in_its_row(tmp_path):
    arms = [{"design": PAIR[0], "name": "short", "recipe": {"base": "imagenet-paper", "epochs": 90}}, *PAIR]
    part = studied(tmp_path, panel(3, arms))
    found = cells(part, "3")
    assert found["ResNet-50 1 × 64d", "top-1"].arm == PAIR[0] and found["short", "top-1"].published is None


def test_a_sweep_that_states_another_published_number_is_contradicted(tmp_path):
    arms = [{"design": PAIR[0], "published": {"top1_error": 24.7}}, PAIR[1]]
    part = studied(tmp_path, panel(3, arms))
    cell = cells(part, "3")["ResNet-50 1 × 64d", "top-1"]
    assert cell.published == 23.9
    assert cell.says == ("the sweep states 24.7 as published, the paper's table 23.9",)


def test_another_groups_network_is_known_by_any_spelling():
    assert plain("WRN-28-10") == plain("wrn_depth28_width160") == plain("Wide ResNet")
    assert plain("inception_v3") == plain("Inception-v3")


def test_another_groups_number_is_never_compared(tmp_path):
    from analysis.comparable import reasons
    from analysis.published import select

    sweep, study, _ = studied(tmp_path, panel(3))
    (number,) = select(table="5", arm="Inception-v3", metric="top1_error")
    assert "another group's network and recipe" in reasons(study, sweep.panels[0], sweep.panels[0].arms[0], number)


def test_before_any_run_the_table_shows_what_is_published(tmp_path, capsys):
    write_sweep(tmp_path, {"question": "?", "panels": [panel(3)]})
    main([tmp_path / "study.yaml"], runs=tmp_path / "runs", out=tmp_path / "out", dry_run=True)
    said = capsys.readouterr().out
    assert "ResNeXt-50   32 × 4d       22.2         –           –" in said and "Nothing is measured yet" in said
    assert not (tmp_path / "out").exists()


def test_the_dry_run_as_json_has_a_row_each_number(tmp_path, capsys):
    write_sweep(tmp_path, {"question": "?", "panels": [panel(4, ["resnet101_1x64d"], budget="resnet101")]})
    main([tmp_path / "study.yaml"], runs=tmp_path / "runs", dry_run=True, json=True)
    found = json.loads(capsys.readouterr().out)["paper"]
    assert len(found) == 12 and found[0]["published"] == 22.0 and found[0]["measured"] is None


def test_a_sweep_of_no_table_has_none(tmp_path):
    from ablation.errors import UserError

    part = write_study(tmp_path)
    with pytest.raises(UserError, match="no panel of study runs a table of the paper"):
        main([tmp_path / "study.yaml"], runs=part[1], dry_run=True)


def test_the_report_begins_with_the_papers_table(tmp_path):
    studied(tmp_path, panel(3))
    main([tmp_path / "study.yaml"], runs=tmp_path / "runs", out=tmp_path / "out")
    text = (tmp_path / "out" / "study" / "report.md").read_text()
    assert text.index("The paper's Table 3") < text.index("## Results") and "**Table 1.** The paper's" in text
    assert (tmp_path / "out" / "study" / "tables" / "paper.csv").exists()
    assert "published" not in text[text.index("## Results") :].split("\n\n")[2].splitlines()[0]


TWINS = {"resnet11_1x8d": "resnet50_1x64d", "resnext11_2x5d": "resnext50_2x40d", "resnext11_4x3d": "resnext50_32x4d"}


@pytest.fixture
def small(tmp_path):
    """A small twin of table 3: one arm better than the baseline, one not told from it."""
    arms = [{"design": design, "twin_of": full} for design, full in TWINS.items()]
    fields = panel(3, arms, "fashion_mnist", "fashion", "fashion")
    truth = {"resnet11_1x8d": 12.0, "resnext11_2x5d": 11.0, "resnext11_4x3d": 12.0}
    sweep, runs = write_study(tmp_path, {"question": "?", "panels": [fields]}, truth=truth)
    study = collect(sweep, runs)
    return sweep, study, findings(sweep, study)


def test_a_twin_stands_beside_its_full_size_networks_without_a_difference(small):
    assert is_twin(small[0].panels[0]) and paper_tables(*small) == [] and paper_frame(*small).empty
    (table,) = twin_tables(*small)
    titles = [column.title for column in table.columns]
    assert "difference" not in " ".join(titles) and "published top-1" in titles
    assert "difference means nothing" in table.caption and "published" not in table.frame.columns
    row = dict(zip(titles, table.rows()[1], strict=True))
    assert row["full size"] == "resnext50_2x40d" and row["published top-1"] == "23.0"


def test_a_twins_sign_is_only_words_and_only_where_it_is_resolved(small):
    (table,) = twin_tables(*small)
    assert [row[-3:] for row in table.rows()] == [
        ["baseline", "", ""],
        ["better", "better", "the same"],
        ["unresolved", "better", "not resolved"],
    ]


def test_what_was_scaled_is_said(small):
    (table,) = twin_tables(*small)
    assert table.note.startswith(
        "Scaled down: data (Fashion-MNIST at 28 pixels in place of ImageNet-1K at 224 pixels), widths (0.13% of the "
        "full-size parameters), depth, paths (C = 4 in place of 32), epochs (2 in place of 100)."
    )


def test_without_shortcuts_a_twin_is_read_across_the_papers_columns(tmp_path):
    names = {"resnet11_1x8d": PAIR[0], "resnet11_1x8d_shortcut-none": f"{PAIR[0]}_shortcut-none"}
    arms = [{"design": design, "twin_of": full} for design, full in names.items()]
    fields = panel("residual", arms, "fashion_mnist", "fashion", "fashion")
    truth = {"resnet11_1x8d": 14.0, "resnet11_1x8d_shortcut-none": 12.0}
    sweep, runs = write_study(tmp_path, {"question": "?", "panels": [fields]}, truth=truth)
    study = collect(sweep, runs)
    (table,) = twin_tables(sweep, study, findings(sweep, study))
    assert table.rows()[1][-3:] == ["better", "worse", "opposite"]


def test_twins_have_no_published_numbers_in_results_or_figures(tmp_path):
    from analysis.figures.errors import finding_published
    from analysis.tables import results_frame

    arms = [{"design": name, "twin_of": name, "published": {"top1_error": 22.0}} for name in PAIR]
    _, _, (finding,) = studied(tmp_path, panel_fields(arms, name="p", dataset="imagenet", budget="resnet50"))
    assert results_frame(finding, "top1_error")["published"].isna().all()
    assert not finding_published(finding, "top1_error")


def test_the_recipes_that_count_as_the_papers_exist():
    from analysis.comparable import paper_recipes

    assert paper_recipes("3") == [RECIPES["imagenet-paper"]] and RECIPES["cifar-paper"] in paper_recipes("7")
    assert paper_recipes("6")[0]["epochs"] == 20
