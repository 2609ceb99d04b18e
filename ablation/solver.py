"""Designs that meet a budget at a given cardinality, each with every residual; nothing is rounded away silently."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablation.budget import Budget
from ablation.cost import Cost, cost
from ablation.design import Design
from ablation.errors import UserError, did_you_mean

MATCHES = {"block": ("block_params",), "params": ("params",), "macs": ("macs",), "both": ("params", "macs")}
"""What each match rule compares with the budget. `block` is the paper's; `both` takes the larger of two errors."""

TOLERANCE = 0.05
MOST_BENT = 0.25
"""Beyond this bend a ladder no longer follows the paper's second rule, and a tight search gives up."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Solution:
    """One row of a ladder: a design, its cost, and how far it is from the budget."""

    design: Design
    cost: Cost
    params_error: float
    """Relative: 0.0436 is 4.36% above the budget; so are the other errors."""
    macs_error: float
    block_error: float | None
    """None where the budget is not the cost of one design."""
    bend: float
    """Root mean square, over stages i, of log2(d_i / 2^i) about its mean; 0 where the width doubles."""
    admissible: bool
    """Whether the matched measures are inside the tolerance; else this is the nearest there is."""


def parse_share(text: str, option: str = "tolerance") -> float:
    """`5%` or `0.05` as 0.05.

    Raises UserError where it is no number, or not between 0 and 100%.
    """
    try:
        share = float(text.rstrip().removesuffix("%")) / (100 if text.rstrip().endswith("%") else 1)
    except ValueError:
        raise UserError(f"{option} {text!r} is not a number", remedy="Write it like 5% or 0.05.") from None
    return _check_share(share, option, text)


def _check_share(share: float, option: str, text: object) -> float:
    if not 0 < share < 1:
        raise UserError(f"{option} {text} must be above 0 and below 100%", remedy="Write it like 5% or 0.05.")
    return share


def solve(
    budget: Budget, cardinality: int, match: str | None = None, tolerance: float = TOLERANCE, tight: float | None = None
) -> Solution:
    """The design with C = `cardinality` that meets `budget`; every other field is the budget's own design's.

    Without `tight`: the integer d, doubled from stage to stage, that is nearest by `match` (see `MATCHES`; default
    `budget.default_match`), admissible inside the relative `tolerance`; of two equally near, the smaller.
    With `tight`: the least-bent integer stage widths inside that tolerance on parameters and MACs at once, proved so
    by search; where none is within a bend of `MOST_BENT`, the nearest ones, inadmissible.
    Raises UserError for a cardinality, a rule or a tolerance that makes no sense, never for a budget out of reach.
    """
    if isinstance(cardinality, bool) or not isinstance(cardinality, int) or cardinality < 1:
        raise UserError(f"cardinality must be a whole number of at least 1; got {cardinality!r}")
    rule = check_rule(budget, match, tolerance, tight)
    base = replace(budget.base, cardinality=cardinality)
    if tight is None:
        return _solution(budget, _plain(budget, base, rule), rule, tolerance)
    return _solution(budget, _least_bent(budget, base, tight), rule, tight)


def ladder(budget: Budget, cardinalities: Iterable[int], **how: Any) -> list[Solution]:
    """`solve` for each cardinality, in the order given; `how` as there."""
    return [solve(budget, cardinality, **how) for cardinality in cardinalities]


def check_rule(budget: Budget, match: str | None, tolerance: float, tight: float | None) -> str:
    """The match rule that is meant. Raises UserError where it is unknown or can't be used with this budget."""
    _check_share(tolerance, "tolerance", tolerance)
    if tight is not None:
        _check_share(tight, "tight", tight)
    rule = match or ("both" if tight is not None else budget.default_match)
    if rule not in MATCHES:
        raise UserError(f"unknown match rule {rule!r}", remedy=did_you_mean(rule, list(MATCHES)))
    if tight is not None and rule != "both":
        raise UserError(f"a tight search holds params and MACs at once; match {rule!r} does not go with it")
    if rule == "block" and budget.block_params is None:
        raise UserError(
            f"match 'block' needs a budget that is one design; {budget.name!r} has no block to match",
            remedy="Match params, macs or both.",
        )
    return rule


def bend(widths: Sequence[Any]) -> Any:
    """How far stage widths are from exact doubling (see `Solution.bend`).

    `widths` has one entry for each stage; entries may be arrays of one shape, and the result then has it too.
    """
    logs = np.stack([np.log2(np.asarray(width, float)) - stage for stage, width in enumerate(widths)])
    return np.sqrt(np.square(logs - logs.mean(0)).mean(0))


def _errors(budget: Budget, price: Cost, measures: Iterable[str]) -> list[float]:
    return [(getattr(price, name) - target) / target for name in measures if (target := getattr(budget, name))]


