"""The space of designs around a budget: every (blocks per stage, C, d), costed in chunks; its front; samples of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablation.budget import Budget
from ablation.cost import cost
from ablation.design import Design
from ablation.errors import UserError

Integers = NDArray[np.int64]
CHUNK = 1 << 18
"""Designs that are costed at once: some tens of MB."""
MOST = 2_000_000_000
LARGEST = (1 << 63) - 1
"""What a column of 64-bit integers holds."""
MEASURES = ("params", "macs", "activations")


@dataclass(frozen=True)
class Chunk:
    """Designs of a space, as columns of one length; widths are the first stage's d, doubled from stage to stage."""

    blocks: Integers
    """(stages, n)."""
    cardinality: Integers
    width: Integers
    params: Integers
    macs: Integers
    activations: Integers

    def __len__(self) -> int:
        return len(self.width)

    def take(self, rows: NDArray[Any]) -> Chunk:
        """Those designs: a mask or indices."""
        columns = {name: getattr(self, name)[rows] for name in ("cardinality", "width", *MEASURES)}
        return Chunk(blocks=self.blocks[:, rows], **columns)

    def designs(self, base: Design) -> list[Design]:
        """Each of them as a Design of the base's outputs and stem."""
        columns = zip(self.blocks.T.tolist(), self.cardinality.tolist(), self.width.tolist(), strict=True)
        return [
            replace(base, blocks=tuple(blocks), cardinality=paths).with_width(width) for blocks, paths, width in columns
        ]


def join(chunks: Sequence[Chunk]) -> Chunk:
    """Several chunks as one."""
    columns = {name: np.concatenate([getattr(c, name) for c in chunks]) for name in ("cardinality", "width", *MEASURES)}
    return Chunk(blocks=np.concatenate([chunk.blocks for chunk in chunks], axis=1), **columns)


