"""Recipes crossed with arms: whether what an arm gains depends on the recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .contrast import Contrast, Difference, judge, weighted
from .estimates import ALPHA, Estimate, estimate, pooled_sd

Cell = tuple[str, str]


@dataclass(frozen=True)
class Interaction:
    """Whether the differences between columns depend on the row. Undefined numbers are NaN."""

    p: float
    f: float
    df1: int
    df2: int
    """Degrees of freedom of the F test, below the line those of the pooled SD."""
    differences: list[Contrast]
    """Each row and column against the first: what the column gains in that row, less what it gains in the first."""
    verdict: str
    gains: list[Contrast] = field(default_factory=list)
    """Each column against the first, within each row; judged as one family."""


def interaction(groups: Mapping[Cell, ArrayLike], *, alpha: float = ALPHA, margin: float | None = None) -> Interaction:
    """Two-way F test of rows (recipes) by columns (cardinalities), from cell means and the SD pooled over all cells.

    `groups`: (row, column) -> errors over seeds, shape (n,); the row and the column named first are the baselines. The
    verdict is *interacts* or *unresolved*, with the difference of differences that these seeds resolve; those single
    ones are adjusted by Holm and say *differs*, *equivalent within ±margin* or *unresolved*. Unequal n are weighted as
    in a regression (no type of sums of squares has to be chosen: the highest term is the same in all).
    A table with fewer than two rows or columns, or a cell of fewer than two seeds, gets no test.
    """
    estimates = {cell: estimate(values) for cell, values in groups.items()}
    rows, columns = (list(dict.fromkeys(cell[side] for cell in groups)) for side in (0, 1))
    table, sd, df = [*product(rows, columns)], *pooled_sd({str(cell): arm for cell, arm in estimates.items()})
    none = _why_none(table, rows, columns, estimates, sd)
    df1 = max(0, (len(rows) - 1) * (len(columns) - 1))
    if none:
        return Interaction(math.nan, math.nan, df1, df, [], none)
    f = _f(estimates, rows, columns, sd)
    differences = judge(
        [_difference(r, c, rows[0], columns[0], estimates, (sd, df)) for r in rows[1:] for c in columns[1:]],
        alpha=alpha,
        margin=margin,
        words=("differs", "differs"),
    )
    gains = [_gain(r, c, columns[0], estimates, (sd, df)) for r in rows for c in columns[1:]]
    p = float(stats.f.sf(f, df1, df))
    resolvable = max(one.resolvable for one in differences)
    unresolved = f"unresolved (these seeds resolve a difference of differences of {resolvable:.2g})"
    return Interaction(
        p, f, df1, df, differences, "interacts" if p <= alpha else unresolved, judge(gains, alpha=alpha, margin=margin)
    )


def _why_none(
    table: list[Cell], rows: list[str], columns: list[str], estimates: Mapping[Cell, Estimate], sd: float
) -> str:
    if min(len(rows), len(columns)) < 2:
        return "fewer than two recipes or arms: no verdict"
    for cell in table:
        n = estimates[cell].n if cell in estimates else 0
        if n < 2:
            return f"{'one seed' if n else 'no finished run'} of {cell[1]} under {cell[0]}: no verdict"
    return "" if sd > 0 else "the seeds do not vary: no verdict"


def _f(estimates: Mapping[Cell, Estimate], rows: list[str], columns: list[str], sd: float) -> float:
    """F of all differences of differences at once."""
    cells = [estimates[cell] for cell in product(rows, columns)]
    steps = [np.hstack([-np.ones((k - 1, 1)), np.eye(k - 1)]) for k in (len(rows), len(columns))]
    every = np.kron(*steps)
    apart = every @ np.array([cell.mean for cell in cells])
    spread = every @ np.diag([1 / cell.n for cell in cells]) @ every.T
    return float(apart @ np.linalg.solve(spread, apart)) / len(apart) / sd**2


def _difference(
    row: str, column: str, row0: str, column0: str, estimates: Mapping[Cell, Estimate], pooled: tuple[float, int]
) -> Difference:
    weights = {(row, column): 1.0, (row, column0): -1.0, (row0, column): -1.0, (row0, column0): 1.0}
    named = {" under ".join((c, r)): (weight, estimates[r, c]) for (r, c), weight in weights.items()}
    names = (f"{column} less {column0} under {row}", f"{column} less {column0} under {row0}")
    arms = {name: arm for name, (_, arm) in named.items()}
    return weighted(names, {name: weight for name, (weight, _) in named.items()}, arms, pooled)


def _gain(
    row: str, column: str, column0: str, estimates: Mapping[Cell, Estimate], pooled: tuple[float, int]
) -> Difference:
    arms = {f"{c} under {row}": estimates[row, c] for c in (column, column0)}
    a, b = arms
    return weighted((a, b), {a: 1.0, b: -1.0}, arms, pooled)
