"""What happens during training."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ablation.sweep import Panel
from analysis.figures.style import legend, looks, names
from analysis.labels import LABELS


def learning_curves(ax: Axes, panel: Panel, epochs: pd.DataFrame, label: str) -> None:
    """Top-1 error against the epoch, a line an arm: the mean over seeds, in a band from the least to the greatest.

    Test is drawn through, training dashed and thin.
    """
    own, shown = epochs[epochs["panel"] == panel.name], names(panel)
    for arm, look in zip(panel.arms, looks(len(panel.arms)), strict=True):
        rows, mark = own[own["arm"] == arm.name], {**look, "ms": 3.5}
        _curve(ax, rows, "train_error", {**mark, "ls": "--", "lw": 0.8, "mfc": "none"}, 0.06)
        _curve(ax, rows, "top1_error", {**mark, "label": shown[arm.name]}, 0.15)
    ax.plot([], [], "--", lw=0.8, color="#444444", label="training")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel=LABELS["epoch"].name, ylabel=f"{label} (%)")
    legend(ax)


def _curve(ax: Axes, rows: pd.DataFrame, key: str, look: dict[str, Any], alpha: float) -> None:
    by_epoch = rows.dropna(subset=[key]).groupby("epoch")[key]
    mean = by_epoch.mean()
    if len(mean):
        ax.plot(mean.index, mean, markevery=max(1, len(mean) // 8), **look)
        ax.fill_between(mean.index, by_epoch.min(), by_epoch.max(), color=look["color"], alpha=alpha, lw=0)