def _solution(budget: Budget, design: Design, rule: str, tolerance: float) -> Solution:
    price = cost(design)
    params, macs, *block = _errors(budget, price, ("params", "macs", "block_params"))
    return Solution(
        design=design,
        cost=price,
        params_error=params,
        macs_error=macs,
        block_error=block[0] if block else None,
        bend=0.0 if design.doubles else float(bend(design.widths)),
        admissible=max(map(abs, _errors(budget, price, MATCHES[rule]))) <= tolerance,
    )


def _plain(budget: Budget, base: Design, rule: str) -> Design:
    """The nearest doubling design.

    Costs grow with d, so the sum of the matched errors changes sign once, and the largest of them is least there.
    """

    def errors(width: int) -> list[float]:
        return _errors(budget, cost(base.with_width(width)), MATCHES[rule])

    low, high = 0, 1
    while sum(errors(high)) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(errors(middle)) < 0 else (low, middle)
    return base.with_width(min((width for width in (low, high) if width), key=lambda w: max(map(abs, errors(w)))))


class _Measure(NamedTuple):
    """What a tight search knows of parameters, or of MACs: a sum over stages that has to end between two limits."""

    stages: list[Integers]
    """For each stage, its cost at width 0, 1, 2 ..., increasing, up to more than `high`."""
    low: int
    high: int
    target: int


class _Partial(NamedTuple):
    """Many designs at once whose first stages are chosen; arrays of one length."""

    widths: list[Integers]
    spent: list[Integers]
    """Parameters and MACs of the chosen stages."""
    mean: NDArray[np.float64]
    """Of log2(d_i / 2^i) over the chosen stages."""
    squares: NDArray[np.float64]
    """The sum of squares about that mean; it only grows with further stages."""


def _least_bent(budget: Budget, base: Design, tolerance: float) -> Design:
    """The least-bent design inside `tolerance` on parameters and MACs; of equals, the one with the least error.

    A search within a bound on the bend sees every design below that bound, so the first one that finds any has
    the best of all.
    """
    plain = _plain(budget, base, "both")
    error = max(map(abs, _errors(budget, cost(plain), MATCHES["both"])))
    if error > 4:
        return plain
    measures = [_measure(budget, base, name, tolerance) for name in MATCHES["both"]]
    for bound in MOST_BENT / 2.0 ** np.arange(5, -1, -1):
        if widths := _search(measures, len(base.blocks), bound, nearest=False):
            return replace(base, widths=widths)
    measures = [_measure(budget, base, name, error) for name in MATCHES["both"]]
    widths = _search(measures, len(base.blocks), MOST_BENT, nearest=True)
    return replace(base, widths=widths) if widths else plain


def _measure(budget: Budget, base: Design, name: str, tolerance: float) -> _Measure:
    """Stage costs by width, in integers, so that limits here and `admissible` agree on the last unit."""
    nothing: list[Any] = [0] * len(base.blocks)
    fixed, target = getattr(cost(base, widths=nothing), name), getattr(budget, name)
    slack = math.floor(target * tolerance)
    slack += ((slack + 1) / target <= tolerance) - (slack / target > tolerance)

    def stage_cost(stage: int, width: Any) -> Any:
        price = cost(base, widths=[*nothing[:stage], width, *nothing[stage + 1 :]])
        return getattr(price, name) - fixed

    def table(stage: int) -> Integers:
        widest = 64
        while stage_cost(stage, widest) <= target + slack - fixed:
            widest *= 2
        return stage_cost(stage, np.arange(widest + 1, dtype=np.int64))

    return _Measure([table(stage) for stage in range(len(nothing))], target - slack - fixed, target + slack - fixed, target)


def _search(measures: list[_Measure], stages: int, bound: float, nearest: bool) -> tuple[int, ...] | None:
    """Widths inside the measures' limits and within `bound` on the bend: the least-bent, or those of the least error.

    None where there are none.
    """
    first = np.arange(1, min(len(measure.stages[0]) for measure in measures), dtype=np.int64)
    spent = [measure.stages[0][first] for measure in measures]
    partial = _prune(_Partial([first], spent, np.log2(first), np.zeros(len(first))), measures, stages, bound)
    for _ in range(stages - 2):
        partial = _prune(_extend(partial, measures, stages, bound), measures, stages, bound)
    return _best(_finish(partial, measures, stages, bound, nearest), measures, nearest)


def _window(partial: _Partial, stage: int, stages: int, bound: float) -> tuple[Integers, Integers]:
    """The least and the largest width of `stage` with which the bend can stay within `bound`.

    A value x next to k values about their mean m adds (x - m)²·k/(k + 1) to their sum of squares, and the sum
    over all stages may reach stages·bound².
    """
    chosen = len(partial.widths)
    left = np.maximum(stages * bound**2 - partial.squares, 0) * (chosen + 1) / chosen
    reach = np.sqrt(left) + 1e-9
    low, high = np.exp2(partial.mean + stage - reach), np.exp2(partial.mean + stage + reach)
    return np.maximum(np.ceil(low), 1).astype(np.int64), np.floor(high).astype(np.int64)


