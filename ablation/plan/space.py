"""`plan --space`: the designs of a space inside a budget, counted, streamed to Parquet, drawn, sampled."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablation.budget import Budget
from ablation.command import print_json
from ablation.errors import UserError
from ablation.plan.parquet import to_table
from ablation.plan.table import contract, show
from ablation.solver import TOLERANCE, Rule, Solution, parse_share, solution
from ablation.space import Chunk, Sample, Space, Survey, join, survey

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
CARDINALITIES = (1, 2, 4, 8, 16, 32, 64)
DRAWN = 20_000
"""Designs in a figure: an even sample where there are more."""


@dataclass(frozen=True)
class Wanted:
    """What is to be done with a space."""

    out: Path | None
    whole: bool
    """Every design into `out`, not only those inside."""
    sample: int
    seed: int
    figure: Path | None
    as_json: bool
    rows_for: str | None
    """The option that needs the sampled rows, such as --write."""

    def __post_init__(self) -> None:
        if self.whole and not self.out:
            raise UserError("--all says what is written", remedy="Add --out FILE.parquet.")
        if self.rows_for and not self.sample:
            raise UserError(f"{self.rows_for} takes the designs that are drawn", remedy="Add --sample N.")
        if self.seed and not self.sample:
            raise UserError("--seed says which designs are drawn", remedy="Add --sample N.")
        if self.out and self.out == self.figure:
            raise UserError("--out and --figure name one file", remedy="Name two.")


def parse_range(text: str, option: str) -> range:
    """`1-8` or `4` as a range that holds its ends. Raises UserError."""
    found = _RANGE.fullmatch(text.strip())
    if not found:
        raise UserError(f"{option} {text!r} is not a range", remedy="Write it like 1-8, or one number.")
    low, high = int(found[1]), int(found[2] or found[1])
    if not 1 <= low <= high:
        raise UserError(f"{option} {text!r} must begin at 1 or above and not end before", remedy="Write it like 1-8.")
    return range(low, high + 1)


def space_of(
    budget: Budget, blocks: Sequence[str], cardinality: Sequence[int] | None, widths: str | None, tolerance: str | None
) -> Space:
    """The space that the options mean; by default up to twice the base's blocks and d up to twice a ResNet's."""
    stages = budget.base.blocks
    spans = [parse_range(text, "--blocks") for text in blocks] or [range(1, 2 * count + 1) for count in stages]
    spans = spans * len(stages) if len(spans) == 1 else spans
    wide = parse_range(widths, "--widths") if widths is not None else range(1, budget.base.outputs[0] // 2 + 1)
    within = parse_share(tolerance, "--tolerance") if tolerance else TOLERANCE
    return Space(budget, tuple(spans), tuple(cardinality or CARDINALITIES), wide, within)


LADDERS_OWN = (
    "axis", "width", "scale", "match", "tight", "proof", "multiple", "batch", "times", "precision", "threads", "seeds",
    "resolve", "pilots", "within", "memory",
)  # fmt: skip


def refuse_ladder_options(given: Sequence[str]) -> None:
    """Raise UserError for those of `LADDERS_OWN` that were given: no option is ignored in silence."""
    if given:
        remedy = "A space has --blocks, --cardinality, --widths and --tolerance (on parameters and MACs at once)."
        raise UserError(f"{', '.join(f'--{name}' for name in given)} can't go with --space", remedy=remedy)


def explore(space: Space, wanted: Wanted) -> list[Solution]:
    """Go through the space and say what is there; the sampled designs, as rows like a ladder's.

    What can't all be done is refused before any file is kept.
    """
    rule = Rule.of(space.budget, _match(space.budget), space.tolerance)
    start = time.perf_counter()
    sample = Sample(wanted.sample, wanted.seed) if wanted.sample else None
    drawn = Sample(DRAWN, 0) if wanted.figure else None
    with _writing(wanted.out) if wanted.out else nullcontext() as beside:
        found = _pass(space, sample, drawn, beside, wanted.whole)
        seconds = time.perf_counter() - start
        if wanted.sample > found.inside:
            raise UserError(
                f"{found.inside:,} designs are inside the tolerance: {wanted.sample:,} can't be drawn",
                remedy="Draw fewer, or widen --blocks, --cardinality, --widths or --tolerance.",
            )
        if wanted.figure and drawn and drawn.chosen is not None:
            _draw(wanted.figure, space, drawn.chosen, found.front)
    chosen = found.sample.designs(space.budget.base) if found.sample is not None else []
    rows = [solution(space.budget, design, rule) for design in chosen]
    (_print_json if wanted.as_json else _print)(space, found, rule, rows, seconds)
    return rows


def _match(budget: Budget) -> str:
    stated = [measure for measure in ("params", "macs") if getattr(budget, measure) is not None]
    return "both" if len(stated) == 2 else stated[0] if stated else "both"


def _pass(space: Space, sample: Sample | None, drawn: Sample | None, out: Path | None, whole: bool) -> Survey:
    def draw(chunk: Chunk, mask: NDArray[np.bool_]) -> None:
        if drawn:
            drawn.add(chunk.take(mask))

    if out is None:
        return survey(space, sample, draw)
    import pyarrow.parquet as pq

    def keep(chunk: Chunk, mask: NDArray[np.bool_]) -> None:
        draw(chunk, mask)
        writer.write_table(to_table(space, chunk, mask) if whole else to_table(space, chunk.take(mask), True))

    with pq.ParquetWriter(out, to_table(space, space.chunk(0, 0), True).schema) as writer:
        return survey(space, sample, keep)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when all is written. Raises UserError where that can't be."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    new = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # before the work, not after it
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield beside
        beside.replace(path)
    except OSError as error:
        raise UserError(f"can't be written: {error.strerror or error}", where=str(path)) from None
    finally:
        with suppress(OSError):
            beside.unlink()
        for folder in new:
            with suppress(OSError):  # it holds the file
                folder.rmdir()


_MATCHED = {"both": "parameters and MACs", "params": "parameters", "macs": "MACs"}
_FRONT = """\
The front: none of these {} is beaten in parameters, MACs and activations at once. Less counts as better in each, so the
front lies at the tolerance's lower edge by construction: it holds the cheapest designs inside, not the best ones."""


