"""One whole number, the nearest to a budget: the d of a doubling design, or its C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ablation.budget import Budget
from ablation.design import Design
from ablation.solver.rule import Rule


def nearest(errors: Callable[[int], list[float]]) -> int:
    """The n of at least 1 whose largest absolute error is least; of two equally near, the smaller.

    Costs grow with n, so the sum of the errors changes sign once, and the largest of them is least there.
    """
    low, high = 0, 1
    while sum(errors(high)) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(errors(middle)) < 0 else (low, middle)
    return min((n for n in (low, high) if n), key=lambda n: max(map(abs, errors(n))))


def nearest_width(rule: Rule, budget: Budget, base: Design) -> Design:
    """`base` at the d, doubled from stage to stage, that is nearest by the rule."""
    step = rule.multiple
    return base.with_width(step * nearest(lambda n: rule.errors(budget, base.with_width(step * n))))


def nearest_cardinality(rule: Rule, budget: Budget, base: Design) -> Design:
    """`base` at the C that is nearest by the rule; its widths stay."""
    return replace(base, cardinality=nearest(lambda n: rule.errors(budget, replace(base, cardinality=n))))
