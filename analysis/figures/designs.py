"""Designs before any run: the space around a budget, and how far a ladder's arms are from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from analysis.figures.style import MARKERS, colours, rows
from analysis.labels import LABELS

RESIDUALS = ("params", "macs", "activations", "time")


def design_space(ax: Axes, designs: pd.DataFrame, params: int | None, macs: int | None) -> None:
    """Designs of a space by parameters and MACs, coloured by cardinality; the front ringed, the budget dashed lines.

    `designs` has a row a design: cardinality, params, macs, and front (bool). A target of None has no line.
    """
    inside, best = designs[~designs["front"]], designs[designs["front"]]
    targets = {"params": params, "macs": macs}
    across, up = (LABELS[key].axis(max(designs[key].max(), own or 0)) for key, own in targets.items())
    levels = sorted(designs["cardinality"].unique())
    for level, colour in zip(levels, sns.color_palette("viridis", len(levels)), strict=True):
        own = inside[inside["cardinality"] == level]
        x, y = own["params"] / across[0], own["macs"] / up[0]
        ax.scatter(x, y, s=2, color=colour, linewidths=0, label=f"C = {level}")
    ring: dict[str, Any] = {"s": 16, "facecolors": "none", "edgecolors": "black", "linewidths": 0.7}
    ax.scatter(best["params"] / across[0], best["macs"] / up[0], **ring, label="front")
    line: dict[str, Any] = {"color": "black", "lw": 0.8, "ls": "--", "zorder": 0.9}
    if params is not None:
        ax.axvline(params / across[0], **line, label="budget")
    if macs is not None:
        ax.axhline(macs / up[0], **line, label="budget" if params is None else None)
    ax.set(xlabel=across[1], ylabel=up[1])
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1.4)


def ladder_residuals(ax: Axes, ladder: pd.DataFrame, names: dict[str, str]) -> None:
    """How far each arm is from the budget in parameters, MACs and activations, percent; in time where that is there."""
    found = [(f"{key}_error", LABELS[key].name) for key in RESIDUALS if _known(ladder, f"{key}_error")]
    y = np.array(rows(ax, [names.get(arm, arm) for arm in ladder["arm"]]))
    for index, ((key, label), colour) in enumerate(zip(found, colours(len(found)), strict=True)):
        ax.plot(
            100 * ladder[key].astype(float),
            y + 0.3 * (index - (len(found) - 1) / 2),
            ls="",
            marker=MARKERS[index],
            color=colour,
            label=label,
        )
    ax.axvline(0, color="#444444", lw=0.7)
    ax.set(xlabel="distance from the budget (%)")
    ax.legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=len(found), columnspacing=1.0, handletextpad=0.2)


def _known(ladder: pd.DataFrame, key: str) -> bool:
    return key in ladder and bool(ladder[key].notna().any())
