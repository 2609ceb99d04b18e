"""A promise and what became of it over many simulated studies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

SD = 0.12
"""Points of error over seeds, in every simulation where nothing else is said."""
ARMS = ("base", "a", "b", "c", "d")


@dataclass(frozen=True)
class Promise:
    """A share of studies, and between which shares it has to lie; a row without bounds is shown, not promised."""

    part: str
    what: str
    found: float
    studies: int
    low: float = -math.inf
    high: float = math.inf

    @property
    def holds(self) -> bool:
        """Whether the share lies between the bounds, ends included."""
        return self.low <= self.found <= self.high

    @property
    def bounded(self) -> bool:
        """Whether anything was promised."""
        return not (math.isinf(self.low) and math.isinf(self.high))

    @property
    def promised(self) -> str:
        """The bounds in words."""
        low, high = (f"{bound:.1%}" for bound in (self.low, self.high))
        if not self.bounded:
            return "nothing"
        if math.isinf(self.low):
            return f"at most {high}"
        return f"at least {low}" if math.isinf(self.high) else f"{low} to {high}"

    @property
    def error(self) -> float:
        """Standard error of the share found, were studies independent."""
        return math.sqrt(max(self.found * (1 - self.found), 0) / self.studies)

    def __str__(self) -> str:
        return f"{self.part}: {self.what}: {self.found:.2%} (promised: {self.promised}; {self.studies:,} studies)"


def share(hits: Iterable[bool]) -> float:
    """Share of what is true."""
    return float(np.mean([bool(hit) for hit in hits]))


def studies_of(
    rng: np.random.Generator, studies: int, n: int, means: dict[str, float], sd: float = SD
) -> Iterator[dict[str, np.ndarray]]:
    """Studies of n seeds an arm, errors normal about `means`, in points."""
    for _ in range(studies):
        yield {name: rng.normal(mean, sd, n) for name, mean in means.items()}
