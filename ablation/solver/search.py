"""The least-bent whole numbers, one a stage, inside limits on costs: a search that proves what it finds.

The numbers are stage widths, bent from doubling, or blocks, bent from the base's. Costs are sums over stages, so stages
are chosen one after another, all designs at once in NumPy arrays; those that can't end inside the limits, or not
within the bound on the bend, are dropped on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablation.cost import cost
from ablation.design import Design
from ablation.errors import UserError
from ablation.solver.rule import amount

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
WIDEST = 1 << 20
"""Beyond this a search would need tables that no network needs."""


class Measure(NamedTuple):
    """What the search knows of one measure: a sum over stages that has to come near what is wanted."""

    stages: list[Integers]
    """For each stage, its cost at 0, 1, 2 ... (times `multiple`), increasing, up to more than the upper limit."""
    wanted: int
    """The budget less the stem, the classifier and the shortcuts, which don't vary."""
    slack: int
    """How far from `wanted` is still inside the tolerance."""
    budget: int

    @classmethod
    def of(
        cls,
        name: str,
        base: Design,
        budget: int,
        tolerance: float,
        field: str = "widths",
        multiple: int = 1,
        batch: int = 1,
    ) -> Measure:
        """The measure `name` for designs that differ from `base` in `field` (widths or blocks).

        In integers, so that these limits and a solution's `admissible` agree to the last unit.
        """
        nothing: list[Any] = [0] * len(base.blocks)
        fixed = amount(cost(base, **{field: nothing}), name, batch)
        slack = math.floor(budget * tolerance)
        slack += ((slack + 1) / budget <= tolerance) - (slack / budget > tolerance)

        def stage_cost(stage: int, number: Any) -> Any:
            values = [*nothing[:stage], multiple * number, *nothing[stage + 1 :]]
            return amount(cost(base, **{field: values}), name, batch) - fixed

        def table(stage: int) -> Integers:
            widest = 64
            while stage_cost(stage, widest) <= budget + slack - fixed:
                widest *= 2
                if widest > WIDEST:
                    raise UserError(
                        f"a budget of {budget:,} {name} is too large to search",
                        remedy="Solve for one d, without tight.",
                    )
            return stage_cost(stage, np.arange(widest + 1, dtype=np.int64))

        return cls([table(stage) for stage in range(len(nothing))], budget - fixed, slack, budget)


class _Partial(NamedTuple):
    """Many designs at once whose first stages are chosen; arrays of one length."""

    widths: list[Integers]
    spent: list[Integers]
    """Of each measure, by the chosen stages."""
    mean: Floats
    """Of log2(d_i / shape_i) over the chosen stages."""
    squares: Floats
    """The sum of squares about that mean; it only grows with further stages."""

    def take(self, rows: Integers) -> _Partial:
        """Those designs, in that order."""
        return _Partial(
            [width[rows] for width in self.widths],
            [spent[rows] for spent in self.spent],
            self.mean[rows],
            self.squares[rows],
        )


def search(
    measures: list[Measure], bound: float, nearest: bool, shape: Sequence[int] | None = None
) -> tuple[int, ...] | None:
    """Numbers for two or more stages, inside the measures' limits and within `bound` on the bend from `shape`.

    Of these the least-bent, or with `nearest` those of the least error; None where there are none. `shape` is what
    is not bent at all: 1, 2, 4 ... by default.
    """
    space = _Space(measures, bound, _logs(measures, shape))
    partial = space.prune(space.begin())
    for _ in range(space.stages - 2):
        partial = space.prune(space.extend(partial))
    found = space.best(space.finish(partial, nearest), nearest, 1)
    return found[0] if found else None


def all_inside(
    measures: list[Measure], bound: float, shape: Sequence[int], most: int
) -> tuple[int, list[tuple[int, ...]]]:
    """How many there are inside the limits and within `bound`, and the `most` least-bent, least first."""
    space = _Space(measures, bound, _logs(measures, shape))
    partial = space.prune(space.begin())
    for _ in range(space.stages - 1):
        partial = space.prune(space.extend(partial))
    return len(partial.mean), space.best(partial, False, most)


def _logs(measures: list[Measure], shape: Sequence[int] | None) -> list[float]:
    stages = range(len(measures[0].stages))
    return [math.log2(shape[stage]) if shape else float(stage) for stage in stages]


