"""Ladders along every axis, against brute force; what stands beside them; what is refused."""

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablation.budget import Budget, parse_budget, scaled
from ablation.cost import cost
from ablation.design import Design
from ablation.errors import UserError
from ablation.solver import MATCHES, Rule, change, check_axes, errors, prove, solve, solve_ladder, spread

AXIS = {axis: frozenset({axis}) for axis in ("cardinality", "width", "depth", "groups")}


def small(blocks: tuple[int, ...], params: float, macs: float) -> Budget:
    """A budget near a small design that no design need meet."""
    stages = len(blocks)
    base = Design(
        blocks=blocks,
        cardinality=2,
        widths=tuple(4 << stage for stage in range(stages)),
        outputs=tuple(16 << stage for stage in range(stages)),
        stem="cifar",
        stem_width=8,
        classes=10,
        resolution=16,
    )
    price = cost(base)
    return Budget("small", base, round(params * price.params), round(macs * price.macs), price.activations, None)


budgets = st.builds(
    small, st.lists(st.integers(1, 3), min_size=2, max_size=3).map(tuple), st.floats(0.7, 2.5), st.floats(0.7, 2.5)
)


share = st.floats(0.5, 1.2)  # so that the grids of three and four stages hold every split
MOST = {2: (150, 150), 3: (30, 30, 30), 4: (80, 30, 14, 8)}
"""Blocks of each stage below which every split is tried, by the number of stages."""
cheaper = st.one_of(
    st.builds(small, st.tuples(st.integers(1, 3), st.integers(1, 3)), st.floats(0.7, 2.5), st.floats(0.7, 2.5)),
    st.builds(small, st.just((1, 2, 1)), share, share),
)
four = st.builds(small, st.sampled_from([(1, 1, 1, 1), (1, 2, 1, 1), (2, 1, 2, 1)]), share, share)


@given(budgets, st.integers(1, 20), st.sampled_from(sorted(set(MATCHES) - {"block"})))
@settings(max_examples=200, deadline=None)
def test_along_groups_the_cardinality_is_the_nearest_of_all(budget, width, match):
    def miss(c: int) -> float:
        price = cost(replace(budget.base, cardinality=c).with_width(width))
        return max(map(abs, errors(budget, price, MATCHES[match])))

    (row,) = solve_ladder(budget, "groups", widths=[width], match=match)
    assert row.design.cardinality == min(range(1, 200), key=miss)


@cache
def all_blocks(stages: int) -> np.ndarray:
    return np.stack(np.meshgrid(*(np.arange(1, most) for most in MOST[stages]), indexing="ij")).reshape(stages, -1)


def check_splits(budget: Budget, tolerance: float, match: str) -> None:
    """The blocks and the runners-up are the least changed of all that are inside; where none is, the nearest."""
    base, grid = budget.base, all_blocks(len(budget.base.blocks))
    miss = np.max(np.abs(errors(budget, cost(base, blocks=grid), MATCHES[match])), axis=0)
    inside = np.flatnonzero(miss <= tolerance)
    (row,) = solve_ladder(budget, "depth", match=match, tolerance=tolerance)
    assert row.admissible == bool(len(inside))
    if len(inside):
        moved = np.round(change(grid[:, inside], base.blocks), 9)
        best = inside[np.lexsort((*grid[::-1, inside], miss[inside], moved))[:4]]
        found = [row.design.blocks, *(other.blocks for other in row.runners_up)]
        assert found == [tuple(grid[:, i]) for i in best]
    else:
        assert max(map(abs, errors(budget, row.cost, MATCHES[match]))) == pytest.approx(miss.min())


WITHIN = st.sampled_from([0.02, 0.05, 0.2])
RULES = st.sampled_from(sorted(set(MATCHES) - {"block"}))


@given(cheaper, WITHIN, RULES)
@settings(max_examples=200, deadline=None)
def test_along_depth_the_blocks_are_the_best_of_all(budget, tolerance, match):
    check_splits(budget, tolerance, match)


@given(four, WITHIN, RULES)
@settings(max_examples=200, deadline=None)
def test_along_depth_four_stages_are_the_best_of_all(budget, tolerance, match):
    check_splits(budget, tolerance, match)


def test_along_width_each_scale_has_its_d():
    rows = solve_ladder("resnet50", "width", scales=[0.5, 1, 2])
    assert [row.design.cardinality for row in rows] == [1, 1, 1]
    assert rows[1].design.widths[0] == 64
    assert rows[0].design.widths[0] < 64 < rows[2].design.widths[0]
    assert [row.budget.macs for row in rows] == [round(scale * 4_089_184_256) for scale in (0.5, 1, 2)]


