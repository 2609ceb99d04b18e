"""The least-bent stage widths inside a tolerance on parameters and MACs at once."""

from __future__ import annotations

from dataclasses import replace

from ablation.budget import Budget
from ablation.design import Design
from ablation.solver.nearest import nearest_width
from ablation.solver.rule import MATCHES, MOST_BENT, Rule, amount
from ablation.solver.search import Measure, search


def least_bent(rule: Rule, budget: Budget, base: Design) -> Design:
    """The least-bent design inside the rule's tolerance; where there is none, the nearest.

    A search within a bound on the bend sees every design below that bound, so the first one that finds any has
    the best of all.
    """
    plain = nearest_width(rule, budget, base)
    error = max(map(abs, rule.errors(budget, plain)))
    if error > 4 or len(base.blocks) == 1:
        return plain  # out of reach of any bend allowed here; or nothing to bend
    measures = _measures(rule, budget, base, rule.tolerance)
    for bound in (MOST_BENT / 2**halvings for halvings in range(5, -1, -1)):
        if widths := search(measures, bound, nearest=False):
            return _with(base, widths, rule)
    widths = search(_measures(rule, budget, base, error), MOST_BENT, nearest=True)
    return _with(base, widths, rule) if widths else plain


def _with(base: Design, widths: tuple[int, ...], rule: Rule) -> Design:
    return replace(base, widths=tuple(rule.multiple * width for width in widths))


def _measures(rule: Rule, budget: Budget, base: Design, tolerance: float) -> list[Measure]:
    return [
        Measure.of(name, base, amount(budget, name), tolerance, multiple=rule.multiple) for name in MATCHES[rule.match]
    ]
