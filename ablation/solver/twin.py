"""A small copy of a design that keeps its place beside the budget: a study on two cores before the one on a cluster."""

from __future__ import annotations

from dataclasses import replace

from ablation.budget import Budget, parse_budget
from ablation.cost import Cost, cost
from ablation.design import Design, small
from ablation.errors import UserError
from ablation.solver.rule import MOST_BENT
from ablation.solver.search import Measure, search

NEAR = (0.01, 0.02, 0.03, 0.04, 0.05)
"""Relative distances from what an arm should cost, tried in this order: the nearest first, then the least bent."""


def small_budget(budget: Budget, divisor: int) -> Budget:
    """The budget's own design in small, as often as the budget takes it. Raises UserError where it is no design's."""
    if budget.of is None:
        raise UserError(f"a budget in numbers has no small copy: {budget.name}", remedy="Name a design as its budget.")
    copy = divided(budget.of, divisor)
    if copy is None:
        raise UserError(
            f"the widths {list(budget.of.widths)} of the budget {budget.name} can't be divided by {divisor}",
            remedy="Divide by less.",
        )
    name = copy.name if budget.scale == 1 else f"{budget.scale:.12g}*{copy.name}"
    return parse_budget(name, copy)


def divided(design: Design, divisor: int) -> Design | None:
    """The small copy whose every width is the design's over `divisor`; None where that is no whole number."""
    if any(width % divisor for width in design.widths):
        return None
    return replace(small(design, divisor), widths=tuple(width // divisor for width in design.widths))


def twin(design: Design, budget: Budget, copied: Budget, divisor: int) -> Design:
    """The small copy of an arm: blocks, form and shortcut stay, every width is divided.

    Where a stage's d can't be divided, it is the integer widths least bent from the design's own that cost as much,
    relative to the `copied` budget, as the design costs relative to its `budget`, on parameters and MACs. Where a path
    would be narrower than one channel, half as many paths, and so on: C·d is divided as everything else.
    Raises UserError where no such widths are.
    """
    exact = divided(design, divisor)
    if exact:
        return exact
    whole = small(design, divisor)
    wanted = share(cost(design), budget, copied)
    cardinality = design.cardinality
    while cardinality >= 1:
        for near in NEAR:
            base = replace(whole, cardinality=cardinality)
            measures = [Measure.of(name, base, getattr(wanted, name), near) for name in ("params", "macs")]
            if widths := search(measures, MOST_BENT, False, design.widths):
                return replace(base, widths=widths)
        cardinality //= 2
    raise UserError(
        f"{design.name} has no small copy: no widths cost {wanted.params:,} parameters and {wanted.macs:,} MACs",
        remedy="Divide by less.",
    )


def share(price: Cost, budget: Budget, copied: Budget) -> Cost:
    """What a copy should cost: as much of the `copied` budget as an arm takes of its `budget`."""
    assert budget.params and budget.macs and copied.params and copied.macs
    return Cost(
        round(price.params / budget.params * copied.params), round(price.macs / budget.macs * copied.macs), None, None
    )