def _print(space: Space, found: Survey, rule: Rule, rows: list[Solution], seconds: float) -> None:
    within = f"{space.tolerance * 100:.4g}%"
    print(
        f"{found.size:,} designs, {found.inside:,} of them within {within} of the budget {space.budget.name} ", end=""
    )
    print(f"in {_MATCHED[rule.match]} ({seconds:.2f} s)")
    if not found.inside:
        print("Nothing is inside: widen --blocks, --cardinality, --widths or --tolerance.")
    best = [solution(space.budget, design, rule) for design in found.front.designs(space.budget.base)]
    if best:
        print(_FRONT.format(len(best)))
        show(space.budget, rule, sorted(best, key=lambda row: row.cost.params)[:20])
    if len(best) > 20:
        print(f"(the 20 with the fewest parameters, of {len(best)}; --json has all)")
    if rows:
        print(f"{len(rows)} drawn evenly from those inside:")
        show(space.budget, rule, rows)


def _print_json(space: Space, found: Survey, rule: Rule, rows: list[Solution], seconds: float) -> None:
    best = [solution(space.budget, design, rule) for design in found.front.designs(space.budget.base)]

    def designs(of: list[Solution]) -> list[dict[str, Any]]:
        listed = contract(space.budget, rule, of)["designs"]
        return [entry | {"blocks": list(row.design.blocks)} for entry, row in zip(listed, of, strict=True)]

    whole = contract(space.budget, rule, [])
    counts = {"size": found.size, "inside": found.inside, "seconds": round(seconds, 3)}
    print_json({**whole, "designs": designs(rows), "space": counts, "front": designs(best)})


def _draw(path: Path, space: Space, chosen: Chunk, best: Chunk) -> None:
    """Draw designs inside the tolerance, and the front among them, into an SVG file."""
    import pandas as pd

    from analysis.figures import axes, design_space, style, to_svg

    both = join([chosen, best])
    frame = pd.DataFrame({name: getattr(both, name) for name in ("cardinality", "params", "macs", "activations")})
    frame["front"] = np.arange(len(both)) >= len(chosen)
    with style():
        figure, (ax,) = axes(1)
        design_space(ax, frame, space.budget.params, space.budget.macs)
        text = to_svg(figure)
    with _writing(path) as beside:
        beside.write_text(text)
