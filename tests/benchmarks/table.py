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


def page(results: Results, about: dict[str, str], notes: list[str], said: list[str]) -> str:
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
        "## What follows",
        *said,
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
- Counting: parameters and MACs of one design, from nothing. The counters build torchvision's network first (fvcore,
  thop, ptflops on real tensors), with torch's own number of threads. How far off each is stands in its row; that the
  others give the same integers was checked. Training FLOPs: two for a MAC, three passes less the images' own gradient.
- Training: arms of `sweeps/fashion_mnist.yaml` on all of Fashion-MNIST, its recipe and precision; ours through
  `ablation.train.Training`, as workers train. The plain loop has the same network (torchvision's blocks and batch norm;
  same parameters by name and shape), batch size and augmentation, a constant learning rate, and reads loss and accuracy
  after each step as the reference script does. Each side is a process of its own; warm-up steps, reading data and
  building are not timed, fetching batches is. `resnext50_32x4d`: the network that torchvision and timm have by that
  name (timm's: same parameters by shape), for one channel and ten classes.
- One run: reading the images, building, every epoch and its test included, imports not; the plain loop has the
  recipe's learning rates and the better of 0 and 2 loader workers.
- A sweep: ours from the command's start to its end, imports, evaluation and files included; the plain loop in
  proportion from part of a run of each arm, without imports.
- On two cores: images of all processes, from the first start to the last stop.
- Loading: from the first batch's arrival to the last's, one worker process and the process that asks, a core each; ours
  as a run on the CPU gets its batches. Files are in the page cache.
- Whole commands: wall time of a process from start to exit, files in the page cache.
- Drawing: into Axes and to SVG, both from the same frames. seaborn's intervals are bootstraps, ours t-intervals.
- Growing: synthetic run folders with logs as training writes them, files in the page cache. Collecting checks each
  run's identity, data and precision, and gives the same numbers; pandas checks nothing. Cold: no cache, which is
  written."""