def test_table_4_is_three_ladders():
    (deeper,) = solve_ladder("2*resnet101", "depth")
    (wider,) = solve_ladder("2*resnet101", "width")
    more = solve_ladder("2*resnet101", "groups", widths=[4, 64])
    assert (deeper.design.blocks, deeper.cost.macs) == ((6, 8, 46, 6), 15_007_481_856)
    assert wider.design.shape == "1x102d"
    assert [row.design.shape for row in more] == ["66x4d", "2x64d"]


def test_a_grid_has_a_row_for_each_pair_and_meets_its_budget():
    rows = solve_ladder("resnet50", ["depth", "cardinality"], scales=[0.5, 1], cardinalities=[1, 2])
    assert [row.design.cardinality for row in rows] == [1, 2, 1, 2]
    assert rows[0].design.blocks == rows[1].design.blocks != (3, 4, 6, 3)
    assert rows[2].design.blocks == (3, 4, 6, 3)
    assert all(abs(row.macs_error) < 0.1 and row.budget.macs == 4_089_184_256 for row in rows)


@pytest.mark.parametrize("tight", [None, 0.01])
def test_widths_are_multiples_where_that_is_asked(tight):
    row = solve("resnet50", 2, tight=tight, multiple=8)
    assert all(width % 8 == 0 for width in row.design.widths)


def test_tight_multiples_equal_exhaustive_search():
    budget = replace(small((1, 2), 1.1, 1.2), activations=None)
    grid = np.array(list(product(range(2, 100, 2), range(2, 200, 2)))).T
    price = cost(budget.base, widths=grid)
    miss = np.max(np.abs(errors(budget, price, MATCHES["both"])), axis=0)
    bent = np.round(change(grid, (1, 2)), 9)
    inside = [i for i in range(grid.shape[1]) if miss[i] <= 0.2 and bent[i] <= 0.25]
    best = min(inside, key=lambda i: (bent[i], miss[i]))
    assert solve(budget, 2, tight=0.2, multiple=2).design.widths == tuple(grid[:, best])


@pytest.mark.parametrize(
    ("budget", "first", "tight", "misses"),
    [
        ("resnet50", 1, 0.01, {57, 60, 62, 63}),
        ("resnet101", 1, 0.01, {62}),
        ("resnext29_8x64d", 2, 0.01, set()),
        ("resnext29_8x64d", 2, 0.005, set()),
    ],
)
def test_tight_ladders_to_64_paths(budget, first, tight, misses):
    rows = [solve(budget, c, tight=tight) for c in range(first, 65)]
    assert {row.design.cardinality for row in rows if not row.admissible} == misses
    assert all(max(abs(row.params_error), abs(row.macs_error)) <= tight for row in rows if row.admissible)


def test_the_proof_holds_the_next_d_on_either_side_and_other_picks():
    row = solve("resnet50", 8)
    proof = prove(Rule.of(row.budget), row, AXIS["cardinality"])
    assert [pick.design.widths[0] for pick in proof.neighbours] == [13, 15]
    assert proof.rules["macs"].design.widths[0] == 13
    assert abs(proof.rules["macs"].errors["macs"]) < abs(proof.errors["macs"])


def test_a_ladder_spreads_in_what_was_not_matched():
    apart = spread(solve_ladder("resnet50", cardinalities=[1, 2, 4, 8, 32]), 32)
    assert apart["activations"] == pytest.approx(0.296, abs=1e-3)
    assert apart["params"] < 0.03


def test_a_scaled_budget_has_a_name_that_reads_back():
    for text in ("resnet50", "2*resnet101", "params=25M", "resnet18,base=resnet50"):
        half = scaled(parse_budget(text), 0.5)
        assert parse_budget(half.name).params == half.params


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"axis": "colour"}, "unknown axis 'colour'"),
        ({"axis": ["groups", "width"]}, "make no grid"),
        ({"axis": ["width", "width"]}, "two different ones"),
        ({"scales": [2]}, "a scale goes with"),
        ({"axis": "width", "scales": [-1]}, "scale must be above 0"),
        ({"axis": "width", "widths": [4]}, "d is solved for"),
        ({"axis": "groups", "cardinalities": [4]}, "C is solved for"),
        ({"axis": "groups", "widths": [0]}, "width must be a whole number"),
        ({"axis": "depth", "match": "block"}, "match 'block' compares one block"),
        ({"axis": "depth", "tight": 0.01}, "Leave out --tight"),
        ({"multiple": 0}, "multiple must be a whole number"),
        ({"batch": -1}, "batch must be a whole number"),
        ({"budget": "params=25M", "match": "memory"}, "needs params and activations"),
        ({"budget": "params=25M", "match": "both"}, "needs macs"),
    ],
)
def test_bad_input_is_a_plain_error(options, said):
    with pytest.raises(UserError) as error:
        solve_ladder(**{"budget": "resnet50", **options})
    assert said in str(error.value)


def test_one_axis_or_two():
    assert check_axes(["depth", "groups"]) == {"depth", "groups"}
