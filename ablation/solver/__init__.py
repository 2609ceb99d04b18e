"""Designs that meet a budget at a given cardinality, each with every residual; nothing is rounded away silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ablation.budget import Budget
from ablation.cost import Cost, cost
from ablation.design import Design
from ablation.errors import UserError, did_you_mean
from ablation.solver.search import Measure, search

MATCHES = {"block": ("block_params",), "params": ("params",), "macs": ("macs",), "both": ("params", "macs")}
"""What each match rule compares with the budget. `block` is the paper's; `both` takes the larger of two errors."""

TOLERANCE = 0.05
MOST_BENT = 0.25
"""Beyond this bend a ladder no longer follows the paper's second rule, and a tight search gives up."""


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


@dataclass(frozen=True)
class Rule:
    """How a design is matched to a budget."""

    match: str
    tolerance: float
    tight: bool
    """Free integer stage widths, the least-bent inside the tolerance, in place of one d that doubles."""

    @classmethod
    def of(
        cls, budget: Budget, match: str | None = None, tolerance: float = TOLERANCE, tight: float | None = None
    ) -> Rule:
        """The rule that `solve`'s options mean. Raises UserError where they make no sense, alone or together."""
        name = match or ("both" if tight is not None else budget.default_match)
        if name not in MATCHES:
            raise UserError(f"unknown match rule {name!r}", remedy=did_you_mean(name, list(MATCHES)))
        if tight is not None and name != "both":
            raise UserError(
                f"a tight search holds params and MACs at once; match {name!r} does not go with it",
                remedy="Leave out one of the two, or match both.",
            )
        if name == "block" and budget.block_params is None:
            raise UserError(
                f"match 'block' needs a budget that is one design; {budget.name!r} has no block to match",
                remedy="Match params, macs or both.",
            )
        _check_share(tolerance, "tolerance", tolerance)
        return cls(name, tolerance if tight is None else _check_share(tight, "tight", tight), tight is not None)


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
    return follow(Rule.of(budget, match, tolerance, tight), budget, cardinality)


def ladder(
    budget: Budget,
    cardinalities: Iterable[int],
    match: str | None = None,
    tolerance: float = TOLERANCE,
    tight: float | None = None,
) -> list[Solution]:
    """`solve` for each cardinality, in the order given."""
    return [solve(budget, cardinality, match, tolerance, tight) for cardinality in cardinalities]


def follow(rule: Rule, budget: Budget, cardinality: int) -> Solution:
    """`solve`, with the options as a Rule."""
    if isinstance(cardinality, bool) or not isinstance(cardinality, int) or cardinality < 1:
        raise UserError(
            f"cardinality must be a whole number of at least 1; got {cardinality!r}",
            remedy="It counts the paths of a block: 1 is ResNet, 32 is ResNeXt.",
        )
    base = replace(budget.base, cardinality=cardinality)
    design = _least_bent(budget, base, rule.tolerance) if rule.tight else _plain(budget, base, rule.match)
    return _solution(budget, design, rule)


def bend(widths: Sequence[Any]) -> Any:
    """How far stage widths are from exact doubling (see `Solution.bend`).

    `widths` has one entry for each stage; entries may be arrays of one shape, and the result then has it too.
    """
    logs = np.stack([np.log2(np.asarray(width, float)) - stage for stage, width in enumerate(widths)])
    return np.sqrt(np.square(logs - logs.mean(0)).mean(0))


def _errors(budget: Budget, price: Cost, measures: Iterable[str]) -> list[float]:
    return [(getattr(price, name) - target) / target for name in measures if (target := getattr(budget, name))]


def _solution(budget: Budget, design: Design, rule: Rule) -> Solution:
    price = cost(design)
    params, macs, *block = _errors(budget, price, ("params", "macs", "block_params"))
    return Solution(
        design=design,
        cost=price,
        params_error=params,
        macs_error=macs,
        block_error=block[0] if block else None,
        bend=0.0 if design.doubles else float(bend(design.widths)),
        admissible=max(map(abs, _errors(budget, price, MATCHES[rule.match]))) <= rule.tolerance,
    )


def _plain(budget: Budget, base: Design, match: str) -> Design:
    """The nearest doubling design.

    Costs grow with d, so the sum of the matched errors changes sign once, and the largest of them is least there.
    """

    def errors(width: int) -> list[float]:
        return _errors(budget, cost(base.with_width(width)), MATCHES[match])

    low, high = 0, 1
    while sum(errors(high)) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if sum(errors(middle)) < 0 else (low, middle)
    return base.with_width(min((width for width in (low, high) if width), key=lambda w: max(map(abs, errors(w)))))


def _least_bent(budget: Budget, base: Design, tolerance: float) -> Design:
    """The least-bent design inside `tolerance` on parameters and MACs; where there is none, the nearest.

    A search within a bound on the bend sees every design below that bound, so the first one that finds any has
    the best of all.
    """
    plain = _plain(budget, base, "both")
    error = max(map(abs, _errors(budget, cost(plain), MATCHES["both"])))
    if error > 4 or len(base.blocks) == 1:
        return plain  # out of reach of any bend allowed here; or nothing to bend
    measures = [Measure.of(name, base, getattr(budget, name), tolerance) for name in MATCHES["both"]]
    for bound in (MOST_BENT / 2**halvings for halvings in range(5, -1, -1)):
        if widths := search(measures, bound, nearest=False):
            return replace(base, widths=widths)
    measures = [Measure.of(name, base, getattr(budget, name), error) for name in MATCHES["both"]]
    widths = search(measures, MOST_BENT, nearest=True)
    return replace(base, widths=widths) if widths else plain
