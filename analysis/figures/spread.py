"""Distributions: errors of many designs of one cardinality, and where arms differ class by class."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import LINES, colours, legend, looks, names
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.statistics import edf_band

FEW = 20
"""Classes that can be named beside an axis."""
SHORT = 14
"""Letters of a name, two of which fit beside each other below an axis."""


def error_distributions(ax: Axes, groups: dict[str, list[float]], label: str) -> None:
    """The share of designs at or below each error, one step curve a cardinality, with a 95% band for the whole curve.

    After "On Network Design Spaces" (Radosavovic et al. 2019), whose populations these are.
    """
    for index, ((name, errors), colour) in enumerate(zip(groups.items(), colours(len(groups)), strict=True)):
        x, low, high = edf_band(errors)
        share = np.arange(1, len(x) + 1) / len(x)
        ax.step(x, share, where="post", color=colour, ls=LINES[index % len(LINES)], label=f"{name} ({len(x)} designs)")
        ax.fill_between(x, low, high, step="post", color=colour, alpha=0.15, lw=0)
    ax.set(xlabel=f"{label} (%)", ylabel="share of designs at or below", ylim=(0, 1.02))
    legend(ax)


def class_differences(ax: Axes, frame: pd.DataFrame, finding: Finding) -> None:
    """Each arm's difference to the baseline over each class, in points; with many classes, sorted, one line an arm."""
    shown = names(finding.panel)
    arms = [arm.name for arm in finding.panel.arms]
    own = [arm for arm in arms if arm in set(frame["arm"])]
    styles = dict(zip(arms, looks(len(arms)), strict=True))
    ax.axhline(0, color="#444444", lw=0.7)
    few = frame["number"].nunique() <= FEW
    for index, arm in enumerate(own):
        rows = frame[frame["arm"] == arm].sort_values("number" if few else "difference")
        x = np.arange(len(rows)) + (0.12 * (index - (len(own) - 1) / 2) if few else 0)
        look = {**styles[arm], "label": shown[arm].replace("\n", " ")}
        if few:
            half = (rows["high"] - rows["low"]) / 2
            ax.errorbar(x, rows["difference"], half.fillna(0), ls="", ms=3, elinewidth=0.7, **look)
        else:
            ax.plot(x, rows["difference"], ls=LINES[index % len(LINES)], **{**look, "marker": ""})
    if few:
        first = frame[frame["arm"] == own[0]].sort_values("number")
        ax.set_xticks(range(len(first)), list(first["name"]), rotation=40, ha="right")
        ax.set_ylabel(f"{LABELS['difference'].name} ({LABELS['difference'].unit})")
        columns = 2 if max(len(shown[arm]) for arm in own) <= SHORT else 1
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.3), ncols=columns, columnspacing=1.2)
        return
    ax.set(xlabel="classes, sorted for each arm", ylabel=f"{LABELS['difference'].name} ({LABELS['difference'].unit})")
    legend(ax)
