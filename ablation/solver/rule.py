"""How a design is matched to a budget, and what a match that was found says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablation.budget import Budget
from ablation.cost import BATCH, Cost, cost, memory
from ablation.design import Design
from ablation.errors import UserError, did_you_mean
from ablation.solver.clock import TIME, Clock, Timed, time_error, time_of

MATCHES = {
    "block": ("block_params",),
    "params": ("params",),
    "macs": ("macs",),
    "both": ("params", "macs"),
    "activations": ("activations",),
    "memory": ("memory",),
}
"""What each match rule compares with the budget. `block` is the paper's; `both` takes the larger of two errors.

One more rule, `time`, compares the seconds of a training step, which a clock tells and no formula.
"""

TOLERANCE = 0.05
MOST_BENT = 0.25
"""Beyond this bend a ladder no longer follows the paper's second rule, and a tight search gives up."""


@dataclass(frozen=True)
class Solution:
    """One row of a ladder: a design, its cost, and how far it is from the budget."""

    design: Design
    cost: Cost
    params_error: float | None
    """Relative: 0.0436 is 4.36% above the budget; so are the other errors. None where the budget doesn't say."""
    macs_error: float | None
    block_error: float | None
    """None where the budget is not the cost of one design."""
    bend: float
    """Root mean square, over stages i, of log2(d_i / 2^i) about its mean; 0 where the width doubles."""
    admissible: bool
    """Whether the matched measures are inside the tolerance; else this is the nearest there is."""
    budget: Budget
    """What the errors are relative to: the ladder's budget, or a multiple of it."""
    scale: float = 1.0
    """That multiple."""
    runners_up: tuple[Design, ...] = ()
    """Along depth: the next best splits into stages."""
    change: float | None = None
    """Along depth: root mean square, over stages, of log2(blocks / the base's blocks) about its mean."""
    time: Timed | None = None
    """Of a training step, over the budget's own design's; None where no clock was given or it can't tell."""

    def error(self, measure: str, batch: int = BATCH) -> float | None:
        """How far one measure of `MATCHES`, or `time`, is from the budget, relative; None where that isn't known."""
        if measure == TIME:
            return time_error(self.time, self.budget) if self.time else None
        return error_of(self.budget, self.cost, measure, batch)


def amount(of: Cost | Budget, measure: str, batch: int = BATCH) -> Any:
    """A measure of a cost or of a budget: a number, or None; memory in bytes for `batch` images."""
    if measure != "memory" or of.memory is None:
        return getattr(of, measure)
    return memory(of.params, of.activations, batch)


def errors(budget: Budget, price: Cost, measures: Iterable[str], batch: int = BATCH) -> list[float]:
    """The relative error of each measure that the budget states."""
    targets = [(name, target) for name in measures if (target := amount(budget, name, batch))]
    return [(amount(price, name, batch) - target) / target for name, target in targets]


def error_of(budget: Budget, price: Cost, measure: str, batch: int = BATCH) -> float | None:
    """The relative error of one measure; None where the budget doesn't state it."""
    found = errors(budget, price, (measure,), batch)
    return found[0] if found else None


def bend(widths: Sequence[Any]) -> Any:
    """How far stage widths are from exact doubling (see `Solution.bend`).

    `widths` has one entry for each stage; entries may be arrays of one shape, and the result then has it too.
    """
    return change(widths, [1 << stage for stage in range(len(widths))])


def change(values: Sequence[Any], base: Sequence[int]) -> Any:
    """Root mean square, over stages, of log2(value / base) about its mean: 0 where all grew alike."""
    logs = np.stack([np.log2(np.asarray(value, float) / own) for value, own in zip(values, base, strict=True)])
    return np.sqrt(np.square(logs - logs.mean(0)).mean(0))


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


def whole(value: object, name: str, remedy: str) -> int:
    """The value, if it is a whole number of at least 1. Raises UserError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} must be a whole number of at least 1; got {value!r}", remedy=remedy)
    return value


@dataclass(frozen=True)
class Rule:
    """How a design is matched to a budget."""

    match: str
    tolerance: float
    tight: bool
    """Free integer stage widths, the least-bent inside the tolerance, in place of one d that doubles."""
    multiple: int = 1
    """Every d is a multiple of this."""
    batch: int = BATCH
    """Images of a step, for memory."""
    clock: Clock | None = None
    """Tells times, for `match` time and beside other rules."""

    @classmethod
    def of(
        cls,
        budget: Budget,
        match: str | None = None,
        tolerance: float = TOLERANCE,
        tight: float | None = None,
        multiple: int = 1,
        batch: int = BATCH,
        clock: Clock | None = None,
    ) -> Rule:
        """The rule that `solve`'s options mean. Raises UserError where they make no sense, alone or together."""
        name = match or ("both" if tight is not None else budget.default_match)
        if name not in (*MATCHES, TIME):
            raise UserError(f"unknown match rule {name!r}", remedy=did_you_mean(name, [*MATCHES, TIME]))
        if tight is not None and name != "both":
            raise UserError(
                f"a tight search holds params and MACs at once; match {name!r} does not go with it",
                remedy="Leave out one of the two, or match both.",
            )
        _check_clock(name, clock) if name == TIME else _check_stated(budget, name, batch)
        _check_share(tolerance, "tolerance", tolerance)
        limit = tolerance if tight is None else _check_share(tight, "tight", tight)
        multiple = whole(
            multiple, "multiple", "Widths are multiples of it: 1 allows every width, 8 suits tensor cores."
        )
        return cls(name, limit, tight is not None, multiple, whole(batch, "batch", "It counts images."), clock)

    def errors(self, budget: Budget, design: Design) -> list[float]:
        """The relative errors of what this rule matches."""
        if self.match == TIME:
            assert self.clock
            return [time_error(time_of(self.clock, budget, design, near=True), budget)]
        return errors(budget, cost(design), MATCHES[self.match], self.batch)

    def time(self, budget: Budget, design: Any) -> Timed | None:
        """A design's time; None where there is no clock, or it can't tell."""
        try:
            return time_of(self.clock, budget, design) if self.clock else None
        except UserError:
            return None


def _check_clock(match: str, clock: Clock | None) -> None:
    if clock is None:
        raise UserError(f"match {match!r} needs a clock", remedy="Pass clock=Stopwatch() of ablation.stopwatch.")


def _check_stated(budget: Budget, match: str, batch: int) -> None:
    missing = [measure for measure in MATCHES[match] if amount(budget, measure, batch) is None]
    if missing == ["block_params"]:
        raise UserError(
            f"match 'block' needs a budget that is one design; {budget.name!r} has no block to match",
            remedy="Match params, macs or both.",
        )
    if missing:
        needs = "params and activations" if match == "memory" else " and ".join(missing)
        raise UserError(f"match {match!r} needs {needs}, which the budget {budget.name!r} does not state")


def solution(budget: Budget, design: Design, rule: Rule, scale: float = 1.0) -> Solution:
    """A design as a row of a ladder, held against its budget."""
    price, timed = cost(design), rule.time(budget, design)
    missed = [time_error(timed, budget)] if rule.match == TIME and timed else rule.errors(budget, design)
    params, macs, block = (error_of(budget, price, name) for name in ("params", "macs", "block_params"))
    return Solution(
        design=design,
        cost=price,
        params_error=params,
        macs_error=macs,
        block_error=block,
        bend=0.0 if design.doubles else float(bend(design.widths)),
        admissible=max(map(abs, missed)) <= rule.tolerance,
        budget=budget,
        scale=scale,
        time=timed,
    )
