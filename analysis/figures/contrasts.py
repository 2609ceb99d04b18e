"""What each contrast came to, side by side."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes

from analysis.figures.style import BARS, legend, names, rows
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.statistics import Contrast

LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "improves": ("improves", {"color": "#0173b2", "marker": "o"}),
    "worsens": ("worsens", {"color": "#d55e00", "marker": "s"}),
    "differs": ("differs", {"color": "#cc78bc", "marker": "^"}),
    "equivalent": ("equivalent", {"color": "#029e73", "marker": "D"}),
    "unresolved": ("unresolved", {"color": "#555555", "marker": "o", "mfc": "white"}),
    "none": ("no verdict", {"color": "#555555", "marker": "x"}),
}
"""By kind of verdict: the words in the legend, and the look."""


def contrasts(ax: Axes, finding: Finding) -> None:
    """Each contrast's difference with its simultaneous interval, in points; zero as a line, the margin as a band.

    Those against the baseline first, then the sweep's own.
    """
    found, shown = [*finding.comparison.contrasts, *finding.beyond], names(finding.panel)
    if margin := finding.comparison.margin:
        ax.axvspan(-margin, margin, color="#dddddd", lw=0, zorder=0.5, label=f"margin ±{margin:g}")
    ax.axvline(0, color="#444444", lw=0.7)
    places = rows(ax, [_called(contrast, finding, shown) for contrast in found])
    for kind, (words, look) in LOOKS.items():
        own = [(c.difference, y, _half(c)) for c, y in zip(found, places, strict=True) if _kind(c) == kind]
        if own:
            x, y, half = zip(*own, strict=True)
            ax.errorbar(x, y, xerr=half, ls="", label=words, **look, **BARS)
    ax.set(xlabel=f"{LABELS['difference'].name} ({LABELS['difference'].unit}; left: fewer errors)")
    legend(ax)


def _kind(contrast: Contrast) -> str:
    return contrast.kind if contrast.kind in LOOKS else "none"


def _half(contrast: Contrast) -> float:
    return contrast.high - contrast.difference if math.isfinite(contrast.high) else 0.0


def _called(contrast: Contrast, finding: Finding, shown: dict[str, str]) -> str:
    a, b = (shown.get(side, side) for side in (contrast.a, contrast.b))
    if contrast.b == finding.panel.baseline:
        return a
    return f"{a} − {b}" if len(a) + len(b) <= 16 and "\n" not in a + b else f"{a} −\n{b}"
