"""Wall-clock as a measure: how long a training step of a design takes, as a share of the budget's own design's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ablation.budget import Budget
from ablation.errors import UserError

TIME = "time"
SURE = 9
"""Repeats whose second smallest and second largest hold the median in 96.1% of cases (1 - 20/512), whatever its law."""


@dataclass(frozen=True)
class Timed:
    """The time of a design's training step over that of the reference's; a median of repeats."""

    ratio: float
    low: float
    """With `high`: from the second smallest to the second largest of `SURE` or more repeats, else all of them."""
    high: float
    how: str
    """What was timed: `9 pairs of steps`, `3 runs`, `between d=3 and d=4`."""

    @classmethod
    def of(cls, ratios: Sequence[float], how: str) -> Timed:
        """From repeats, in any order."""
        ordered = sorted(ratios)
        inner = ordered[1:-1] if len(ordered) >= SURE else ordered
        middle = len(ordered) // 2
        median = (ordered[middle] + ordered[-middle - 1]) / 2
        return cls(median, inner[0], inner[-1], how)


class Clock(Protocol):
    """Where times come from: a stopwatch here, or the records of runs."""

    def ratio(self, design: Any, reference: Any, near: float | None = None) -> Timed:
        """A design's time over the reference's. Raises UserError where it can't be known.

        With `near`, what matters is the side of that ratio on which it lies, so fewer repeats may do.
        """

    def bounds(self, design: Any, field: str) -> tuple[int, int] | None:
        """The least and the largest d or C (`field`: width, cardinality) of designs like this one that it can time;
        None: any."""

    def about(self, reference: Any) -> dict[str, Any]:
        """What times are of: device, precision, threads, batch; `seconds`, the reference's own step."""


def time_of(clock: Clock, budget: Budget, design: Any, near: bool = False) -> Timed:
    """A design's time, over that of the budget's own design. Raises UserError where either can't be known."""
    if budget.of is None:
        raise UserError(
            f"match 'time' needs a budget that is a design to time; {budget.name!r} is numbers",
            remedy="Name a design or a multiple of it: resnet50, 0.5*resnet101.",
        )
    return clock.ratio(design, budget.of, budget.scale if near else None)


def time_error(timed: Timed, budget: Budget) -> float:
    """How far a time is from the budget's, relative: 0.05 is 5% slower."""
    return timed.ratio / budget.scale - 1
