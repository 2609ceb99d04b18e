"""Spaces of designs: counted, fronted and sampled as brute force does."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ablation.budget import parse_budget
from ablation.command import run
from ablation.cost import cost
from ablation.design import design_from_name
from ablation.errors import UserError
from ablation.plan.__main__ import SEVERAL, main
from ablation.plan.parquet import names
from ablation.plan.space import parse_range
from ablation.space import MEASURES, Sample, Space, front, survey

TOLERANCE = 0.1


@pytest.fixture
def space():
    spans = (range(1, 3), range(1, 4), range(1, 3))
    return Space(parse_budget("fashion"), spans, (1, 2, 3, 5), range(1, 15), TOLERANCE)


def brute(space):
    """Every design inside, one by one: (blocks, C, d, costs)."""
    found = []
    for *blocks, paths, width in itertools.product(*space.blocks, space.cardinalities, space.widths):
        design = replace(space.budget.base, blocks=tuple(blocks), cardinality=paths).with_width(width)
        price = cost(design)
        inside = [abs(getattr(price, m) / getattr(space.budget, m) - 1) <= space.tolerance for m in ("params", "macs")]
        if all(inside):
            found.append((tuple(blocks), paths, width, *(getattr(price, m) for m in MEASURES)))
    return found


def rows(chunk):
    columns = (chunk.cardinality, chunk.width, *(getattr(chunk, m) for m in MEASURES))
    return list(zip(map(tuple, chunk.blocks.T.tolist()), *(column.tolist() for column in columns), strict=True))


@pytest.mark.parametrize("at_once", [1, 7, 100, 10**6])
def test_a_space_holds_what_brute_force_finds_however_it_is_cut(space, at_once):
    found = []
    told = survey(space, each=lambda chunk, mask: found.extend(rows(chunk.take(mask))), at_once=at_once)
    assert found == brute(space)
    assert (told.size, told.inside) == (2 * 3 * 2 * 4 * 14, len(found))


def test_the_front_is_what_nothing_beats(space):
    designs = brute(space)
    costs = {row[3:] for row in designs}

    def beaten(row):
        return any(other != row[3:] and all(a <= b for a, b in zip(other, row[3:], strict=True)) for other in costs)

    told = survey(space, at_once=50)
    assert {row[3:] for row in rows(told.front)} == {row[3:] for row in designs if not beaten(row)}
    assert set(rows(told.front)) <= set(designs)


def test_a_front_of_random_costs():
    random = np.random.default_rng(0)
    space = Space(parse_budget("resnet50"), (range(1, 9),) * 4, (1,), range(1, 2), 0.5)
    chunk = space.chunk(0, 300)
    chunk = replace(chunk, **{measure: random.integers(0, 20, 300) for measure in MEASURES})
    costs = np.stack([getattr(chunk, measure) for measure in MEASURES], 1)
    beaten = [((costs <= own).all(1) & (costs < own).any(1)).any() for own in costs]
    best = front(chunk)
    found = {tuple(row) for row in np.stack([getattr(best, measure) for measure in MEASURES], 1)}
    assert found == {tuple(own) for own, worse in zip(costs, beaten, strict=True) if not worse}


def draw(space, count, seed, at_once=64):
    return sorted(rows(survey(space, Sample(count, seed), at_once=at_once).sample))


def test_equal_seeds_draw_equal_samples_and_unequal_ones_differ(space):
    assert draw(space, 10, 3) == draw(space, 10, 3, at_once=5)
    assert draw(space, 10, 3) != draw(space, 10, 4)
    drawn = draw(space, 10, 3)
    assert len(set(drawn)) == 10 and set(drawn) <= set(brute(space))


def test_samples_are_even(space):
    designs = brute(space)
    counts = dict.fromkeys(designs, 0)
    for seed in range(400):
        for row in draw(space, 5, seed, at_once=10**6):
            counts[row] += 1
    expected = 400 * 5 / len(designs)
    spread = sum((count - expected) ** 2 / expected for count in counts.values())
    assert spread < len(designs) + 5 * (2 * len(designs)) ** 0.5  # chi-square, five of its deviations


def plan(monkeypatch, capsys, *options):
    monkeypatch.setattr(sys, "argv", ["plan", *options])
    with pytest.raises(SystemExit) as exit:
        run(main, several=SEVERAL)
    return exit.value.code or 0, capsys.readouterr()


BARE = ("--space", "--budget", "fashion")
SMALL = (*BARE, "--blocks", "1-2", "--cardinality", "1", "2", "3", "--widths", "1-12")


def test_the_command_counts_writes_and_draws(monkeypatch, capsys, tmp_path):
    out, figure = tmp_path / "space.parquet", tmp_path / "space.svg"
    more = ("--json", "--sample", "3", "--tolerance", "10%", "--out", str(out), "--figure", str(figure))
    code, printed = plan(monkeypatch, capsys, *SMALL, *more)
    answer = json.loads(printed.out)
    assert code == 0 and answer["space"]["size"] == 2**3 * 3 * 12
    table = pq.read_table(out).to_pylist()
    assert len(table) == answer["space"]["inside"] > 3
    base = design_from_name("resnet11_1x8d")
    for row in table:
        design = replace(base, blocks=tuple(row["blocks"]), cardinality=row["cardinality"]).with_width(row["width"])
        price = cost(design)
        assert row["inside"] and row["name"] == design.name
        assert [row[measure] for measure in MEASURES] == [getattr(price, measure) for measure in MEASURES]
        assert abs(row["macs_error"]) <= 0.1 and abs(row["params_error"]) <= 0.1
    assert len(answer["designs"]) == 3 and all(design["admissible"] for design in answer["designs"])
    assert figure.read_text().startswith("<?xml")


def test_all_designs_are_written_where_that_is_asked(monkeypatch, capsys, tmp_path):
    out = tmp_path / "space.parquet"
    code, printed = plan(monkeypatch, capsys, *SMALL, "--json", "--all", "--out", str(out))
    counts, table = json.loads(printed.out)["space"], pq.read_table(out).to_pylist()
    assert code == 0 and len(table) == counts["size"] == 2**3 * 3 * 12
    inside = [abs(row["params_error"]) <= 0.05 and abs(row["macs_error"]) <= 0.05 for row in table]
    assert [row["inside"] for row in table] == inside and sum(inside) == counts["inside"] > 0
    assert len({row["name"] for row in table}) == len(table)


@pytest.mark.parametrize(
    "name", ["resnext29_8x64d", "resnet50_1x64d_form-b", "resnext11_4x3d_form-a_shortcut-none", "resnext101_2x40d"]
)
def test_names_are_the_designs_own(name):
    budget = parse_budget(name)
    spans = tuple(range(max(1, count - 1), count + 2) for count in budget.base.blocks)
    space = Space(budget, spans, (1, 2, 32), range(1, 30, 7), TOLERANCE)
    chunk = space.chunk(0, space.size)
    assert names(budget.base, chunk).to_pylist() == [design.name for design in chunk.designs(budget.base)]
    assert names(budget.base, space.chunk(0, 0)).to_pylist() == []


def test_a_budget_of_parameters_alone_bounds_parameters_alone(monkeypatch, capsys, tmp_path):
    out, figure = tmp_path / "space.parquet", tmp_path / "space.svg"
    given = ("--space", "--budget", "params=34K,base=fashion", *SMALL[3:], "--out", str(out), "--figure", str(figure))
    code, printed = plan(monkeypatch, capsys, *given)
    table = pq.read_table(out).to_pylist()
    assert code == 0 and "of the budget params=34K,base=fashion in parameters (" in printed.out
    assert {row["macs_error"] for row in table} == {None} and all(abs(row["params_error"]) <= 0.05 for row in table)
    assert max(row["macs"] for row in table) > 1.3 * min(row["macs"] for row in table)
    assert figure.exists()


def test_the_front_is_said_to_lie_at_the_lower_edge(monkeypatch, capsys):
    assert "front lies at the tolerance's lower edge" in plan(monkeypatch, capsys, *SMALL)[1].out


def test_an_empty_space_says_what_to_widen(monkeypatch, capsys, tmp_path):
    code, printed = plan(monkeypatch, capsys, *BARE, "--widths", "90-91", "--figure", str(tmp_path / "empty.svg"))
    assert code == 0 and "Nothing is inside: widen" in printed.out and (tmp_path / "empty.svg").exists()


@pytest.mark.parametrize(
    "refused", [("--sample", "100000"), ("--figure", "/dev/null/x.svg"), ("--widths", "1-1000", "--blocks", "1-1000")]
)
def test_nothing_is_left_of_what_is_refused(monkeypatch, capsys, tmp_path, refused):
    code, _ = plan(monkeypatch, capsys, *BARE, "--out", str(tmp_path / "new" / "folder" / "space.parquet"), *refused)
    assert code == 2 and not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path):
    """Files of 20 kB at most stand for it."""
    options = "--space --widths 1-8 --blocks 1-4 --all --out new/x.parquet"
    line = f"ulimit -f 20; {sys.executable} -m ablation.plan {options} --sample 1"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(
        "error: new/x.parquet: can't be written: "
    )
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_there_stays_as_it_was(monkeypatch, capsys, tmp_path):
    out = tmp_path / "space.parquet"
    out.write_text("older")
    plan(monkeypatch, capsys, *BARE, "--out", str(out), "--sample", "100000")
    assert out.read_text() == "older"


def test_a_sample_becomes_arms_of_a_sweep(monkeypatch, capsys, tmp_path):
    from ablation.sweep import load_sweep

    path = tmp_path / "population.yaml"
    code, printed = plan(monkeypatch, capsys, *SMALL, "--tolerance", "10%", "--sample", "3", "--write", str(path))
    assert code == 0, printed.err
    assert len(load_sweep(path).panels[0].arms) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--blocks", "1-1000", "--widths", "1-1000"), "the space has 7e+12 designs"),
        (("--blocks", "1-100000", "--widths", "1-1000"), "designs: at the speed of this machine"),
        (("--widths", f"1-{10**12}"), "more than 64-bit integers count"),
        (("--cardinality", "1", f"{10**16}"), "more than 64-bit integers count"),
        (("--tight", "1%", "--width", "4"), "--width, --tight can't go with --space"),
        (("--out", "/dev/null/x.parquet"), "can't be written"),
        (("--figure", "/dev/null/x.svg"), "can't be written"),
        (("--blocks", "3-1"), "must begin at 1 or above"),
        (("--blocks", "few"), "is not a range"),
        (("--blocks", "1-2", "1-2"), "2 ranges of blocks for 3 stages"),
        (("--widths", "0-4"), "must begin at 1 or above"),
        (("--cardinality", "0"), "whole numbers of at least 1"),
        (("--sample", "100000"), "100,000 can't be drawn"),
        (("--times", "times.json"), "--times can't go with --space"),
        (("--widths", ""), "is not a range"),
        (("--all",), "Add --out"),
        (("--seed", "3"), "Add --sample N"),
        (("--write", "x.yaml"), "--write takes the designs that are drawn"),
        (("--verify",), "--verify takes the designs that are drawn"),
        (("--out", "/tmp"), "can't be written: Is a directory"),
        (("--out", "/tmp/x", "--figure", "/tmp/x"), "name one file"),
    ],
)
def test_mistakes_are_plain(monkeypatch, capsys, options, message):
    code, printed = plan(monkeypatch, capsys, *BARE, *options)
    assert code == 2 and message in printed.err


def test_options_of_a_space_need_a_space(monkeypatch, capsys):
    code, printed = plan(monkeypatch, capsys, "--widths", "1-4")
    assert code == 2 and "Add --space" in printed.err


def test_a_range_holds_its_ends():
    assert list(parse_range("2-4", "--x")) == [2, 3, 4] and list(parse_range("7", "--x")) == [7]
    with pytest.raises(UserError):
        parse_range("", "--x")