class _Space(NamedTuple):
    """The designs to search: what they may cost, how far they may bend, from what."""

    measures: list[Measure]
    bound: float
    logs: list[float]
    """log2 of the shape that is not bent."""

    @property
    def stages(self) -> int:
        return len(self.measures[0].stages)

    def begin(self) -> _Partial:
        """Every width of the first stage."""
        first = np.arange(1, self._widths(0), dtype=np.int64)
        spent = [measure.stages[0][first] for measure in self.measures]
        return _Partial([first], spent, np.log2(first) - self.logs[0], np.zeros(len(first)))

    def _widths(self, stage: int) -> int:
        return min(len(measure.stages[stage]) for measure in self.measures)

    def window(self, partial: _Partial, stage: int) -> tuple[Integers, Integers]:
        """The least and the largest width of `stage` with which the bend can stay within the bound.

        A value x next to k values about their mean m adds (x - m)²·k/(k + 1) to their sum of squares, and the
        sum over all stages may reach stages·bound².
        """
        chosen = len(partial.widths)
        left = np.maximum(self.stages * self.bound**2 - partial.squares, 0) * (chosen + 1) / chosen
        reach = np.sqrt(left) + 1e-9
        middle = partial.mean + self.logs[stage]
        low, high = np.exp2(middle - reach), np.exp2(middle + reach)
        return np.maximum(np.ceil(low), 1).astype(np.int64), np.floor(high).astype(np.int64)

    def prune(self, partial: _Partial) -> _Partial:
        """Without those that can't end inside the limits, whatever the other stages' widths."""
        windows = {stage: self.window(partial, stage) for stage in range(len(partial.widths), self.stages)}
        keep = np.ones(len(partial.mean), bool)
        for spent, measure in zip(partial.spent, self.measures, strict=True):
            least, most = spent - measure.wanted, spent - measure.wanted
            for stage, (low, high) in windows.items():
                table = measure.stages[stage]
                least = least + table[np.minimum(low, len(table) - 1)]
                most = most + table[np.minimum(high, len(table) - 1)]
            keep &= (least <= measure.slack) & (most >= -measure.slack)
        return partial.take(np.flatnonzero(keep))

    def extend(self, partial: _Partial) -> _Partial:
        """Each of them with every width of the next stage that its window allows."""
        stage = len(partial.widths)
        low, high = self.window(partial, stage)
        counts = np.maximum(np.minimum(high, self._widths(stage) - 1) - low + 1, 0)
        rows = np.repeat(np.arange(len(low)), counts)
        nth = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._append(partial.take(rows), low[rows] + nth)

    def _append(self, partial: _Partial, width: Integers) -> _Partial:
        stage = len(partial.widths)
        step = np.log2(width) - self.logs[stage] - partial.mean
        return _Partial(
            [*partial.widths, width],
            [spent + measure.stages[stage][width] for spent, measure in zip(partial.spent, self.measures, strict=True)],
            partial.mean + step / (stage + 1),
            partial.squares + step**2 * stage / (stage + 1),
        )

    def finish(self, partial: _Partial, nearest: bool) -> _Partial:
        """Each with the last widths that can be best: the two integers about the optimum, moved inside the limits.

        Bend and error have one minimum each in the last width: its log2(d / shape) at the others' mean; or where the
        two signed errors cancel, as both grow with d.
        """
        stage = self.stages - 1
        low, high = self.window(partial, stage)
        for spent, measure in zip(partial.spent, self.measures, strict=True):
            left = measure.wanted - spent
            low = np.maximum(low, np.searchsorted(measure.stages[stage], left - measure.slack, "left"))
            high = np.minimum(high, np.searchsorted(measure.stages[stage], left + measure.slack, "right") - 1)
        rows = np.flatnonzero(low <= high)
        partial, low, high = partial.take(rows), low[rows], high[rows]
        middle = np.exp2(partial.mean + self.logs[stage])
        best = self._cancelling(partial) if nearest else np.floor(middle).astype(np.int64)
        twice = partial.take(np.tile(np.arange(len(rows)), 2))
        return self._append(twice, np.clip(np.concatenate([best, best + 1]), np.tile(low, 2), np.tile(high, 2)))

    def _cancelling(self, partial: _Partial) -> Integers:
        """The last width just below the one where the relative errors of the two measures add up to zero."""
        shares, left = np.zeros(self._widths(self.stages - 1)), np.zeros(len(partial.mean))
        for spent, measure in zip(partial.spent, self.measures, strict=True):
            shares += measure.stages[-1][: len(shares)] / measure.budget
            left += (measure.wanted - spent) / measure.budget
        return np.searchsorted(shares, left) - 1

    def best(self, designs: _Partial, nearest: bool, most: int) -> list[tuple[int, ...]]:
        """The least-bent, of equals the nearest; or the other way round. Of equals still, the smallest numbers."""
        errors = np.zeros(len(designs.mean))
        for spent, measure in zip(designs.spent, self.measures, strict=True):
            errors = np.maximum(errors, np.abs(spent - measure.wanted) / measure.budget)
        bends = np.round(np.sqrt(designs.squares / self.stages), 9)
        keys = (bends, errors) if nearest else (errors, bends)
        order = np.lexsort((*reversed(designs.widths), *keys))[:most]
        return [tuple(int(width[row]) for width in designs.widths) for row in order]
