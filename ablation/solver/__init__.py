"""Designs that meet a budget along an axis, each with every residual; nothing is rounded away silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ablation.budget import Budget, parse_budget
from ablation.cost import BATCH
from ablation.solver.axes import AXES, Point, check_axes, follow, points, rule_for
from ablation.solver.clock import TIME, Clock, Timed, time_error, time_of
from ablation.solver.proof import Proof, others, prove, spread
from ablation.solver.rule import (
    MATCHES,
    MOST_BENT,
    TOLERANCE,
    Rule,
    Solution,
    amount,
    bend,
    change,
    errors,
    parse_share,
    solution,
)

__all__ = [
    "AXES", "BATCH", "MATCHES", "MOST_BENT", "TIME", "TOLERANCE", "Clock", "Point", "Proof", "Rule", "Solution",
    "Timed", "amount", "bend", "change", "check_axes", "errors", "follow", "ladder", "others", "parse_share", "points",
    "prove", "rule_for", "solution", "solve", "solve_ladder", "spread", "time_error", "time_of",
]  # fmt: skip


def solve(
    budget: Budget | str,
    cardinality: int,
    match: str | None = None,
    tolerance: float = TOLERANCE,
    tight: float | None = None,
    *,
    multiple: int = 1,
    batch: int = BATCH,
    clock: Clock | None = None,
) -> Solution:
    """The design with C = `cardinality` that meets `budget`; every other field is the budget's own design's.

    Without `tight`: the integer d, doubled from stage to stage, that is nearest by `match` (see `MATCHES`; default
    `budget.default_match`), admissible inside the relative `tolerance`; of two equally near, the smaller.
    With `tight`: the least-bent integer stage widths inside that tolerance on parameters and MACs at once, proved so
    by search; where none is within a bend of `MOST_BENT`, the nearest ones, inadmissible.
    Widths are multiples of `multiple`; `batch` counts the images of a step where `match` is memory. `budget` may be
    its name. `clock` (`ablation.stopwatch.Stopwatch`, `ablation.timings.Recorded`) tells the times of training steps:
    for `match` time, where the nearest is sought outwards from the answer by cost; beside other rules, for each row's
    `time`. Raises UserError for a value that makes no sense, never for a budget out of reach.
    """
    goal = parse_budget(budget) if isinstance(budget, str) else budget
    rule = Rule.of(goal, match, tolerance, tight, multiple, batch, clock)
    return follow(rule, goal, frozenset({"cardinality"}), Point(cardinality))


def ladder(
    budget: Budget | str,
    cardinalities: Iterable[int],
    match: str | None = None,
    tolerance: float = TOLERANCE,
    tight: float | None = None,
    *,
    multiple: int = 1,
    batch: int = BATCH,
    clock: Clock | None = None,
) -> list[Solution]:
    """`solve` for each cardinality, in the order given."""
    more: dict[str, Any] = {"multiple": multiple, "batch": batch, "clock": clock}
    return [solve(budget, c, match, tolerance, tight, **more) for c in cardinalities]


def solve_ladder(
    budget: Budget | str,
    axis: str | Sequence[str] = "cardinality",
    *,
    cardinalities: Sequence[int] | None = None,
    widths: Sequence[int] | None = None,
    scales: Sequence[float] | None = None,
    match: str | None = None,
    tolerance: float = TOLERANCE,
    tight: float | None = None,
    multiple: int = 1,
    batch: int = BATCH,
    clock: Clock | None = None,
) -> list[Solution]:
    """A ladder along any axis of `AXES`, or a grid over two: what `python -m ablation.plan --axis` prints.

    cardinality: d for each of `cardinalities`. width: d at each of `scales` times the budget. depth: blocks there.
    groups: C for each of `widths`. With depth as one of two axes, its scales say for which share of the budget's MACs
    blocks are chosen, and the other axis brings each row back to the budget. Raises UserError as `solve` does.
    """
    goal = parse_budget(budget) if isinstance(budget, str) else budget
    axes = check_axes([axis] if isinstance(axis, str) else axis)
    rule = Rule.of(goal, rule_for(axes, goal, match, tight), tolerance, tight, multiple, batch, clock)
    return [follow(rule, goal, axes, point) for point in points(axes, goal, cardinalities, widths, scales)]
