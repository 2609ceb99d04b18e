"""`python -m ablation.plan`: what it prints, what it writes, what it refuses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ablation.design import design_from_name
from ablation.plan import verify as counting
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent
TABLE_2 = ["--cardinality", "1", "2", "4", "8", "32"]
PAPER = {  # d, params, MACs, for the cardinalities of Table 2
    "resnet50": [
        (64, 25_557_032, 4_089_184_256),
        (40, 25_425_000, 4_124_508_160),
        (24, 25_292_968, 4_159_832_064),
        (14, 25_603_016, 4_267_409_408),
        (4, 25_028_904, 4_230_479_872),
    ],
    "resnet101": [
        (64, 44_549_160, 7_801_405_440),
        (40, 44_456_296, 7_843_553_280),
        (24, 44_363_432, 7_885_701_120),
        (14, 45_104_328, 8_076_871_680),
        (4, 44_177_704, 7_969_996_800),
    ],
}


@pytest.mark.parametrize("budget", sorted(PAPER))
def test_json_holds_table_2_to_the_integer(plan, budget):
    code, out, err = plan("--budget", budget, *TABLE_2, "--json")
    rows = json.loads(out)["designs"]
    assert (code, err) == (0, "")
    assert [(row["width"], row["params"], row["macs"]) for row in rows] == PAPER[budget]


def test_json_has_exactly_the_keys_of_the_contract(plan):
    answer = json.loads(plan("--budget", "resnet50", "--cardinality", "32", "--json")[1])
    assert list(answer) == ["budget", "match", "designs"]
    assert answer["match"] == "block"
    assert answer["budget"] == {
        "name": "resnet50",
        "params": 25_557_032,
        "macs": 4_089_184_256,
        "activations": 11_114_984,
        "block_params": 69_632,
    }
    (row,) = answer["designs"]
    errors = {key: row.pop(key) for key in ("params_error", "macs_error", "block_error")}
    assert errors == pytest.approx({"params_error": -0.0207, "macs_error": 0.0346, "block_error": 0.0074}, abs=1e-4)
    assert row == {
        "name": "resnext50_32x4d",
        "depth": 50,
        "cardinality": 32,
        "width": 4,
        "stage_widths": [4, 8, 16, 32],
        "params": 25_028_904,
        "macs": 4_230_479_872,
        "activations": 14_401_512,
        "block_params": 70_144,
        "bend": 0.0,
        "admissible": True,
    }


def test_json_keeps_the_order_asked_for_and_the_inadmissible_row(plan):
    code, out, _ = plan("--cardinality", "16", "2", "--json")
    rows = json.loads(out)["designs"]
    assert code == 0
    assert [(row["cardinality"], row["width"], row["admissible"]) for row in rows] == [(16, 8, False), (2, 40, True)]


def test_an_error_that_is_not_defined_is_null(plan):
    answer = json.loads(plan("--budget", "2*resnet101", "--cardinality", "2", "--json")[1])
    assert (answer["match"], answer["budget"]["block_params"]) == ("both", None)
    assert answer["designs"][0]["block_error"] is None


def test_the_table_marks_what_is_inadmissible_and_cuts_nothing(plan, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = plan("--budget", "resnet50")
    assert code == 0
    (row,) = [line for line in out.splitlines() if re.search(r"\b16\b", line) and "│" in line]
    for cell in ("74,752 (+7.4%)", "26,443,560 (+3.5%)", "4,461,690,880 (+9.1%)", "no admissible width"):
        assert cell in row
    assert "C=16: no admissible width within 5%; the nearest, d=8" in out
    assert "C=8: macs d=13" in out
    assert "…" not in out


def test_tight_frees_the_stage_widths(plan):
    _, out, _ = plan("--cardinality", "16", "32", "--tight", "1%")
    assert "7-14-30-62" in out
    assert "4-7-16-33" in out


def test_the_demo_s_budget_gives_five_admissible_designs_by_default(plan):
    answer = json.loads(plan("--budget", "fashion", "--json")[1])
    assert [row["cardinality"] for row in answer["designs"] if row["admissible"]] == [1, 2, 3, 4, 6]
    assert "stage widths are free" in plan("--budget", "fashion")[1]


def test_tolerance_is_read_in_both_spellings(plan):
    answers = [plan("--cardinality", "16", "--json", "--tolerance", text)[1] for text in ("8%", "0.08")]
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["designs"][0]["admissible"]


def test_verify_counts_again_and_agrees(plan):
    code, out, err = plan("--budget", "fashion", "--cardinality", "1", "6", "--verify")
    assert (code, err) == (0, "")
    assert "FlopCounterMode / 2" in out
    assert "fvcore" in out


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_verify_fails_where_one_count_is_off_by_one(plan, monkeypatch, flags):
    right = counting.count_with_fvcore
    monkeypatch.setattr(counting, "count_with_fvcore", lambda *given: (right(*given)[0] + 1, right(*given)[1]))
    code, out, err = plan("--budget", "fashion", "--cardinality", "1", "--verify", *flags)
    assert code == 1
    assert err.startswith("error: macs of resnet11_1x8d differ: closed form 1,210,880, ")
    assert "NO" in out or json.loads(out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "resnet5O"], "unknown budget 'resnet5O'"),
        (["--cardinality", "0"], "cardinality must be a whole number of at least 1; got 0"),
        (["--cardinality", "four"], "--cardinality"),
        (["--cardinality", "1.5"], "--cardinality"),
        (["--match", "blocks"], "unknown match rule 'blocks'"),
        (["--tolerance", "500%"], "--tolerance 500% must be above 0 and below 100%"),
        (["--tight", "1%", "--tolerance", "5%"], "--tight and --tolerance"),
        (["--tight", "1%", "--match", "macs"], "does not go with it"),
        (["--budget", "2*resnet50", "--match", "block"], "no block to match"),
        (["--panel", "depth 50"], "--panel"),
        (["--wide"], "--wide"),
    ],
)
def test_bad_input_is_one_plain_error(plan, arguments, said):
    code, out, err = plan(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("error: ")


def test_a_new_sweep_file_is_ready_to_launch(plan, tmp_path):
    path = tmp_path / "sweeps" / "mine.yaml"
    code, _, err = plan(*TABLE_2, "--write", path, "--panel", "depth 50")
    sweep = load_sweep(path)
    assert (code, err) == (0, "")
    (panel,) = sweep.panels
    assert (panel.name, panel.baseline, panel.recipe.name) == ("depth 50", "resnet50_1x64d", "imagenet-paper")
    assert [(arm.design.widths[0], arm.cost.params, arm.cost.macs) for arm in panel.arms] == PAPER["resnet50"]
    assert (sweep.seeds, sweep.precision) == ((0, 1, 2), "bf16")
    assert "      - {design: resnext50_32x4d, params: 25028904, macs: 4230479872}\n" in path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["mine.yaml"]


def test_the_demo_s_ladder_can_be_written(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    assert plan("--budget", "fashion", "--write", path)[0] == 0
    (panel,) = load_sweep(path).panels
    assert [arm.name for arm in panel.arms][-1] == "resnext11_6x2-4-9d"
    assert (panel.dataset.name, panel.recipe.name) == ("fashion_mnist", "fashion")


def test_a_cifar_ladder_can_be_written(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    assert plan("--budget", "resnext29_8x64d", "--cardinality", "8", "4", "--write", path, "--json")[0] == 0
    (panel,) = load_sweep(path).panels
    assert (panel.dataset.name, panel.baseline) == ("cifar10", panel.arms[1].name)


SWEEP = """\
# what we ask
question: Does it fall?   # one line
panels:
  - name: depth 50
    budget: resnet50
    dataset: {name: imagenet, resolution: 224}
    recipe: {base: imagenet-paper, epochs: 30}  # short
    baseline: plain
    arms:  # by plan
      # the ResNet
      - {design: resnet50_1x64d, name: plain, params: 1, macs: 2, published: {top1_error: 23.9}}  # Table 3
      - design: {cardinality: 32, widths: [4, 8, 16, 32]}
        # by hand
        macs: 4
        params: 3
        published:
          top1_error: 22.2
      - {design: resnext50_64x4d, params: 5, macs: 6}

  # deeper
  - name: depth 101
    budget: resnet101
    dataset: imagenet
    recipe: imagenet-paper
    baseline: resnet101_1x64d
    arms:
      - {design: resnet101_1x64d, params: 44549160, macs: 7801405440}
