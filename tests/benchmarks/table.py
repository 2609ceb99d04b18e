"""The figures as files: a CSV for each benchmark, pair by pair, and one page with the ratios first."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from measure import Comparison, figure, spread

Results = dict[str, list[Comparison]]
FIELDS = ("what", "ours", "other", "unit", "pair", "ours_value", "other_value", "ratio")


def write_csv(path: Path, comparisons: list[Comparison]) -> None:
    """One row a pair."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for one in comparisons:
            for pair, (values, ratio) in enumerate(zip(one.pairs, one.ratios, strict=True)):
                measured = [f"{value:.6g}" for value in (*values, ratio)]
                writer.writerow([one.what, one.ours, one.other, one.unit, pair, *measured])


def page(results: Results, about: dict[str, str], notes: list[str]) -> str:
    """The table in Markdown."""
    every = [one for comparisons in results.values() for one in comparisons]
    parts = [
        "# Speeds, measured side by side",
        "Made by `make bench`, never edited by hand. Each row: both sides in turn (A B A B ...), in pairs. A cell is "
        "the median, with the lowest and the highest; ratios are taken pair by pair. All pairs: "
        + ", ".join(f"[{name}.csv]({name}.csv)" for name in results)
        + ".",
        "\n".join(f"- {key}: {value}" for key, value in about.items()),
        "\n".join(f"- note: {note}" for note in notes),
        "## Ours against another way",
        "Ratio: how many times faster ours is.",
        _rows(one for one in every if not one.floor),
        "## Whole commands",
        "Ratio: how many times the time of a Python process that does nothing.",
        _rows(one for one in every if one.floor),
        "## What is measured",
        _MEASURED,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(comparisons: Iterable[Comparison]) -> str:
    lines = ["| ratio | what | ours | the other way | pairs |", "|---|---|---|---|---|"]
    for one in comparisons:
        ratio = f"**{figure(median(one.ratios))}** ({figure(min(one.ratios))}–{figure(max(one.ratios))})"
        sides = [f"{name}: {spread(one.side(i))} {one.unit}" for i, name in enumerate((one.ours, one.other))]
        lines.append(f"| {ratio} | {one.what} | {' | '.join(sides)} | {len(one.pairs)} |")
    return "\n".join(lines)


_MEASURED = """\
- Counting: parameters and MACs of one design, from nothing. The counters build torchvision's network first (fvcore on
  real tensors: it fails on meta), with torch's own number of threads. All sides were checked to give the same integers.
- Training: arms of `sweeps/fashion_mnist.yaml` on all of Fashion-MNIST, its recipe and precision; ours through
  `ablation.train.Training`, as workers train. The plain loop has the same network (torchvision's blocks and batch norm;
  same state dict keys and shapes), batch size and augmentation, a constant learning rate, and reads loss and accuracy
  after each step as the reference script does. Each side is a process of its own; warm-up steps, reading data and
  building are not timed, fetching batches is.
- On two cores: images of all processes, from the first start to the last stop.
- Whole commands: wall time of a process from start to exit, files in the page cache.
- Collecting: synthetic run folders with logs as training writes them, files in the page cache. Ours checks each run's
  identity, data and precision, and gives the same numbers; pandas checks nothing. Cold: no cache, which is written."""
