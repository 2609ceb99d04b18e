"""The least-bent integer stage widths inside limits on parameters and MACs: a search that proves what it finds.

Both costs are sums over stages, so stages are chosen one after another, all designs at once in NumPy arrays; those
that can't end inside the limits, or not within the bound on the bend, are dropped on the way.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablation.cost import cost
from ablation.design import Design

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Measure(NamedTuple):
    """What the search knows of parameters, or of MACs: a sum over stages that has to come near what is wanted."""

    stages: list[Integers]
    """For each stage, its cost at width 0, 1, 2 ..., increasing, up to more than the upper limit."""
    wanted: int
    """The budget less the stem, the classifier and the shortcuts, which have no width."""
    slack: int
    """How far from `wanted` is still inside the tolerance."""
    budget: int

    @classmethod
    def of(cls, name: str, base: Design, budget: int, tolerance: float) -> Measure:
        """The measure `name` of Cost for designs that differ from `base` in widths, within a relative tolerance.

        In integers, so that these limits and a solution's `admissible` agree to the last unit.
        """
        nothing: list[Any] = [0] * len(base.blocks)
        fixed = getattr(cost(base, widths=nothing), name)
        slack = math.floor(budget * tolerance)
        slack += ((slack + 1) / budget <= tolerance) - (slack / budget > tolerance)

        def stage_cost(stage: int, width: Any) -> Any:
            return getattr(cost(base, widths=[*nothing[:stage], width, *nothing[stage + 1 :]]), name) - fixed

        def table(stage: int) -> Integers:
            widest = 64
            while stage_cost(stage, widest) <= budget + slack - fixed:
                widest *= 2
            return stage_cost(stage, np.arange(widest + 1, dtype=np.int64))

        return cls([table(stage) for stage in range(len(nothing))], budget - fixed, slack, budget)


class _Partial(NamedTuple):
    """Many designs at once whose first stages are chosen; arrays of one length."""

    widths: list[Integers]
    spent: list[Integers]
    """Parameters and MACs of the chosen stages."""
    mean: Floats
    """Of log2(d_i / 2^i) over the chosen stages."""
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


def search(measures: list[Measure], bound: float, nearest: bool) -> tuple[int, ...] | None:
    """Widths for two or more stages, inside the measures' limits and within `bound` on the bend.

    Of these the least-bent, or with `nearest` those of the least error; None where there are none.
    """
    space = _Space(measures, bound)
    partial = space.prune(space.begin())
    for _ in range(space.stages - 2):
        partial = space.prune(space.extend(partial))
    return space.best(space.finish(partial, nearest), nearest)


class _Space(NamedTuple):
    """The designs to search: what they may cost, how far they may bend."""

    measures: list[Measure]
    bound: float

    @property
    def stages(self) -> int:
        return len(self.measures[0].stages)

    def begin(self) -> _Partial:
        """Every width of the first stage."""
        first = np.arange(1, self._widths(0), dtype=np.int64)
        spent = [measure.stages[0][first] for measure in self.measures]
        return _Partial([first], spent, np.log2(first), np.zeros(len(first)))

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
        low, high = np.exp2(partial.mean + stage - reach), np.exp2(partial.mean + stage + reach)
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
        step = np.log2(width) - stage - partial.mean
        return _Partial(
            [*partial.widths, width],
            [spent + measure.stages[stage][width] for spent, measure in zip(partial.spent, self.measures, strict=True)],
            partial.mean + step / (stage + 1),
            partial.squares + step**2 * stage / (stage + 1),
        )

    def finish(self, partial: _Partial, nearest: bool) -> _Partial:
        """Each with the last widths that can be best: the two integers about the optimum, moved inside the limits.

        Bend and error have one minimum each in the last width: its log2(d / 2^i) at the others' mean; or where the
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
        best = self._cancelling(partial) if nearest else np.floor(np.exp2(partial.mean + stage)).astype(np.int64)
        twice = partial.take(np.tile(np.arange(len(rows)), 2))
        return self._append(twice, np.clip(np.concatenate([best, best + 1]), np.tile(low, 2), np.tile(high, 2)))

    def _cancelling(self, partial: _Partial) -> Integers:
        """The last width just below the one where the relative errors of the two measures add up to zero."""
        shares, left = np.zeros(self._widths(self.stages - 1)), np.zeros(len(partial.mean))
        for spent, measure in zip(partial.spent, self.measures, strict=True):
            shares += measure.stages[-1][: len(shares)] / measure.budget
            left += (measure.wanted - spent) / measure.budget
        return np.searchsorted(shares, left) - 1

    def best(self, designs: _Partial, nearest: bool) -> tuple[int, ...] | None:
        """The least-bent, of equals the nearest; or the other way round. Of equals still, the smallest widths."""
        if not len(designs.mean):
            return None
        errors = np.zeros(len(designs.mean))
        for spent, measure in zip(designs.spent, self.measures, strict=True):
            errors = np.maximum(errors, np.abs(spent - measure.wanted) / measure.budget)
        bends = np.round(np.sqrt(designs.squares / self.stages), 9)
        keys = (bends, errors) if nearest else (errors, bends)
        order = np.lexsort((*reversed(designs.widths), *keys))
        return tuple(int(width[order[0]]) for width in designs.widths)