@dataclass(frozen=True)
class Space:
    """All designs with these blocks per stage, cardinalities and widths, and the budget's own outputs and stem."""

    budget: Budget
    blocks: tuple[range, ...]
    cardinalities: tuple[int, ...]
    widths: range
    tolerance: float

    def __post_init__(self) -> None:
        stages = len(self.budget.base.blocks)
        if len(self.blocks) != stages:
            raise UserError(
                f"{len(self.blocks)} ranges of blocks for {stages} stages", remedy="Give one, or one a stage."
            )
        if len(set(self.cardinalities)) < len(self.cardinalities) or min(self.cardinalities, default=0) < 1:
            raise UserError(f"cardinalities must be different whole numbers of at least 1: {list(self.cardinalities)}")
        if any(not values or values.start < 1 for values in (*self.blocks, self.widths)):
            raise UserError("a range is empty, or begins below 1", remedy="Write it like 1-8.")
        self._check_integers()

    def _check_integers(self) -> None:
        """Costs grow with every coordinate; past 64 bits arrays would wrap round, silently."""
        most = cost(
            self.budget.base,
            blocks=[values[-1] for values in self.blocks],
            cardinality=max(self.cardinalities),
            widths=[self.widths[-1] << stage for stage in range(len(self.blocks))],
        )
        if max(most.params, most.macs, most.activations) > LARGEST:
            raise UserError(
                f"the largest design of this space has {most.macs:.3g} MACs, more than 64-bit integers count",
                remedy="Narrow --blocks, --cardinality or --widths.",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each coordinate takes: blocks of each stage, C, d."""
        return (*map(len, self.blocks), len(self.cardinalities), len(self.widths))

    @property
    def size(self) -> int:
        """How many designs there are."""
        return math.prod(self.shape)

    def chunk(self, start: int, stop: int) -> Chunk:
        """Designs `start` to `stop` in the order of the coordinates, costed."""
        *counts, paths, width = self._coordinates(np.arange(start, stop))
        blocks = np.stack([values.start + count for values, count in zip(self.blocks, counts, strict=True)])
        cardinality = np.asarray(self.cardinalities, dtype=np.int64)[paths]
        first = self.widths.start + width
        price = cost(
            self.budget.base,
            blocks=list(blocks),
            cardinality=cardinality,
            widths=[first << stage for stage in range(len(blocks))],
        )
        return Chunk(blocks, cardinality, first, *(getattr(price, measure) for measure in MEASURES))

    def _coordinates(self, rest: Integers) -> list[Integers]:
        """What np.unravel_index gives; that one refuses spaces of 2^63 designs, which still have to be timed."""
        found = []
        for count in reversed(self.shape):
            rest, own = np.divmod(rest, count)
            found.append(own)
        return found[::-1]

    def chunks(self, at_once: int = CHUNK) -> Iterator[Chunk]:
        """The whole space, a chunk at a time. Raises UserError where it is too large to go through."""
        if self.size > MOST:
            raise self._too_large()
        for start in range(0, self.size, at_once):
            yield self.chunk(start, min(start + at_once, self.size))

    def _too_large(self) -> UserError:
        start = time.perf_counter()
        count = len(self.chunk(0, CHUNK))
        hours = (time.perf_counter() - start) / count * self.size / 3600
        return UserError(
            f"the space has {self.size:.3g} designs: at the speed of this machine {hours:.3g} hours",
            remedy=f"Narrow --blocks, --cardinality or --widths to {MOST:,} designs.",
        )

    def inside(self, chunk: Chunk) -> NDArray[np.bool_]:
        """Which are within the tolerance of every one of parameters and MACs that the budget states."""
        keep = np.ones(len(chunk), bool)
        for measure in ("params", "macs"):
            target = getattr(self.budget, measure)
            if target is not None:
                keep &= np.abs(getattr(chunk, measure) - target) <= self.tolerance * target
        return keep


def front(chunk: Chunk) -> Chunk:
    """The Pareto front: designs that no other one beats or equals in parameters, MACs and activations at once.

    Of designs with equal costs the first stays.
    """
    costs = np.stack([getattr(chunk, measure) for measure in MEASURES], axis=1)
    left, found = np.lexsort(costs.T[::-1]), []
    while len(left):
        best = left[0]  # in lexical order none that is left can beat it
        found.append(best)
        left = left[(costs[left] < costs[best]).any(axis=1)]
    return chunk.take(np.asarray(sorted(found), dtype=np.int64))


class Sample:
    """Designs drawn evenly and without replacement from a stream of chunks, however it is cut; equal seeds agree."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self._random = count, np.random.default_rng(seed)
        self._keys = np.empty(0)
        self.chosen: Chunk | None = None

    def add(self, chunk: Chunk) -> None:
        """Let these designs take part: those with the smallest of random keys are chosen."""
        keys = np.concatenate([self._keys, self._random.random(len(chunk))])
        pool = chunk if self.chosen is None else join([self.chosen, chunk])
        order = np.argsort(keys, kind="stable")[: self.count]
        self._keys, self.chosen = keys[order], pool.take(order)


@dataclass
class Survey:
    """What one pass over a space found."""

    size: int
    inside: int
    front: Chunk
    """Of the designs inside the tolerance."""
    sample: Chunk | None


def survey(space: Space, sample: Sample | None = None, each: Any = None, at_once: int = CHUNK) -> Survey:
    """Go through a space once: count what is inside, keep its front, draw a sample.

    `each` is called with every chunk and a mask of what of it is inside.
    """
    best: Chunk | None = None
    inside = 0
    for chunk in space.chunks(at_once):
        mask = space.inside(chunk)
        found = chunk.take(mask)
        inside += len(found)
        best = front(found if best is None else join([best, found]))
        if sample:
            sample.add(found)
        if each:
            each(chunk, mask)
    assert best is not None
    return Survey(space.size, inside, best, sample.chosen if sample else None)
