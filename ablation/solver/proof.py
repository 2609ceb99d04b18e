"""What stands beside an answer: the next numbers on either side, what other rules pick, and the ladder's spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ablation.cost import cost
from ablation.design import Design
from ablation.errors import UserError
from ablation.solver.axes import resolve
from ablation.solver.clock import TIME, time_error
from ablation.solver.nearest import nearest_width
from ablation.solver.rule import MATCHES, Rule, Solution, amount, error_of

MEASURES = ("block_params", "params", "macs", "activations", "memory")


@dataclass(frozen=True)
class Pick:
    """A design that was not taken, and its errors by measure (relative; None where the budget doesn't say)."""

    design: Design
    errors: dict[str, float | None]


@dataclass(frozen=True)
class Proof:
    """Why a row is what it is."""

    errors: dict[str, float | None]
    """The row's own, by measure: `MEASURES`, and time where the rule has a clock."""
    neighbours: list[Pick]
    """The next smaller and the next larger d (or C; for bent widths, the two doubling designs around; along depth,
    the runners-up)."""
    rules: dict[str, Pick]
    """What the other match rules pick, where that is another design."""


def prove(rule: Rule, row: Solution, axes: frozenset[str]) -> Proof:
    """The proof of a row that `follow` gave for these axes and this rule."""
    around = list(row.runners_up) if axes == {"depth"} else _around(rule, row, axes)
    return Proof(
        _errors(rule, row, row.design), [_pick(rule, row, design) for design in around], others(rule, row, axes)
    )


def spread(rows: Sequence[Any], batch: int, measures: Sequence[str] = MEASURES) -> dict[str, float | None]:
    """How far apart the rows are in each measure: the largest over the smallest of cost / budget, less 1.

    Rows are Solutions, or a family's. None where a budget doesn't state the measure. What was matched spreads little,
    the others more. Time is there where any row was timed.
    """
    measures = (*measures, TIME) if any(row.time for row in rows) else measures
    return {measure: _spread([row.error(measure, batch) for row in rows]) for measure in measures}


def _spread(found: list[float | None]) -> float | None:
    stated = [1 + error for error in found if error is not None]
    return max(stated) / min(stated) - 1 if stated and len(stated) == len(found) else None


def _pick(rule: Rule, row: Solution, design: Design) -> Pick:
    return Pick(design, _errors(rule, row, design))


def _errors(rule: Rule, row: Solution, design: Design) -> dict[str, float | None]:
    price = cost(design)
    found = {name: error_of(row.budget, price, name, rule.batch) for name in MEASURES}
    if rule.clock:
        timed = row.time if design == row.design else rule.time(row.budget, design)
        found[TIME] = time_error(timed, row.budget) if timed else None
    return found


def _around(rule: Rule, row: Solution, axes: frozenset[str]) -> list[Design]:
    design, step = row.design, rule.multiple
    if "groups" in axes:
        return [replace(design, cardinality=c) for c in (design.cardinality - 1, design.cardinality + 1) if c]
    if not rule.tight:
        return [design.with_width(d) for d in (design.widths[0] - step, design.widths[0] + step) if d]
    plain = nearest_width(rule, row.budget, row.budget.base)
    total = sum(rule.errors(row.budget, plain))
    other = plain.widths[0] + (step if total < 0 else -step)
    return [design.with_width(d) for d in sorted((plain.widths[0], other)) if d]


def others(rule: Rule, row: Solution, axes: frozenset[str]) -> dict[str, Pick]:
    """What the other match rules pick, by rule, where that is another design."""
    picks = {}
    quick = replace(rule, clock=None)  # what was not taken is not worth timing
    for match in MATCHES:
        unlike = match == rule.match or (match == "block" and axes & {"width", "depth"})
        if rule.tight or unlike or any(amount(row.budget, name, rule.batch) is None for name in MATCHES[match]):
            continue
        try:
            design = resolve(replace(quick, match=match), row.budget, axes)
        except UserError:
            continue
        if design != row.design:
            picks[match] = _pick(quick, row, design)
    return picks
