"""Anybody's architecture: declared, counted, solved for, and every mistake said plainly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ablation.budget import parse_budget
from ablation.cost import cost
from ablation.design import design_from_name
from ablation.errors import UserError
from ablation.family import load_family
from ablation.family.count import count
from ablation.family.search import solve_family
from ablation.plan.families import family_budget

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
IMAGE = {"channels": 1, "resolution": 28, "classes": 10}
HEAD = "from torch import nn\nfrom ablation.family import family\n"


def example(name):
    return load_family(f"{EXAMPLES / name}.py:{name}")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A family from a text of its own, outside the package, in the current directory."""
    monkeypatch.chdir(tmp_path)

    def written(text, name="net", file="blocks.py"):
        (tmp_path / file).write_text(HEAD + text)
        return load_family(f"{file}:{name}")

    return written


LINEAR = """
@family(solve="width", axes=["ratio"])
def net(width, ratio=1, channels=1, resolution=28, classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * resolution**2, width * ratio), nn.Linear(width * ratio, classes))
"""  # noqa: E501


def test_the_counter_counts_designs_as_their_closed_form_does(monkeypatch):
    from ablation.family.count import _count
    from ablation.family.declare import Family
    from ablation.network import Network

    for name in ("resnet11_1x8d", "resnext11_4x3d", "resnext50_32x4d"):
        design, price = design_from_name(name), cost(design_from_name(name))
        image = {key: getattr(design, key) for key in ("channels", "resolution", "classes")}
        family = Family(name, lambda width, design=design: Network(design), "width", (), 1, None)
        found = count(family, {"width": 1}, image)
        assert (found.params, found.macs, found.activations) == (price.params, price.macs, price.activations)
    _count.cache_clear()


def test_convnext_tiny_is_convnext_tiny():
    from torchvision.models import convnext_tiny

    found = count(
        example("convnext"), {"width": 96, "expansion": 4}, {"channels": 3, "resolution": 224, "classes": 1000}
    )
    assert found.params == sum(p.numel() for p in convnext_tiny().parameters()) == 28_589_128
    assert found.macs == 4_455_531_264


def test_attention_is_counted():
    image = {"channels": 3, "resolution": 32, "classes": 10}
    width, tokens, layers, patch = 24, 16, 2, 8
    found = count(example("vit"), {"width": width, "heads": 4, "layers": layers, "patch": patch}, image)
    linear = 4 * tokens * width**2 + 2 * tokens * width * 4 * width
    scores = 2 * tokens**2 * width
    assert found.macs == tokens * 3 * patch**2 * width + layers * (linear + scores) + width * 10


def matched(name, text, knobs, match="both", tolerance=0.05, **given):
    family = example(name)
    budget, size = family_budget(family, text, given)
    return [solve_family(family, budget, knob, match, tolerance, size) for knob in knobs]


def test_convnext_s_expansion():
    expansions = [{"expansion": value, "blocks": "2-2", "patch": 2} for value in (2, 3, 4)]
    small = "width=64,expansion=4,blocks=2-2,patch=2"
    rows = matched("convnext", small, expansions, tolerance=0.02, **IMAGE)
    assert [row.admissible for row in rows] == [True] * 3
    assert [row.design.knobs["width"] for row in rows] == sorted((r.design.knobs["width"] for r in rows), reverse=True)
    assert rows[2].cost.params == rows[2].budget.params


def test_an_mlp_s_ratio_by_its_closed_form():
    rows = matched("mlp", "params=200k", [{"ratio": value} for value in (1, 2, 4)], None)
    assert all(row.admissible for row in rows)


def test_a_vit_s_heads_divide_its_width():
    knobs = [{"heads": heads, "layers": 2, "patch": 7} for heads in (3, 5, 6)]
    rows = matched("vit", "width=48,heads=6,layers=2,patch=7", knobs, **IMAGE)
    assert [row.design.knobs["width"] for row in rows] == [48, 50, 48]
    assert rows[1].neighbours[0][0] == 45


def test_a_vgg_s_width():
    row, *_ = matched("vgg", "fashion", [{"depth": 2}], "macs")
    family, budget = example("vgg"), parse_budget("fashion")
    errors = {w: abs(count(family, {"depth": 2, "width": w}, IMAGE).macs / budget.macs - 1) for w in range(1, 40)}
    assert row.design.knobs["width"] == min(errors, key=errors.get)


@pytest.mark.parametrize("match", ["params", "macs", "both", "activations"])
@pytest.mark.parametrize("target", [20_000, 50_000, 123_456])
def test_the_search_equals_brute_force(written, match, target):
    family = written(LINEAR)
    budget = parse_budget(f"params={target},macs={target // 2},activations={target // 100}")
    row = solve_family(family, budget, {"ratio": 2}, match, image=IMAGE)
    measures = ("params", "macs") if match == "both" else (match,)
    prices = {
        w: count(family, {"ratio": 2, "width": w}, IMAGE) for w in range(1, 1000 if match == "activations" else 90)
    }
    worst = {w: max(abs(getattr(p, m) / getattr(budget, m) - 1) for m in measures) for w, p in prices.items()}
    assert row.design.knobs["width"] == min(worst, key=worst.get)


