"""What happens during training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ablation.sweep import Panel
from analysis.figures.style import legend, looks, names
from analysis.labels import LABELS
from analysis.statistics import estimate

FEW = 3
"""Arms whose curves can be told apart in one axes."""
MANY = 10
"""Epochs from which on the first ones are cut."""
FALL = 0.15
"""The share of the epochs, at the start, whose steep fall may be above the axes."""


def together(panel: Panel) -> list[list[str]]:
    """The panel's arms in groups of a few, the baseline in each of them."""
    others = [arm.name for arm in panel.arms if arm.name != panel.baseline]
    parts = max(1, -(-len(others) // (FEW - 1)))
    size = -(-len(others) // parts)
    return [[panel.baseline, *others[part * size : (part + 1) * size]] for part in range(parts)]


def learning_curves(
    ax: Axes, panel: Panel, epochs: pd.DataFrame, label: str, arms: Sequence[str] | None = None
) -> None:
    """Top-1 error against the epoch, as the paper's Figure 5: the mean over seeds in a band, its 95% t-interval.

    Test is drawn through, training dashed, thin and hollow. `arms`: those that are drawn, by default all; each has the
    look that it has in the panel's other figures.
    """
    own, shown = epochs[epochs["panel"] == panel.name], names(panel)
    for arm, look in zip(panel.arms, looks(len(panel.arms)), strict=True):
        if arms is None or arm.name in arms:
            rows, mark = own[own["arm"] == arm.name], {**look, "ms": 3.5}
            _curve(ax, rows, "train_error", {**mark, "ls": "--", "lw": 0.8, "mfc": "none"}, 0.08)
            _curve(ax, rows, "top1_error", {**mark, "label": shown[arm.name]}, 0.18)
    ax.plot([], [], "--", lw=0.8, color="#444444", label="training")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel=LABELS["epoch"].name, ylabel=f"{label} (%)")
    _below_the_fall(ax, own)
    legend(ax)


def _curve(ax: Axes, rows: pd.DataFrame, key: str, look: dict[str, Any], alpha: float) -> None:
    by_epoch = {int(str(epoch)): estimate(errors) for epoch, errors in rows.dropna(subset=[key]).groupby("epoch")[key]}
    if by_epoch:
        x, found = list(by_epoch), list(by_epoch.values())
        ax.plot(x, [one.mean for one in found], markevery=max(1, len(x) // 8), **look)
        low, high = [one.low for one in found], [one.high for one in found]  # NaN of one seed: no band
        ax.fill_between(x, low, high, color=look["color"], alpha=alpha, lw=0)


def _below_the_fall(ax: Axes, rows: pd.DataFrame) -> None:
    """Where there are many epochs the first ones would leave no room to see the last ones in."""
    last = rows["epoch"].max()
    late = rows[rows["epoch"] > FALL * last]
    if last >= MANY:
        values = late[["top1_error", "train_error"]].astype(float)
        least, most = values.min().min(), values.max().max()
        ax.set_ylim(least - 0.05 * (most - least), most + 0.02 * (most - least))
