"""How times grow with the number of runs: slopes, and a figure on logarithmic axes."""

from __future__ import annotations

import re
from statistics import median

import numpy as np
from matplotlib.ticker import FuncFormatter
from measure import Comparison

from analysis.figures import axes, style, to_svg
from analysis.figures.style import legend, looks

FAR = 1_000
"""Runs from which on a slope is taken: below, a command's start counts more than its runs."""
Line = dict[int, float]
"""Seconds by number of runs."""


def lines(comparisons: list[Comparison]) -> dict[str, Line]:
    """Seconds of our side, the median, by what was done and on how many runs (`collect, cold; 1,000 runs`)."""
    found: dict[str, Line] = {}
    for one in comparisons:
        what, runs = re.fullmatch(r"(.*); ([\d,]+) runs?", one.what).groups()
        found.setdefault(what, {})[int(runs.replace(",", ""))] = median(one.side(0))
        if "pandas" in one.other:
            found.setdefault(one.other, {})[int(runs.replace(",", ""))] = median(one.side(1))
    return found


def slope(line: Line) -> float:
    """Of log seconds over log runs, from `FAR` runs on: 1 where twice the runs take twice the time."""
    points = [(runs, seconds) for runs, seconds in sorted(line.items()) if runs >= FAR]
    if len(points) < 2:
        return float("nan")
    (few, fast), (many, slow) = points[0], points[-1]
    return float(np.log(slow / fast) / np.log(many / few))


def figure(comparisons: list[Comparison]) -> str:
    """As SVG: seconds against runs, a line for each thing done, its slope in the legend."""
    with style():
        figure, (ax,) = axes(1, height=3.6, columns=2)
        found = lines(comparisons)
        for (what, line), look in zip(found.items(), looks(len(found)), strict=True):
            runs, seconds = zip(*sorted(line.items()), strict=True)
            ax.plot(runs, seconds, label=f"{what.replace('`', '')}: {slope(line):.2f}", **look)
        ax.set(xscale="log", yscale="log", xlabel="runs of a sweep", ylabel="seconds")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        ax.set_title(f"Time against runs; slope from {FAR:,} runs on")
        legend(ax)
        return to_svg(figure)


def remark(comparisons: list[Comparison]) -> str:
    """The slopes in words."""
    slopes = ", ".join(f"{what} {slope(line):.2f}" for what, line in lines(comparisons).items())
    return (
        f"![Seconds against runs](growing.svg)\n\nSlopes from {FAR:,} to the most runs (1: twice the runs take twice "
        f"as long): {slopes}."
    )
