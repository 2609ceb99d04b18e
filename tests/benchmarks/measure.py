"""Two ways of doing one thing, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Pair = tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Ours against another way, in pairs that ran one after the other."""

    what: str
    ours: str
    """What our side is."""
    other: str
    unit: str
    pairs: list[Pair]
    more_is_better: bool = False
    floor: bool = False
    """The other side is no rival: it does nothing, and nothing can be faster."""

    @property
    def ratios(self) -> list[float]:
        """Pair by pair, how many times faster ours is; against a floor, how many times its figure ours is."""
        upright = self.more_is_better or self.floor
        return [ours / other if upright else other / ours for ours, other in self.pairs]

    def side(self, index: int) -> list[float]:
        """All figures of one side: 0 is ours."""
        return [pair[index] for pair in self.pairs]


def alternate(ours: Callable[[], float], other: Callable[[], float], repeats: int) -> list[Pair]:
    """A B A B ..., so that what the machine does meanwhile strikes both sides."""
    return [(ours(), other()) for _ in range(repeats)]


def seconds(function: Callable[[], object], times: int = 1) -> float:
    """Wall time of one call, the mean over `times` calls."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times


def figure(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def spread(values: list[float]) -> str:
    """`median (lowest–highest)`."""
    return f"{figure(median(values))} ({figure(min(values))}–{figure(max(values))})"


def line(comparison: Comparison) -> str:
    """A comparison as the terminal shows it."""
    against = "times the floor" if comparison.floor else "times faster"
    pairs = ", ".join(figure(ratio) for ratio in comparison.ratios)
    return (
        f"{comparison.what}: {figure(median(comparison.ratios))} {against} [{pairs}]\n"
        f"    {comparison.ours}: {spread(comparison.side(0))} {comparison.unit}\n"
        f"    {comparison.other}: {spread(comparison.side(1))} {comparison.unit}"
    )