seeds: [5, 7]  # two
precision: bf16
"""
UPDATED = SWEEP.replace("params: 1, macs: 2", "params: 25557032, macs: 4089184256")
UPDATED = UPDATED.replace("macs: 4\n        params: 3", "macs: 4230479872\n        params: 25028904")
UPDATED = UPDATED.replace("      - {design: resnext50_64x4d, params: 5, macs: 6}\n", "")
NEW_ARM = "      - {design: resnext50_2x40d, params: 25425000, macs: 4124508160}\n"
UPDATED = UPDATED.replace("      - design: {card", NEW_ARM + "      - design: {card")


def test_writing_again_changes_a_panel_s_arms_and_nothing_else(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SWEEP)
    code, out, _ = plan("--budget", "resnet50", "--cardinality", "1", "2", "32", "--write", path)
    assert code == 0
    assert path.read_text() == UPDATED
    assert "panel 'depth 50'; no longer there: resnext50_64x4d" in out
    assert load_sweep(path).panels[0].arms[0].published == {"top1_error": 23.9}


def test_writing_twice_is_writing_once(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(UPDATED)
    plan("--budget", "resnet50", "--cardinality", "1", "2", "32", "--write", path)
    assert path.read_text() == UPDATED


def test_a_new_panel_is_added_behind_the_others(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(UPDATED)
    assert plan("--budget", "resnet152", "--cardinality", "1", "2", "--write", path, "--panel", "deepest")[0] == 0
    before, after = UPDATED.split("seeds:"), path.read_text().split("seeds:")
    assert after[0].startswith(before[0])
    assert after[1] == before[1]
    assert [panel.name for panel in load_sweep(path).panels] == ["depth 50", "depth 101", "deepest"]


def test_a_panel_s_own_resolution_is_solved_for(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(UPDATED.replace("resolution: 224", "resolution: 160"))
    assert plan("--budget", "resnet50", "--cardinality", "1", "32", "--write", path)[0] == 0
    assert load_sweep(path).panels[0].arms[0].cost.macs == 2_087_321_600


def test_a_baseline_that_went_is_replaced_by_the_smallest_cardinality(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(UPDATED)
    assert plan("--cardinality", "32", "2", "--write", path)[0] == 0
    assert load_sweep(path).panels[0].baseline == "resnext50_2x40d"


@pytest.mark.parametrize(
    "arms", ["    arms:\n", "    arms: []\n", "", "    arms: [{design: resnet50_1x64d, name: plain}]\n"]
)
def test_arms_may_be_missing_empty_or_on_one_line(plan, tmp_path, arms):
    path = tmp_path / "mine.yaml"
    path.write_text(re.sub(r"    arms:  # by plan\n.*?\n\n", arms, UPDATED, flags=re.DOTALL))
    assert plan("--cardinality", "1", "32", "--write", path)[0] == 0
    panel = load_sweep(path).panels[0]
    assert [arm.design.cardinality for arm in panel.arms] == [1, 32]
    assert panel.baseline == ("plain" if "plain" in arms else "resnet50_1x64d")


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (UPDATED, ["--cardinality", "1", "16"], "no admissible width at C=16"),
        (UPDATED, ["--cardinality", "1", "1"], "twice"),
        (UPDATED, ["--cardinality", "1", "--panel", "depth 101"], "budget 'resnet101', not 'resnet50'"),
        (UPDATED.replace("resnet101", "resnet50"), ["--cardinality", "1"], "several panels"),
        (UPDATED.replace("imagenet-paper, ep", "imagenet-peper, ep"), ["--cardinality", "1"], "unknown recipe"),
        (UPDATED.replace("imagenet, res", "imagenot, res"), ["--cardinality", "1"], "mine.yaml:4"),
        ("question: [\n", ["--cardinality", "1"], "not YAML"),
        ("- a list\n", ["--cardinality", "1"], "a sweep is a mapping"),
        ("question: why\n", ["--cardinality", "1"], "panels must be a list"),
    ],
)
def test_what_is_refused_leaves_the_file_untouched(plan, tmp_path, content, arguments, said):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    code, _, err = plan("--budget", "resnet50", *arguments, "--write", path)
    assert code == 2
    assert said in err
    assert path.read_text() == content
    assert [file.name for file in tmp_path.iterdir()] == ["mine.yaml"]


def test_an_inadmissible_row_makes_no_file(plan, tmp_path):
    assert plan("--cardinality", "16", "--write", tmp_path / "mine.yaml")[0] == 2
    assert not list(tmp_path.iterdir())


def test_aliases_are_not_edited_into_something_else(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    content = UPDATED.replace("- {design: resnet50_1x64d,", "- &first {design: resnet50_1x64d,")
    content = content.replace("- {design: resnext50_2x40d", "- *first\n      - {design: resnext50_2x40d")
    path.write_text(content)
    code, _, err = plan("--cardinality", "1", "2", "--write", path)
    assert code == 2
    assert err.startswith("error: ")
    assert path.read_text() == content


def test_a_place_that_cannot_be_written_is_a_plain_error(plan, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = plan("--cardinality", "1", "--write", tmp_path / "file" / "mine.yaml")
    assert code == 2
    assert err.startswith("error: ")


def test_a_sweep_is_read_with_the_designs_that_were_written(plan, tmp_path):
    path = tmp_path / "mine.yaml"
    plan("--budget", "resnet50", "--cardinality", "16", "--tight", "0.5%", "--write", path)
    (arm,) = yaml.safe_load(path.read_text())["panels"][0]["arms"]
    assert design_from_name(arm["design"]).widths == (7, 14, 29, 64)
    assert load_sweep(path).panels[0].arms[0].design == design_from_name(arm["design"])


def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
    command_line = [sys.executable, "-W", "error", "-m", "ablation.plan", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command_line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_a_user_s_mistake_shows_no_traceback():
    done = shell("--budget", "resnet5O")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "Did you mean resnet50" in done.stderr


def test_verify_says_nothing_beside_its_tables():
    done = shell("--budget", "fashion", "--cardinality", "2", "--verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("┘")


def test_another_axis_adds_its_keys_behind_the_contract_s(plan):
    answer = json.loads(plan("--budget", "2*resnet101", "--axis", "depth", "--json")[1])
    (row,) = answer["designs"]
    assert list(answer)[:3] == ["budget", "match", "designs"]
    assert list(row)[:3] == ["name", "depth", "cardinality"]
    assert (row["blocks"], answer["match"], len(row["neighbours"])) == ([6, 8, 46, 6], "macs", 3)
    (published,) = answer["published"]
    assert published["blocks"] == [3, 24, 36, 3]
    assert published["params_error"] == pytest.approx(-0.274, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "2*resnet101", "--axis", "width"], "resnet101_1x100d (3, 4, 23, 3) (Table 4): params -3.9%"),
        (["--axis", "groups", "--width", "4", "64"], "resnext50_32x4d"),
        (["--axis", "depth", "width", "--scale", "0.5", "1"], "blocks"),
        (["--cardinality", "8", "--proof"], "macs picks"),
        (["--budget", "params=25M", "--cardinality", "2"], "25,000,000"),
        (["--resolution", "160", "--classes", "10", "--cardinality", "1"], "resnet50_1x64d"),
        (["--match", "memory", "--batch", "8", "--cardinality", "2"], "Matched (memory)"),
    ],
)
def test_axes_budgets_and_proofs_are_printed(plan, arguments, said):
    code, out, err = plan(*arguments)
    assert (code, err) == (0, "")
    assert said in out


def test_a_deeper_ladder_is_written_and_read_back(plan, tmp_path):
    path = tmp_path / "deep.yaml"
    assert plan("--budget", "2*resnet101", "--axis", "depth", "--write", path)[0] == 0
    (arm,) = load_sweep(path).panels[0].arms
    assert (arm.design.blocks, arm.name) == ((6, 8, 46, 6), "resnet200_1x64d_blocks-6-8-46-6")


def test_rows_of_several_scales_are_not_one_panel(plan, tmp_path):
    code, _, err = plan("--axis", "width", "--scale", "1", "2", "--write", tmp_path / "x.yaml")
    assert (code, list(tmp_path.iterdir())) == (2, [])
    assert "a panel has one budget" in err


def test_the_residuals_are_drawn(plan, tmp_path):
    assert plan("--cardinality", "1", "8", "--figure", tmp_path / "out.svg")[0] == 0
    assert "<svg" in (tmp_path / "out.svg").read_text()


@pytest.mark.parametrize("arguments", [["--axis", "colour"], ["--scale", "2"], ["--budget", "params=-1"]])
def test_what_no_axis_takes_is_one_plain_error(plan, arguments):
    code, out, err = plan(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def test_writing_leaves_the_arms_of_families_alone(plan, tmp_path):
    path = tmp_path / "mixed.yaml"
    plan("--budget", "fashion", "--cardinality", "1", "2", "--write", str(path))
    family = f"{ROOT}/docs/examples/mlp.py:mlp"
    arm = f'      - {{family: "{family}", knobs: {{width: 53, ratio: 2}}, params: 64935, macs: 64554}}  # mine\n'
    head, between, tail = path.read_text().partition("seeds:")
    path.write_text(head + arm + between + tail)
    assert len(load_sweep(path).panels[0].arms) == 3
    plan("--budget", "fashion", "--cardinality", "1", "2", "4", "--write", str(path))
    assert arm in path.read_text()
    assert len(load_sweep(path).panels[0].arms) == 4
