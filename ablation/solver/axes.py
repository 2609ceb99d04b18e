"""The axes of a ladder: what each row holds fixed, and what is solved for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ablation.budget import Budget, scaled
from ablation.design import Design
from ablation.errors import UserError, did_you_mean
from ablation.solver.clock import TIME
from ablation.solver.depth import split
from ablation.solver.nearest import nearest_cardinality, nearest_width
from ablation.solver.rule import Rule, Solution, change, solution, whole
from ablation.solver.tight import least_bent

AXES = {
    "cardinality": "d for each C",
    "width": "d for each scale of the budget",
    "depth": "blocks for each scale of the budget",
    "groups": "C for each d",
}
"""Each axis, and what is solved for along it."""
CARDINALITIES = (1, 2, 4, 8, 16, 32)
WIDTHS = (4, 8, 16, 32, 64)
_CONTRADICT = ({"cardinality", "groups"}, {"width", "groups"})


@dataclass(frozen=True)
class Point:
    """What a row holds fixed. None: the base's own, or what is solved for."""

    cardinality: int | None = None
    width: int | None = None
    scale: float = 1.0
    """Of the budget that the row has to meet."""
    depth: float | None = None
    """Blocks are those that the base needs for this share of the budget's MACs. None: the base's."""


def check_axes(axes: Sequence[str]) -> frozenset[str]:
    """The axes as a set. Raises UserError where one is unknown, or two of them fix the same thing."""
    for axis in axes:
        if axis not in AXES:
            raise UserError(f"unknown axis {axis!r}", remedy=did_you_mean(axis, list(AXES)))
    found = frozenset(axes)
    if len(found) < len(axes) or not 1 <= len(found) <= 2:
        raise UserError("a ladder has one axis, a grid two different ones", remedy=f"Choose from: {', '.join(AXES)}.")
    if found in _CONTRADICT:
        raise UserError(
            f"{' and '.join(axes)} make no grid: both say what C and d are", remedy="Pair one of them with depth."
        )
    return found


def rule_for(axes: frozenset[str], budget: Budget, match: str | None, tight: float | None = None) -> str | None:
    """The match rule, where none is given the axes' own. Raises UserError where a rule does not go with the axes."""
    if tight is not None and axes <= {"depth", "groups"}:
        raise UserError("a tight search frees widths, and these axes keep them", remedy="Leave out --tight.")
    if match == "block" and axes & {"width", "depth"}:
        raise UserError(
            "match 'block' compares one block; along width and depth networks are compared",
            remedy="Match params, macs or both.",
        )
    if match == TIME and axes == {"depth"}:
        raise UserError(
            "along depth stages are split by a formula, which time has not",
            remedy="Match macs; --times here shows the times beside it.",
        )
    if match or tight is not None or not axes & {"width", "depth"}:
        return match
    if axes == {"depth"} and budget.macs is not None:
        return "macs"
    return replace(budget, block_params=None).default_match


def points(
    axes: frozenset[str],
    budget: Budget,
    cardinalities: Sequence[int] | None = None,
    widths: Sequence[int] | None = None,
    scales: Sequence[float] | None = None,
) -> list[Point]:
    """A row for each combination of the values given, in that order; depth outermost.

    Raises UserError where values are given that the axes leave no room for.
    """
    if scales and not axes & {"width", "depth"}:
        raise UserError("a scale goes with the axes width and depth", remedy="Or scale the budget: 2*resnet50.")
    if widths and not ("groups" in axes or axes == {"depth"}):
        raise UserError("d is solved for along this axis, not given", remedy="Give d along groups or depth.")
    if cardinalities and "groups" in axes:
        raise UserError("C is solved for along groups, not given", remedy="Give d (width), or take another axis.")
    spread = CARDINALITIES if "cardinality" in axes else (None,)
    return [
        Point(paths, width, scale if "width" in axes or axes == {"depth"} else 1.0, depth)
        for depth in (scales or (1.0,) if "depth" in axes and len(axes) == 2 else (None,))
        for width in widths or (WIDTHS if "groups" in axes else (None,))
        for paths in cardinalities or spread
        for scale in (scales or (1.0,) if "width" in axes or axes == {"depth"} else (1.0,))
    ]


def follow(rule: Rule, budget: Budget, axes: frozenset[str], point: Point) -> Solution:
    """The design of one point. Raises UserError for a C, d or scale that makes no sense."""
    base = budget.base
    if point.depth is not None:
        match = "macs" if budget.macs is not None else rule.match
        base = split(replace(rule, match=match, tight=False), scaled(budget, point.depth), base)[0]
    base = _base(base, point)
    goal = replace(scaled(budget, point.scale), base=base)
    if axes == {"depth"}:
        first, *others = split(rule, goal, base)
        row = solution(goal, first, rule, point.scale)
        return replace(row, runners_up=tuple(others), change=float(change(first.blocks, base.blocks)))
    return solution(goal, resolve(rule, goal, axes), rule, point.scale)


def resolve(rule: Rule, budget: Budget, axes: frozenset[str]) -> Design:
    """What the rule picks from the budget's base along the axes; along depth, blocks."""
    if axes == {"depth"}:
        return split(rule, budget, budget.base)[0]
    if "groups" in axes:
        return nearest_cardinality(rule, budget, budget.base)
    return (least_bent if rule.tight else nearest_width)(rule, budget, budget.base)


def _base(base: Design, point: Point) -> Design:
    if point.cardinality is not None:
        remedy = "It counts the paths of a block: 1 is ResNet, 32 is ResNeXt."
        base = replace(base, cardinality=whole(point.cardinality, "cardinality", remedy))
    if point.width is not None:
        base = base.with_width(whole(point.width, "width", "It is d, the width of one path in the first stage."))
    return base
