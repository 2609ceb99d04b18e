"""The solver: the paper's widths, brute force, and proofs by exhaustive search."""

import ast
import re
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablation.budget import Budget, parse_budget
from ablation.cost import cost
from ablation.design import Design
from ablation.errors import UserError
from ablation.solver import MATCHES, MOST_BENT, bend, ladder, parse_share, solve

DOCS = Path(__file__).parent.parent / "docs"
TABLE_2 = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}


def budget_of(base: Design, params: float = 1.0, macs: float = 1.0, others: float = 1.0) -> Budget:
    price = cost(base)
    targets = {"params": round(params * price.params), "macs": round(macs * price.macs)}
    rest = {name: max(1, round(others * getattr(price, name))) for name in ("activations", "block_params")}
    return Budget("test", base, **targets, **rest)


@st.composite
def budgets(draw: st.DrawFn, stages: tuple[int, ...] = (2, 3), low: int = 3, high: int = 16) -> Budget:
    """Budgets of small designs, some of which no width meets; the first stage's d is between `low` and `high`."""
    count = draw(st.sampled_from(stages))
    base = Design(
        blocks=tuple(draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))),
        cardinality=1,
        widths=tuple(draw(st.integers(low, high)) << stage for stage in range(count)),
        outputs=tuple(16 << stage for stage in range(count)),
        stem="cifar",
        stem_width=8,
        classes=10,
        resolution=16,
    )
    return budget_of(base, *(draw(st.floats(0.8, 1.3)) for _ in range(3)))


@pytest.mark.parametrize("budget", ["resnet50", "resnet101"])
@pytest.mark.parametrize("match", ["block", "params"])
def test_two_rules_give_the_paper_s_widths(budget, match):
    rows = ladder(parse_budget(budget), TABLE_2, match=match)
    assert [row.design.widths[0] for row in rows] == list(TABLE_2.values())
    assert all(row.admissible and row.bend == 0 for row in rows)


@pytest.mark.parametrize(("budget", "d"), [("resnet50", {8: 13, 16: 7}), ("resnet101", {8: 14, 16: 7})])
def test_matching_macs_gives_other_widths(budget, d):
    assert {c: solve(parse_budget(budget), c, "macs").design.widths[0] for c in d} == d


def test_16_paths_have_no_admissible_width():
    row = solve(parse_budget("resnet50"), 16)
    assert (row.design.widths[0], row.admissible) == (8, False)
    assert row.block_error == pytest.approx(0.0735, abs=1e-4)
    assert solve(parse_budget("resnet50"), 48).block_error == pytest.approx(0.115, abs=1e-3)


def test_91_of_128_cardinalities_miss_by_more_than_5_percent():
    rows = ladder(parse_budget("resnet50"), range(1, 129))
    assert sum(not row.admissible for row in rows) == 91


@pytest.mark.parametrize("match", sorted(MATCHES))
@given(budgets((2, 3, 4)), st.integers(1, 12), st.sampled_from([1, 1, 2, 3, 8]))
@settings(max_examples=200, deadline=None)
def test_a_plain_width_is_the_nearest_of_all(match, budget, cardinality, multiple):
    base, stages = replace(budget.base, cardinality=cardinality), len(budget.base.blocks)
    all_widths = multiple * np.arange(1, 80)
    price = cost(base, widths=[all_widths << stage for stage in range(stages)])
    misses = [abs(getattr(price, m) - getattr(budget, m)) / getattr(budget, m) for m in MATCHES[match]]
    miss = np.max(misses, axis=0)
    row = solve(budget, cardinality, match, tolerance=0.03, multiple=multiple)
    best = miss.argmin()  # of equals the first, which is the smallest
    assert row.design == base.with_width(int(all_widths[best]))
    assert row.admissible == (miss[best] <= 0.03)


@pytest.mark.parametrize(
    ("tight", "cardinality", "widths", "bent"),
    [
        (0.01, 16, (7, 14, 30, 62), 0.064),
        (0.01, 32, (4, 7, 16, 33), 0.092),
        (0.005, 16, (7, 14, 29, 64), 0.079),
        (0.005, 1, (64, 128, 256, 512), 0.0),
    ],
)
def test_the_least_bent_ladders_that_are_known(tight, cardinality, widths, bent):
    row = solve(parse_budget("resnet50"), cardinality, tight=tight)
    assert row.admissible
    assert row.design.widths == widths
    assert row.bend == pytest.approx(bent, abs=5e-4)


def test_the_demo_s_ladder_has_five_cardinalities():
    rows = ladder(parse_budget("fashion"), [1, 2, 3, 4, 6], tight=0.05)
    assert all(row.admissible for row in rows)
    assert [row.design.widths for row in rows] == [(8, 16, 32), (5, 10, 20), (4, 7, 15), (3, 6, 12), (2, 4, 9)]


