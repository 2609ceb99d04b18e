"""One whole number, the nearest to a budget: the d of a doubling design, or its C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ablation.budget import Budget
from ablation.design import Design
from ablation.solver.clock import TIME
from ablation.solver.rule import Rule


def nearest(errors: Callable[[int], list[float]], start: int = 1, bounds: tuple[int, int] | None = None) -> int:
    """The n of at least 1 whose largest absolute error is least; of two equally near, the smaller.

    Costs grow with n, so the sum of the errors changes sign once, and the largest of them is least there. The search
    goes out from `start`, or stays inside `bounds`, both included; where errors are measured and don't grow, the
    answer is the nearest of all that were tried.
    """
    tried: dict[int, list[float]] = {}

    def below(n: int) -> bool:
        tried[n] = errors(n)
        return sum(tried[n]) < 0

    low, high = _between(below, *bounds) if bounds else _outwards(below, start)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return min(tried, key=lambda n: (max(map(abs, tried[n])), n))


def _outwards(below: Callable[[int], bool], start: int) -> tuple[int, int]:
    """Two numbers with the change of sign between them; 0 stands for a network of nothing."""
    low, high, step = start, start, 1
    if below(start):
        while below(high := low + step):
            low, step = high, 2 * step
        return low, high
    while (low := max(0, high - step)) and not below(low):
        high, step = low, 2 * step
    return low, high


def _between(below: Callable[[int], bool], low: int, high: int) -> tuple[int, int]:
    if not below(low):
        return low, low
    return (high, high) if below(high) else (low, high)


def nearest_width(rule: Rule, budget: Budget, base: Design) -> Design:
    """`base` at the d, doubled from stage to stage, that is nearest by the rule."""
    step = rule.multiple
    return base.with_width(step * _search(rule, budget, lambda n: base.with_width(step * n), base, "width"))


def nearest_cardinality(rule: Rule, budget: Budget, base: Design) -> Design:
    """`base` at the C that is nearest by the rule; its widths stay."""

    def at(c: int) -> Design:
        return replace(base, cardinality=c)

    return at(_search(rule, budget, at, base, "cardinality"))


def _search(rule: Rule, budget: Budget, at: Callable[[int], Design], base: Design, field: str) -> int:
    if rule.match != TIME or rule.clock is None:
        return nearest(lambda n: rule.errors(budget, at(n)))
    bounds = rule.clock.bounds(base, field)
    if bounds and field == "width":
        bounds = (-(-bounds[0] // rule.multiple), bounds[1] // rule.multiple)
    guess = replace(rule, match="both", clock=None)  # timing is dear: begin where the cost is right
    start = 1 if bounds else nearest(lambda n: guess.errors(budget, at(n)))
    return nearest(lambda n: rule.errors(budget, at(n)), start, bounds)
