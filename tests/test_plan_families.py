"""`plan --family`: what it writes into a sweep file, counts again and proves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablation.cost import memory
from ablation.plan.new_file import question, usual_dataset
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
MLP = ("--family", "mlp.py:mlp", "--budget", "width=64,ratio=2")
NEW = (*MLP, "--axis", "ratio=1,2,4", "--resolution", "28", "--classes", "10", "--write", "sweeps/mine.yaml")


@pytest.fixture(autouse=True)
def in_a_folder_of_examples(monkeypatch, tmp_path):
    """The command runs in a folder with copies of the examples."""
    monkeypatch.chdir(tmp_path)
    for name in ("mlp", "vgg", "vit"):
        (tmp_path / f"{name}.py").write_text((EXAMPLES / f"{name}.py").read_text())


@pytest.fixture
def mine(plan, tmp_path):
    """A sweep file that was written."""
    assert plan(*NEW)[0] == 0
    return tmp_path / "sweeps" / "mine.yaml"


def knobs(panel):
    return [arm.design.knobs for arm in panel.arms if hasattr(arm.design, "knobs")]


def test_a_new_sweep_file_is_ready_to_launch(mine):
    sweep = load_sweep(mine)
    (panel,) = sweep.panels
    assert sweep.question == "At one budget, how does the error of mlp change with ratio?"
    assert (panel.name, panel.baseline) == ("mlp width=64,ratio=2", "mlp_ratio2_width64")
    assert (panel.dataset.name, panel.recipe.name) == ("fashion_mnist", "fashion")
    assert (panel.budget.params, panel.budget.macs, panel.budget.activations) == (84_042, 83_584, 458)
    assert knobs(panel) == [{"ratio": 1, "width": 76}, {"ratio": 2, "width": 64}, {"ratio": 4, "width": 52}]
    assert all(arm.design.family == "mlp.py:mlp" and arm.design.channels == 1 for arm in panel.arms)
    sweep.count_families()


def launch(*options):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "ABLATION"))}
    line = [sys.executable, "-m", "ablation.launch", "sweeps/mine.yaml", *options]
    return subprocess.run(
        line, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )


def test_it_is_launched_from_the_folder_where_it_was_planned(mine):
    done = launch("--dry-run", "--json", "--on", "local")
    assert done.returncode == 0, done.stderr
    assert [run["arm"] for run in json.loads(done.stdout)["runs"]][:2] == ["mlp_ratio1_width76", "mlp_ratio2_width64"]


@pytest.mark.slow
def test_what_was_written_trains(mine, small_fashion):
    changes = ("panels.*.recipe.epochs=1", "panels.*.dataset.validation=100", "panels.*.recipe.batch=128", "seeds=1")
    options = [word for change in changes for word in ("--set", change)]
    done = launch("--data-dir", str(small_fashion), "--on", "here", *options)
    assert done.returncode == 0 and "mine: 3 done" in done.stdout, done.stderr


def test_writing_twice_is_writing_once(plan, mine):
    before = mine.read_text()
    assert plan(*MLP, "--axis", "ratio=1,2,4", "--write", mine)[0] == 0
    assert mine.read_text() == before


def test_rows_that_left_the_ladder_go_and_are_named(plan, mine):
    text = mine.read_text().replace("seeds: 3", "seeds: 5  # more")
    text = text.replace("    arms: ", "    # why these\n    arms: ").replace(
        "- {family: 'mlp.py:mlp', knobs: {ratio: 2", "- {family: ./mlp.py:mlp, name: plain, knobs: {ratio: 2"
    )
    text = text.replace("baseline: mlp_ratio2_width64", "baseline: plain").replace("params: 84042, m", "params: 1, m")
    mine.write_text(text)
    code, out, _ = plan(*MLP, "--axis", "ratio=2,3", "--write", mine)
    assert code == 0
    assert "no longer there: mlp_ratio1_width76, mlp_ratio4_width52" in out
    after = mine.read_text()
    assert "seeds: 5  # more" in after and "    # why these\n" in after and "name: plain" in after
    (panel,) = load_sweep(mine).panels
    assert [arm.name for arm in panel.arms] == ["plain", "mlp_ratio3_width57"]
    assert panel.baseline == "plain" and panel.arms[0].cost.params == 84_042


def test_designs_and_other_families_stay_as_they_are(plan, tmp_path):
    path = tmp_path / "mixed.yaml"
    assert plan("--budget", "fashion", "--cardinality", "1", "2", "--write", path)[0] == 0
    other = "      - {family: 'vgg.py:vgg', knobs: {depth: 1, width: 13}, params: 16039, macs: 1284712}  # mine\n"
    path.write_text(path.read_text().replace("seeds:", f"{other}seeds:"))
    head = path.read_text().partition("seeds:")[0]
    mlp = ("--family", "mlp.py:mlp", "--budget", "fashion", "--match", "params", "--write", path)
    assert plan(*mlp, "--axis", "ratio=1,2")[0] == 0
    assert path.read_text().startswith(head)
    assert plan(*mlp, "--axis", "ratio=2,3", "--panel", "fashion")[0] == 0
    assert path.read_text().startswith(head)
    (panel,) = load_sweep(path).panels
    assert panel.baseline == "resnet11_1x8d"
    assert [own["ratio"] for own in knobs(panel)[1:]] == [2, 3]
    assert plan("--budget", "fashion", "--cardinality", "1", "4", "--write", path)[0] == 0
    assert other in path.read_text() and len(load_sweep(path).panels[0].arms) == 5


def test_a_panel_s_own_images_are_solved_for(plan, tmp_path):
    vit = ("--family", "vit.py:vit", "--budget", "params=50k", "--axis", "heads=2", "--axis", "layers=2")
    vit = (*vit, "--axis", "patch=8", "--match", "params")
    path = tmp_path / "x.yaml"
    assert plan(*vit, "--resolution", "32", "--classes", "10", "--write", path)[0] == 0
    assert load_sweep(path).panels[0].dataset.name == "cifar10"
    path.write_text(path.read_text().replace("cifar10", "cifar100"))
    assert plan(*vit, "--write", path)[0] == 0
    load_sweep(path).count_families()
    code, _, err = plan(*vit, "--resolution", "32", "--write", path)
    assert code == 2 and "its dataset says them" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--axis", "ratio=2,2"), "an arm twice"),
        (("--axis", "ratio=1,2", "--tolerance", "0.01%"), "no admissible width at ratio=1"),
        (("--axis", "ratio=2", "--budget", "params=80k", "--panel", "mlp width=64,ratio=2"), "has the budget"),
        (("--axis", "ratio=2", "--tight", "1%"), "a family has one free knob"),
        (("--axis", "ratio=2", "--scale", "2"), "--scale does not go with --family"),
        (("--axis", "ratio=2", "--seeds", "3"), "--seeds does not go with --family"),
        (("--axis", "ratio=2", "--match", "block"), "can't be matched by 'block'"),
    ],
)
def test_what_is_refused_leaves_the_file_untouched(plan, mine, options, said):
    before = mine.read_text()
    code, _, err = plan(*MLP, *options, "--write", mine)
    assert code == 2 and said in err and err.startswith("error: ")
    assert mine.read_text() == before


def test_images_that_the_family_is_not_made_for_are_one_plain_error(plan, tmp_path):
    text = (EXAMPLES / "mlp.py").read_text()
    (tmp_path / "grey.py").write_text(text.replace("cost=cost)", "channels=1, resolution=30)"))
    line = ("--family", "grey.py:mlp", "--budget", "params=80k", "--match", "params", "--axis", "ratio=2")
    code, _, err = plan(*line, "--write", "x.yaml")
    assert code == 2 and "is made for images of channels=1, resolution=30" in err
    assert not (tmp_path / "x.yaml").exists()


def test_a_panel_needs_a_file(plan):
    code, _, err = plan(*MLP, "--axis", "ratio=2", "--panel", "mine")
    assert code == 2 and "Add --write FILE" in err


@pytest.mark.parametrize(
    ("image", "name"),
    [((1, 28, 10), "fashion_mnist"), ((3, 32, 10), "cifar10"), ((3, 32, 100), "cifar100"), ((3, 160, 7), "imagenet")],
)
def test_a_new_panel_s_data_set_follows_from_its_images(image, name):
    assert usual_dataset(dict(zip(("channels", "resolution", "classes"), image, strict=True)))["name"] == name


def test_the_question_fits_the_axis(plan, tmp_path):
    assert question({"cardinality"}) == "At one budget, does error fall as cardinality grows?"
    assert "mix of cardinality and depth" in question({"depth", "cardinality"})
    plan("--budget", "resnet50", "--axis", "depth", "--write", "deep.yaml")
    assert load_sweep(tmp_path / "deep.yaml").question == "At one budget, does error fall as depth grows?"
    assert question(None) == "How does error vary over designs of one budget?"


def test_the_baseline_along_another_axis_is_the_budget_s_own_design(plan, tmp_path):
    groups = ("--budget", "resnext50_32x4d", "--axis", "groups")
    assert plan(*groups, "--width", "4", "16", "64", "--write", "groups.yaml")[0] == 0
    (panel,) = load_sweep(tmp_path / "groups.yaml").panels
    assert panel.baseline == "resnext50_32x4d" and min(arm.design.cardinality for arm in panel.arms) < 32


VERIFY = {
    "mlp": ("mlp.py:mlp", "--axis", "ratio=1,2", "--budget", "width=16,ratio=2"),
    "vgg": ("vgg.py:vgg", "--axis", "depth=2", "--budget", "width=4,depth=1", "--resolution", "28"),
    "vit": (
        *("vit.py:vit", "--axis", "heads=2", "--axis", "layers=1", "--axis", "patch=8", "--resolution", "32"),
        *("--budget", "width=16,heads=2,layers=1,patch=8"),
    ),
}


@pytest.mark.parametrize(("name", "unseen"), [("mlp", None), ("vgg", None), ("vit", "scaled_dot_product_attention")])
def test_fvcore_counts_layers_as_torch_does_and_no_attention(plan, name, unseen):
    code, out, err = plan("--family", *VERIFY[name], "--tolerance", "99%", "--verify")
    assert (code, err) == (0, "")
    table = out[out.index("Counted again") :]
    assert "fvcore" in table and ("yes" in table) and ("NO" not in table)
    assert ("do not count" in table) == bool(unseen)
    if unseen:
        assert f"do not count {unseen}: 8,192 MACs" in table  # 2 products of 16 x 16 tokens, 16 wide, in one layer


ODD = """
import torch
from torch import nn
from ablation.family import family


