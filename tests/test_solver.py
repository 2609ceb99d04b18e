"""The solver: the paper's widths, brute force, and proofs by exhaustive search."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablation.budget import Budget, parse_budget
from ablation.cost import cost
from ablation.design import Design
from ablation.errors import UserError
from ablation.solver import MATCHES, MOST_BENT, bend, ladder, parse_share, solve

TABLE_2 = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}


def budget_of(base: Design, params: float = 1.0, macs: float = 1.0) -> Budget:
    price = cost(base)
    targets = {"params": round(params * price.params), "macs": round(macs * price.macs)}
    return Budget("test", base, **targets, activations=price.activations, block_params=price.block_params)


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """Budgets of small designs, some of which no width meets."""
    stages = draw(st.integers(2, 3))
    base = Design(
        blocks=tuple(draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages))),
        cardinality=1,
        widths=tuple(draw(st.integers(3, 16)) << stage for stage in range(stages)),
        outputs=tuple(16 << stage for stage in range(stages)),
        stem="cifar",
        stem_width=8,
        classes=10,
        resolution=16,
    )
    return budget_of(base, draw(st.floats(0.8, 1.3)), draw(st.floats(0.8, 1.3)))


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


@given(budgets(), st.integers(1, 12), st.sampled_from(sorted(MATCHES)))
@settings(max_examples=200, deadline=None)
def test_a_plain_width_is_the_nearest_of_all(budget, cardinality, match):
    base = replace(budget.base, cardinality=cardinality)

    def miss(width: int) -> float:
        price = cost(base.with_width(width))
        return max(abs(getattr(price, m) - getattr(budget, m)) / getattr(budget, m) for m in MATCHES[match])

    row = solve(budget, cardinality, match, tolerance=0.03)
    assert row.design.widths[0] == min(range(1, 80), key=miss)
    assert row.admissible == (miss(row.design.widths[0]) <= 0.03)


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


@given(budgets(), st.integers(1, 12), st.sampled_from([0.01, 0.03, 0.1]))
@settings(max_examples=60, deadline=None)
def test_a_tight_search_finds_what_exhaustive_search_finds(budget, cardinality, tight):
    base = replace(budget.base, cardinality=cardinality)
    widest = 16 * 1.5 + 8
    grid = np.array(list(product(*(range(1, int(widest) << i) for i in range(len(base.blocks)))))).T
    price, bends = cost(base, widths=grid), np.round(bend(grid), 9)
    errors = np.maximum(abs(price.params - budget.params) / budget.params, abs(price.macs - budget.macs) / budget.macs)
    inside = np.flatnonzero((errors <= tight) & (bends <= MOST_BENT))
    near = np.flatnonzero(bends <= MOST_BENT)
    row = solve(budget, cardinality, tight=tight)
    assert row.admissible == bool(len(inside))
    if row.admissible:
        best = min(inside, key=lambda i: (bends[i], errors[i], *grid[:, i]))
    else:
        best = min(near, key=lambda i: (errors[i], bends[i], *grid[:, i]))
    assert row.design.widths == tuple(grid[:, best])


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
