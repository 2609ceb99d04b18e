"""docs/systems.md is so: its counts are the closed forms', its ladders are what `plan` prints."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from ablation.design import design_from_name
from ablation.family import load_family
from ablation.family.count import closed_form

PAGE = (Path(__file__).parent.parent / "docs" / "systems.md").read_text()
COSTS = re.findall(
    r"^\| `(ablation\S+)` \| (.*) \| (\d+) \| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE
)
LADDERS = re.findall(r"^\$ python -m ablation.plan (.*?[^\\])\n(.*?)(?=^\$|^```)", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("row", COSTS, ids=lambda row: f"{row[0]}-{row[1]}-{row[2]}")
def test_the_counts_are_those_of_the_closed_form(row):
    name, knobs, resolution, classes, *counts = row
    image = {"channels": 3, "resolution": int(resolution), "classes": int(classes)}
    price = closed_form(load_family(name), yaml.safe_load(f"{{{knobs}}}") or {}, image)
    assert [f"{value:,}" for value in (price.params, price.macs, price.activations)] == counts


@pytest.mark.parametrize(("options", "printed"), LADDERS, ids=[options.split()[1] for options, _ in LADDERS])
def test_the_ladders_are_what_plan_prints(plan, options, printed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = plan(*shlex.split(options.replace("\\\n", " ")))
    shown = [re.sub(r"\s+", " ", re.sub("[│┃]", " ", line)).strip() for line in out.splitlines()]
    assert code == 0
    for line in printed.strip().splitlines():
        assert re.sub(r"\s+", " ", line).strip() in shown


def test_the_page_has_rows_and_ladders():
    assert len(COSTS) == 23 and len(LADDERS) == 4


def test_each_design_that_the_page_names_is_one():
    names = re.findall(r"`(?:design: )?(resne(?:x?)t\d+_\d+x\d+d\S*?)`", PAGE)
    assert len(names) > 10
    for name in names:
        assert design_from_name(name).name == name