@cache
def all_widths(stages: int, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Every choice of stage widths below `least`, doubled from stage to stage; and their bends."""
    grid = np.stack(np.meshgrid(*(np.arange(1, least << i) for i in range(stages)), indexing="ij")).reshape(stages, -1)
    bends = np.round(bend(grid), 9)
    near = bends <= MOST_BENT
    return grid[:, near], bends[near]


def check_against_all(budget: Budget, cardinality: int, tight: float, multiple: int, least: int) -> None:
    """A tight row is the least-bent of all widths that are inside; where none is, the nearest."""
    base = replace(budget.base, cardinality=cardinality)
    grid, bends = all_widths(len(base.blocks), least)
    price = cost(base, widths=multiple * grid)
    errors = np.maximum(abs(price.params - budget.params) / budget.params, abs(price.macs - budget.macs) / budget.macs)
    inside = np.flatnonzero(errors <= tight)
    row = solve(budget, cardinality, tight=tight, multiple=multiple)
    assert row.admissible == bool(len(inside))
    if len(inside):
        best = inside[np.lexsort((*grid[::-1, inside], errors[inside], bends[inside]))[0]]
    else:
        best = np.lexsort((*grid[::-1], bends, errors))[0]
    if max(abs(row.params_error), abs(row.macs_error)) > 4:  # nothing is near: one d stands for all, unbent
        assert row.bend == 0 and row.design.widths[0] == multiple
    else:
        assert row.design.widths == tuple(multiple * grid[:, best])


limits, multiples = st.sampled_from([0.01, 0.03, 0.1]), st.sampled_from([1, 1, 2, 3])


@given(budgets(), st.integers(1, 12), limits, multiples)
@settings(max_examples=200, deadline=None)
def test_a_tight_search_finds_what_exhaustive_search_finds(budget, cardinality, tight, multiple):
    check_against_all(budget, cardinality, tight, multiple, least=32)


@given(budgets((4,), low=1, high=4), st.integers(1, 4), limits, multiples)
@settings(max_examples=200, deadline=None)
def test_a_tight_search_of_four_stages_does_too(budget, cardinality, tight, multiple):
    check_against_all(budget, cardinality, tight, multiple, least=10)


def test_a_tight_search_of_four_stages_is_proved_too():
    budget = parse_budget("resnet50")
    base = replace(budget.base, cardinality=32)
    grid = np.array(list(product(range(1, 9), range(1, 17), range(1, 33), range(1, 65)))).T
    price, bends = cost(base, widths=grid), bend(grid)
    errors = np.maximum(abs(price.params - budget.params) / budget.params, abs(price.macs - budget.macs) / budget.macs)
    least = bends[errors <= 0.01].min()
    assert solve(budget, 32, tight=0.01).bend == pytest.approx(least)


def test_a_tight_row_out_of_reach_is_the_nearest_not_an_error():
    for row in ladder(parse_budget("0.01*resnet50"), [1, 10**6], tight=0.01):
        assert not row.admissible
        assert row.design.widths == (1, 2, 4, 8)


def test_one_stage_has_nothing_to_bend():
    base = Design(blocks=(2,), cardinality=1, widths=(9,), outputs=(32,), stem="cifar", classes=10, resolution=8)
    assert solve(budget_of(base), 1, tight=0.01).design.widths == (9,)


def test_no_block_to_compare_with_gives_no_block_error():
    row = solve(parse_budget("2*resnet101"), 2)
    assert row.block_error is None
    assert row.admissible


def test_bend_ignores_the_width_itself():
    assert bend((3, 6, 12)) == pytest.approx(0)
    assert bend((4, 8, 32)) == pytest.approx(np.std([0, 0, 1]))
    assert bend(np.array([[3, 4], [6, 8], [12, 32]])) == pytest.approx([0, np.std([0, 0, 1])])


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.05", 0.05), (" 0.5 % ", 0.005), ("1e-2", 0.01)])
def test_a_share_is_read_in_both_spellings(text, share):
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["500%", "5", "0", "-1%", "100%", "five", "", "%", "nan", "inf"])
def test_a_share_that_makes_no_sense_is_a_plain_error(text):
    with pytest.raises(UserError, match="tolerance"):
        parse_share(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cardinality": 0}, "at least 1; got 0"),
        ({"cardinality": -4}, "at least 1"),
        ({"cardinality": 2.5}, "whole number"),
        ({"match": "blocks"}, "unknown match rule 'blocks'"),
        ({"tolerance": 5.0}, "tolerance 5.0 must be above 0 and below 100%"),
        ({"tight": 0.0}, "tight 0.0 must be"),
        ({"tight": 0.01, "match": "macs"}, "does not go with it"),
    ],
)
def test_bad_input_is_a_plain_error(options, said):
    with pytest.raises(UserError, match=said):
        solve(parse_budget("resnet50"), **{"cardinality": 2, **options})


def test_a_multiple_has_no_block_to_match():
    with pytest.raises(UserError, match="no block to match"):
        solve(parse_budget("2*resnet50"), 2, "block")


def test_what_the_page_about_the_solver_shows_is_so():
    """Its Python runs; what stands behind an expression as a comment is its value; its last figure is its picture."""
    page = (DOCS / "solver.md").read_text()
    space: dict[str, object] = {}
    shown = 0
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, space)
        for expression, values in re.findall(r"^(row\..*?)  # (\(.*\))$", block, re.MULTILINE):
            said = ast.literal_eval(values)
            exec(block[: block.index(expression)], space)
            found = eval(expression, space)
            assert len(found) == len(said)
            for own, other in zip(found, said, strict=True):
                assert own == (pytest.approx(other, abs=5e-4) if isinstance(other, float) else other)
            shown += 1
    assert shown == 3 and space["svg"] == (DOCS / "ladder_resnet50.svg").read_text()