def _prune(partial: _Partial, measures: list[_Measure], stages: int, bound: float) -> _Partial:
    """Without those that can't end inside the limits, whatever the other stages' widths."""
    keep = np.ones(len(partial.mean), bool)
    least, most = [spent.copy() for spent in partial.spent], [spent.copy() for spent in partial.spent]
    for stage in range(len(partial.widths), stages):
        low, high = _window(partial, stage, stages, bound)
        keep &= low <= high
        for index, measure in enumerate(measures):
            table = measure.stages[stage]
            least[index] += table[np.minimum(low, len(table) - 1)]
            most[index] += table[np.minimum(high, len(table) - 1)]
    for index, measure in enumerate(measures):
        keep &= (least[index] <= measure.high) & (most[index] >= measure.low)
    return _take(partial, np.flatnonzero(keep))


def _take(partial: _Partial, rows: Integers) -> _Partial:
    return _Partial(
        [width[rows] for width in partial.widths],
        [spent[rows] for spent in partial.spent],
        partial.mean[rows],
        partial.squares[rows],
    )


def _extend(partial: _Partial, measures: list[_Measure], stages: int, bound: float) -> _Partial:
    """Each of them with every width of the next stage that its window allows."""
    stage = len(partial.widths)
    low, high = _window(partial, stage, stages, bound)
    high = np.minimum(high, min(len(measure.stages[stage]) for measure in measures) - 1)
    counts = np.maximum(high - low + 1, 0)
    rows = np.repeat(np.arange(len(low)), counts)
    width = low[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return _append(_take(partial, rows), width, measures)


def _append(partial: _Partial, width: Integers, measures: list[_Measure]) -> _Partial:
    stage = len(partial.widths)
    step = np.log2(width) - stage - partial.mean
    return _Partial(
        [*partial.widths, width],
        [spent + measure.stages[stage][width] for spent, measure in zip(partial.spent, measures, strict=True)],
        partial.mean + step / (stage + 1),
        partial.squares + step**2 * stage / (stage + 1),
    )


def _finish(partial: _Partial, measures: list[_Measure], stages: int, bound: float, nearest: bool) -> _Partial:
    """Each with the last widths that can be best: the two integers about the optimum, moved inside the limits.

    Bend and error have one minimum each in the last width: its log2(d / 2^i) at the others' mean; or where the
    two signed errors cancel, as both grow with d.
    """
    stage = stages - 1
    low, high = _window(partial, stage, stages, bound)
    for spent, measure in zip(partial.spent, measures, strict=True):
        low = np.maximum(low, np.searchsorted(measure.stages[stage], measure.low - spent, "left"))
        high = np.minimum(high, np.searchsorted(measure.stages[stage], measure.high - spent, "right") - 1)
    rows = np.flatnonzero(low <= high)
    partial, low, high = _take(partial, rows), low[rows], high[rows]
    best = _cancel(partial, measures) if nearest else np.floor(np.exp2(partial.mean + stage)).astype(np.int64)
    twice = _take(partial, np.tile(np.arange(len(rows)), 2))
    width = np.clip(np.concatenate([best, best + 1]), np.tile(low, 2), np.tile(high, 2))
    return _append(twice, width, measures)


def _cancel(partial: _Partial, measures: list[_Measure]) -> Integers:
    """The last width just below the one where the relative errors of the two measures add up to zero."""
    size = min(len(measure.stages[-1]) for measure in measures)
    shares = np.sum([measure.stages[-1][:size] / measure.target for measure in measures], axis=0)
    middles = [(measure.low + measure.high) / 2 for measure in measures]
    left = sum(
        (middle - spent) / measure.target
        for middle, spent, measure in zip(middles, partial.spent, measures, strict=True)
    )
    return np.searchsorted(shares, left) - 1


def _best(designs: _Partial, measures: list[_Measure], nearest: bool) -> tuple[int, ...] | None:
    """The least-bent, of equals the nearest; or the other way round. Of equals still, the smallest widths."""
    if not len(designs.mean):
        return None
    errors = np.max(
        [
            np.abs(spent - (measure.low + measure.high) / 2) / measure.target
            for spent, measure in zip(designs.spent, measures, strict=True)
        ],
        axis=0,
    )
    bends = np.round(np.sqrt(designs.squares / len(designs.widths)), 9)
    keys = (bends, errors) if nearest else (errors, bends)
    order = np.lexsort((*reversed(designs.widths), *keys))
    return tuple(int(width[order[0]]) for width in designs.widths)
