"""Blocks for each stage that meet a budget, the stages' shares changed as little as can be."""

from __future__ import annotations

from dataclasses import replace

from ablation.budget import Budget
from ablation.design import Design
from ablation.solver.nearest import nearest
from ablation.solver.rule import MATCHES, Rule, amount
from ablation.solver.search import Measure, all_inside, search

RUNNERS_UP = 3
BOUNDS = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""On the change of the stages' shares; at 4 one stage has grown 16 times more than the others, or more."""


def split(rule: Rule, budget: Budget, base: Design) -> list[Design]:
    """`base` with other blocks: of all splits inside the rule's tolerance the one whose log2(blocks / base's blocks)
    varies least over stages (root mean square about the mean), of equals the nearest; then the runners-up.

    Where none is inside, the nearest alone. Proved by search: within a bound on the change all are seen.
    """
    most = RUNNERS_UP + 1
    measures = _measures(rule, budget, base, rule.tolerance)
    for bound in BOUNDS:
        count, best = all_inside(measures, bound, base.blocks, most)
        if count >= most or (bound == BOUNDS[-1] and best):
            return [replace(base, blocks=blocks) for blocks in best]
    return [_nearest(rule, budget, base)]


def _nearest(rule: Rule, budget: Budget, base: Design) -> Design:
    def grown(n: int) -> Design:
        return replace(base, blocks=tuple(max(1, round(n * blocks / max(base.blocks))) for blocks in base.blocks))

    plain = grown(nearest(lambda n: rule.errors(budget, grown(n))))
    missed = rule.errors(budget, plain)
    error = max(map(abs, missed))
    cheapest = set(plain.blocks) == {1} and min(missed) >= 0
    if len(base.blocks) == 1 or cheapest:
        return plain
    blocks = search(_measures(rule, budget, base, error), BOUNDS[-1], nearest=True, shape=base.blocks)
    return replace(base, blocks=blocks) if blocks else plain


def _measures(rule: Rule, budget: Budget, base: Design, tolerance: float) -> list[Measure]:
    return [
        Measure.of(name, base, amount(budget, name, rule.batch), tolerance, "blocks", batch=rule.batch)
        for name in MATCHES[rule.match]
    ]