class Odd(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.one, self.two = nn.Linear(784, width), nn.Linear(width, classes)

    def forward(self, x):
        y = self.one(x.flatten(1))
        return self.two(y) if x.is_meta else self.two(y) + self.two({more})


@family()
def odd(width, channels=1, resolution=28, classes=10):
    return Odd(width, classes)
"""


@pytest.mark.parametrize("more", ["y", "torch.bmm(y[:, :, None], y[:, None]).mean(1)"])
def test_a_network_that_is_another_when_built_in_earnest_is_found_out(plan, tmp_path, more):
    (tmp_path / "odd.py").write_text(ODD.format(more=more))
    code, _, err = plan("--family", "odd.py:odd", "--budget", "width=8", "--verify", "--json", "--write", "x.yaml")
    assert code == 1 and "error: macs of odd_width8 differ: FlopCounterMode / 2 6,352, fvcore 6,432" in err
    assert not (tmp_path / "x.yaml").exists()


def test_a_network_that_can_not_be_traced_is_one_plain_error(plan, tmp_path):
    (tmp_path / "odd.py").write_text(ODD.format(more="y) + self.two(1 / 0"))
    code, _, err = plan("--family", "odd.py:odd", "--budget", "width=8", "--verify")
    assert code == 2 and "fvcore can't count odd_width8: ZeroDivisionError" in err


def test_the_proof_has_the_keys_that_ladders_of_designs_have(plan):
    designs = json.loads(plan("--budget", "fashion", "--cardinality", "1", "2", "--proof", "--json")[1])
    answer = json.loads(plan(*MLP, "--axis", "ratio=1,2", "--proof", "--json")[1])
    assert answer.keys() == designs.keys()
    assert answer["spread"].keys() == designs["spread"].keys()
    row, theirs = answer["designs"][0], designs["designs"][0]
    assert {"errors", "neighbours", "rules"} <= row.keys() & theirs.keys()
    assert row["errors"].keys() == theirs["errors"].keys() == row["neighbours"][0]["errors"].keys()
    assert answer["axis"] == ["ratio"]


def test_the_proof_says_what_other_rules_pick(plan):
    answer = json.loads(plan(*MLP, "--axis", "ratio=1", "--proof", "--json")[1])
    (row,) = answer["designs"]
    assert [near["value"] for near in row["neighbours"]] == [75, 77]
    picked = json.loads(plan(*MLP, "--axis", "ratio=1", "--match", "activations", "--json")[1])["designs"][0]
    assert row["rules"]["activations"]["knobs"] == picked["knobs"] == {"ratio": 1, "width": 90}
    assert row["rules"]["activations"]["errors"]["params"] == picked["params_error"]
    assert "both" not in row["rules"]


def test_the_proof_and_the_spread_are_printed_and_drawn(plan, tmp_path):
    code, out, err = plan(*MLP, "--axis", "ratio=1,2", "--proof", "--figure", "out/mlp.svg")
    assert (code, err) == (0, "")
    assert "activations picks" in out and "The rows differ, largest against smallest, in params 0.2%" in out
    assert "ratio=1, width=76" in (tmp_path / "out" / "mlp.svg").read_text()


@pytest.mark.parametrize("batch", [1, 32, 4096])
def test_memory_is_matched_as_brute_force_does(plan, batch):
    line = (*MLP, "--axis", "ratio=4", "--match", "memory", "--batch", batch, "--tolerance", "20%", "--json")
    (row,) = json.loads(plan(*line)[1])["designs"]

    def bytes_of(width, ratio):
        weights = 784 * width + 4 * width * width * ratio + 10 * width
        written = 3 * width + 2 * ratio * width + 10
        return memory(weights + written, written, batch)

    target = bytes_of(64, 2)
    best = min(range(1, 200), key=lambda width: abs(bytes_of(width, 4) / target - 1))
    assert row["knobs"]["width"] == best
    assert row["memory"] == bytes_of(best, 4)
    assert row["memory_error"] == pytest.approx(bytes_of(best, 4) / target - 1)


def test_memory_needs_activations_in_the_budget(plan):
    code, _, err = plan("--family", "mlp.py:mlp", "--budget", "params=80k", "--match", "memory", "--axis", "ratio=2")
    assert code == 2 and "needs params and activations" in err
