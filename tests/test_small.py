"""A sweep's small twin: one transformation, and what stays as it was."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ablation.budget import parse_budget
from ablation.cost import cost
from ablation.design import Design, design_from_name
from ablation.errors import UserError
from ablation.plan.__main__ import main
from ablation.plan.small import small_sweep
from ablation.solver.twin import small_budget, twin
from ablation.sweep import load_sweep

SWEEPS = Path(__file__).parent.parent / "sweeps"
TWINS = sorted(SWEEPS.glob("*_small.yaml"))


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_a_twin_is_what_its_first_line_makes(path):
    text = path.read_text()
    divisor = int(text.partition("--divide ")[2].split()[0])
    full = path.with_name(path.name.replace("_small", ""))
    made = small_sweep(full, divisor).replace(str(SWEEPS), "sweeps")
    assert made == text, (
        f"write it again: python -m ablation.plan --small sweeps/{full.name} --divide {divisor} --write"
    )


@pytest.mark.parametrize("path", TWINS, ids=lambda path: path.stem)
def test_a_twin_keeps_blocks_form_and_shortcut_of_each_arm(path):
    full = load_sweep(path.with_name(path.name.replace("_small", "")))
    designs = {arm.design.name: arm.design for panel in full.panels for arm in panel.arms}
    for panel in load_sweep(path).panels:
        for arm in panel.arms:
            own = designs[arm.twin_of]
            if isinstance(own, Design):
                kept = ("blocks", "form", "shortcut")
                assert [getattr(arm.design, k) for k in kept] == [getattr(own, k) for k in kept]


@pytest.mark.parametrize("divisor", [2, 4, 8])
@pytest.mark.parametrize("name", ["resnet50_1x64d", "resnext50_4x24d", "resnext50_8x14d", "resnext50_16x7-14-29-64d"])
def test_an_arm_keeps_its_place_beside_the_budget(name, divisor):
    budget, design = parse_budget("resnet50"), design_from_name(name)
    copied = small_budget(budget, divisor)
    price, own = cost(twin(design, budget, copied, divisor)), cost(design)
    assert price.params / copied.params == pytest.approx(own.params / budget.params, abs=0.05)
    assert price.macs / copied.macs == pytest.approx(own.macs / budget.macs, abs=0.05)


def test_widths_are_divided_where_they_can_be():
    budget = parse_budget("resnet50")
    copy = twin(design_from_name("resnext50_2x40d"), budget, small_budget(budget, 8), 8)
    assert (copy.widths, copy.outputs, copy.stem_width) == ((5, 10, 20, 40), (32, 64, 128, 256), 8)


@pytest.mark.parametrize(("divisor", "paths"), [(4, 32), (8, 16)])
def test_a_path_has_at_least_one_channel(divisor, paths):
    budget = parse_budget("resnet50")
    copy = twin(design_from_name("resnext50_32x4d"), budget, small_budget(budget, divisor), divisor)
    assert copy.cardinality == paths and min(copy.widths) >= 1


def test_a_scaled_budget_is_scaled_in_small():
    budget = small_budget(parse_budget("2*resnet101"), 8)
    once = cost(design_from_name("resnet101_1x8d_small-8"))
    assert (budget.name, budget.params) == ("2*resnet101_1x8d_small-8", 2 * once.params)


@pytest.mark.parametrize(
    ("budget", "divisor", "said"),
    [
        ("params=25M,macs=4.1G", 8, "a budget in numbers has no small copy"),
        ("resnet50", 5, "can't be divided by 5"),
        ("fashion", 8, "is small already"),
    ],
)
def test_a_budget_without_a_small_copy_is_said(budget, divisor, said):
    with pytest.raises(UserError, match=said):
        small_budget(parse_budget(budget), divisor)


def test_recipe_and_panels_of_one_kind_are_one(tmp_path):
    text = small_sweep(SWEEPS / "learning_rate.yaml")
    rates = [panel["recipe"] for panel in yaml.safe_load(text)["panels"]]
    assert [rate if isinstance(rate, str) else rate["lr"] for rate in rates] == [0.05, "fashion-deep", 0.2, 0.4]
    assert len(yaml.safe_load(small_sweep(SWEEPS / "table7.yaml"))["panels"]) == 1


def test_contrasts_are_those_of_the_twins():
    evidence = load_sweep(SWEEPS / "residual_small.yaml").evidence
    assert all(name.endswith("_small-8") for pair in evidence.contrasts for name in pair)
    assert load_sweep(SWEEPS / "table4_small.yaml").evidence.contrasts == (
        ("cardinality", "width"),
        ("cardinality", "depth"),
    )


def test_what_can_not_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "no" / "x.yaml", tmp_path / "file" / "x.yaml"):
        with pytest.raises(UserError, match="can't be written"):
            main(small=SWEEPS / "table3.yaml", write=target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("options", [{"divide": 4}, {"small": SWEEPS / "table3.yaml", "seeds": "3"}])
def test_options_of_a_ladder_are_refused(options):
    with pytest.raises(UserError):
        main(**options)


def test_a_copy_is_read_back_by_its_name():
    design = design_from_name("resnext50_4x3d_small-8")
    assert design_from_name(replace(design, shortcut="none").name).shortcut == "none"
