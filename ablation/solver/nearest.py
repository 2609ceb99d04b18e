"""One whole number, the nearest to a budget: the d of a doubling design, or its C; and one that a clock judges."""

from __future__ import annotations

import math
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


def nearest_ratio(ratio: Callable[[int], float], start: int, tries: int = 6) -> int:
    """The n whose measured ratio is nearest to 1, from `start` in at most `tries` measurements.

    `ratio` grows with n but for noise, and costs time: n moves in proportion until 1 lies between two, then between
    these until they touch.
    """
    seen: dict[int, float] = {}
    n = max(1, start)
    while n not in seen and len(seen) < tries:
        seen[n] = ratio(n)
        below = max((k for k in seen if seen[k] < 1), default=0)
        above = min((k for k in seen if seen[k] >= 1), default=None)
        if above is None:
            n = max(below + 1, round(below / seen[below]))
        elif below == 0 or below >= above:
            n = max(1, min(above - 1, round(above / seen[above])))
        else:
            share = (1 - seen[below]) / (seen[above] - seen[below])
            n = min(max(below + 1, round(below + share * (above - below))), max(below + 1, above - 1))
    return min(sorted(seen), key=lambda k: abs(math.log(seen[k])))