def test_a_family_stays_the_function_it_was(written):
    assert len(written(LINEAR).function(width=3)) == 3


def test_another_text_is_another_family(written):
    first, second = written(LINEAR), written(LINEAR.replace("def net(width, ratio=1", "def net(width, ratio=2"))
    assert count(first, {"width": 4}, IMAGE) != count(second, {"width": 4}, IMAGE)


SOLVED = """
@family(solve="width"{more})
def net(width, {knobs}classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, {inside}), nn.Linear({inside}, classes))
"""
PLAIN = SOLVED.format(more="", knobs="", inside="width")


@pytest.mark.parametrize(
    ("text", "knobs", "message"),
    [
        (SOLVED.format(more="", knobs="", inside="64"), {}, "ignores its knob width: 50,890 params"),
        (SOLVED.format(more="", knobs="", inside="1000 // width + 1"), {}, "does not grow with width"),
        (SOLVED.format(more="", knobs="", inside="width // 0"), {}, "fails to build at width=1: ZeroDivisionError"),
        (SOLVED.format(more="", knobs="ratio, ", inside="width"), {}, "needs a value of ratio"),
        (SOLVED.format(more="", knobs="ratio=1, ", inside="width"), {"ration": 2}, "Did you mean ratio?"),
        (PLAIN, {"width": 2}, "width of blocks.py:net is solved for"),
        (PLAIN, {"classes": 2}, "is no knob"),
        (SOLVED.format(more=", cost=lambda **k: (1, k['width'])", knobs="", inside="width"), {}, "its network has"),
        (SOLVED.format(more=", cost=lambda width: (1, 2)", knobs="", inside="width"), {}, "the closed form of"),
        (SOLVED.format(more=", multiple=0", knobs="", inside="width"), {}, "whole number of at least 1; got 0"),
        (SOLVED.format(more=", multiple=lambda k: k['heads']", knobs="", inside="width"), {}, "asks for the knob"),
        (SOLVED.format(more=", axes=['ratio']", knobs="", inside="width"), {}, "has no parameter 'ratio'"),
        (SOLVED.format(more="", knobs="*more, ", inside="width"), {}, "every knob must have a name"),
        (SOLVED.format(more=", classes=7", knobs="", inside="width").replace("classes=10):", "):"), {}, "NameError"),
        (PLAIN.replace("width, classes)", "width, 7)"), {}, "one logit a class"),
        (PLAIN.replace("784", "783"), {}, "fails on an image of 1x28x28"),
        ("@family()\ndef net(width):\n    return 3\n", {}, "must return a torch.nn.Module; got int"),
        ("def net(width):\n    return 3\n", {}, "is not declared as a family"),
        ("@family()\ndef nett(width):\n    return 3\n", {}, "Did you mean nett?"),
        ("import nowhere\n", {}, "can't be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("def (\n", {}, "can't be imported: SyntaxError"),
        ("raise SystemExit\n", {}, "can't be imported: SystemExit"),
    ],
)  # fmt: skip
def test_bad_families_are_said_plainly(written, text, knobs, message):
    with pytest.raises(UserError) as error:
        family = written(text)
        solve_family(family, parse_budget("params=50k,macs=50k"), knobs, image=IMAGE)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 2, "what is wrong, and what to change"


@pytest.mark.parametrize("name", ["net", "blocks.py:", ":net", "no/such.py:net", "no.such:net", "blocks.py:a b"])
def test_a_name_that_names_nothing(written, name):
    written(LINEAR)
    with pytest.raises(UserError):
        load_family(name)


def plan(*options, cwd=ROOT):
    import os

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ablation.plan", *options]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_users_file_outside_the_package_is_matched_within_one_percent(tmp_path):
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "blocks.py").write_text((EXAMPLES / "convnext.py").read_text())
    done = plan(
        *("--family", "mylab.blocks:convnext", "--axis", "expansion=3,5", "--tolerance", "1%"),
        *("--budget", "width=128,expansion=4", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [row["knobs"]["expansion"] for row in answer["designs"]] == [3, 5]
    for row in answer["designs"]:
        assert row["admissible"] and abs(row["params_error"]) <= 0.01 and abs(row["macs_error"]) <= 0.01
    keys = {"name", "params", "macs", "activations", "params_error", "macs_error", "admissible", "knobs", "neighbours"}
    assert keys <= answer["designs"][0].keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--axis", "depth"), "--axis 'depth' gives no values"),
        (("--axis", "depht=1"), "Did you mean depth?"),
        (("--axis", "depth=1", "--cardinality", "2"), "--cardinality does not go with --family"),
        (("--axis", "depth=1", "--match", "block"), "a family can't be matched by 'block'"),
        (("--axis", "depth=1", "--budget", "wdith=3"), "Did you mean width"),
    ],
)
def test_the_command_says_what_to_change(options, message):
    done = plan("--family", "docs/examples/vgg.py:vgg", *options)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
