"""Figures from frames and findings: each function draws into the Axes it is given; intervals are always given, t.

Arms keep one colour, marker and line style in every figure of a panel, so that they can be told apart in grey too.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from ablation.sweep import Panel, Sweep
from analysis.collect import Study
from analysis.findings import Finding
from analysis.published import comparable
from analysis.statistics import estimate
from analysis.tables import ladder_frame
from analysis.verdict import METRICS, join

COLUMN, PAGE = 3.35, 6.9
"""Widths of a half and of a full text column, in inches: figures are drawn at the size they are printed at."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
BARS: dict[str, Any] = {"capsize": 2.5, "elinewidth": 0.9, "capthick": 0.9}
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlelocation": "left",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # names may hold dollars
    "svg.fonttype": "path",
    "svg.hashsalt": "ablation",
    "figure.constrained_layout.use": True,
}


@contextmanager
def style() -> Iterator[None]:
    """The toolkit's look, for figures made inside."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def axes(count: int, *, height: float = 2.75) -> tuple[Figure, list[Axes]]:
    """A figure of `count` axes, one in a half column or two a row on a full one; `height` of a row in inches."""
    columns, rows = min(count, 2), (count + 1) // 2
    figure = Figure(figsize=(COLUMN if count == 1 else PAGE, rows * height))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in grid[count:]:
        spare.remove()
    return figure, grid[:count]


def to_svg(figure: Figure) -> str:
    """The same bytes for the same figure: no date, no random ids, text as outlines."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(line.rstrip() + "\n" for line in file.getvalue().splitlines())


def draw(sweep: Sweep, study: Study, found: Sequence[Finding]) -> dict[str, Figure]:
    """Every figure of a report, by name."""
    metric, panels = sweep.evidence.metric, sweep.panels
    label = f"{join(sorted({panel.dataset.evaluate for panel in panels}))} {METRICS[metric]}"
    lines = max(sum(text.count("\n") + 1 for text in labels(panel).values()) for panel in panels)
    height = 2.75 + 0.075 * max(0, lines - 6)  # legends of two columns
    names = ("error_vs_time", "learning_curves", "ladder_residuals")
    figures = {name: axes(len(panels), height=height) for name in names}
    for index, finding in enumerate(found):
        error_vs_time(figures["error_vs_time"][1][index], finding, study, metric, label)
        learning_curves(figures["learning_curves"][1][index], finding.panel, study.epochs, "top-1 error")
        ladder_residuals(figures["ladder_residuals"][1][index], ladder_frame(finding.panel), labels(finding.panel))
    if counted := [finding for finding in found if has_cardinality(finding)]:
        figures["error_vs_cardinality"] = axes(1, height=height if len(panels) == 1 else 2.75)
        error_vs_cardinality(figures["error_vs_cardinality"][1][0], counted, study, metric, label)
    return {name: _titled(name, figure, own, panels) for name, (figure, own) in figures.items()}


def has_cardinality(finding: Finding) -> bool:
    """Whether any arm has a C; a family's networks have none."""
    return any(arm.design.cardinality for arm in finding.panel.arms)


def _titled(name: str, figure: Figure, own: list[Axes], panels: Sequence[Panel]) -> Figure:
    title = name.replace("_", " ").replace(" vs ", " against ").capitalize()
    for ax, panel in zip(own, panels, strict=False):
        ax.set_title(title if len(own) == 1 else called(panel), pad=18 if name == "ladder_residuals" else None)
    return figure


def colours(count: int) -> list[Any]:
    """Colours that colour-blind people tell apart; they come round again after ten."""
    palette = sns.color_palette("colorblind")
    return [palette[index % len(palette)] for index in range(count)]


def error_vs_cardinality(ax: Axes, found: Sequence[Finding], study: Study, metric: str, label: str) -> None:
    """Mean error with its t-interval, and every run as a dot, against C on a log2 axis; one line a panel.

    Published errors are hollow, and drawn only on data sets that the paper used.
    """
    for index, (finding, colour) in enumerate(zip(found, colours(len(found)), strict=True)):
        points = _by_cardinality(finding, study, metric)
        mark: dict[str, Any] = {"color": colour, "marker": MARKERS[index % len(MARKERS)]}
        single = len({c for c, _ in points}) == len(points)  # two arms at one C have no line through them
        line: dict[str, Any] = {
            "ls": LINES[index % len(LINES)] if single else "",
            "label": called(finding.panel),
            **mark,
            **BARS,
        }
        aside = (points[-1][0] / points[0][0]) ** -0.03  # the mean would hide the runs
        for c, values in points:
            ax.plot([c * aside] * len(values), values, ls="", marker="o", ms=2.6, mew=0, color="#333333", zorder=4)
        stats = [(c, estimate(values)) for c, values in points if values]
        half = [arm.high - arm.mean if arm.n > 1 else 0.0 for _, arm in stats]
        ax.errorbar([c for c, _ in stats], [arm.mean for _, arm in stats], half, **line)
        _published(ax, finding.panel, metric, mark)
    cardinalities = sorted({c for finding in found for c, _ in _by_cardinality(finding, study, metric)})
    _log2_ticks(ax, cardinalities)
    ax.set(xlabel="cardinality C", ylabel=f"{label} (%)")
    if len(found) > 1 or any(finding_published(f, metric) for f in found):
        _legend(ax)


def _legend(ax: Axes) -> None:
    """Below the axes, where it hides nothing: a fixed way down, however high the axes are."""
    texts = ax.get_legend_handles_labels()[1]
    if texts:
        columns = 3 if max(map(len, texts)) <= 12 else 2
        below = ax.transAxes + ScaledTranslation(0, -31 / 72, ax.figure.dpi_scale_trans)
        ax.legend(loc="upper center", bbox_to_anchor=(0.45, 0), bbox_transform=below, ncols=columns, columnspacing=1.2)


def _by_cardinality(finding: Finding, study: Study, metric: str) -> list[tuple[int, list[float]]]:
    found = [(arm.design.cardinality, study.errors(finding.panel.name, arm.name, metric)) for arm in finding.panel.arms]
    return sorted(((c, errors) for c, errors in found if c is not None), key=lambda point: point[0])


def finding_published(finding: Finding, metric: str) -> bool:
    """Whether the paper's errors stand in the figure."""
    return comparable(finding.panel.dataset.name) and any(metric in arm.published for arm in finding.panel.arms)


def _published(ax: Axes, panel: Panel, metric: str, mark: dict[str, Any]) -> None:
    if not comparable(panel.dataset.name):
        return
    hollow: dict[str, Any] = {**mark, "mfc": "none", "ls": ":", "lw": 0.8, "label": f"{called(panel)}, published"}
    points = [(arm.design.cardinality, arm.published[metric]) for arm in panel.arms if metric in arm.published]
    known = sorted((c, error) for c, error in points if c is not None)
    if known:
        ax.plot([c for c, _ in known], [error for _, error in known], **hollow)


def labels(panel: Panel) -> dict[str, str]:
    """What each arm is called in a figure: `4x24d` where all are of one depth, else its name; several lines if long."""
    found = {arm.name: re.fullmatch(r"resnex?t(\d+)_(.+)", arm.name) for arm in panel.arms}
    one_depth = len({match and match[1] for match in found.values()}) == 1
    shown = {name: match[2] if match and one_depth else name for name, match in found.items()}
    return {name: label if len(label) <= 18 else _lines(label) for name, label in shown.items()}


def _lines(label: str) -> str:
    lines = [line for part in re.split(r"[_ ]", label) for line in textwrap.wrap(part, 18)]
    return "\n".join(lines if len(lines) <= 6 else [*lines[:4], "…", lines[-1]])


def called(panel: Panel) -> str:
    """The panel's name, cut where a figure has no room for it."""
    return panel.name if len(panel.name) <= 40 else panel.name[:39] + "…"


def _log2_ticks(ax: Axes, values: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(mpl.ticker.FixedLocator([float(value) for value in values]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlim(min(values) / 1.25, max(values) * 1.25)


def learning_curves(ax: Axes, panel: Panel, epochs: pd.DataFrame, label: str) -> None:
    """Top-1 error against the epoch, a line an arm: the mean over seeds, in a band from the least to the greatest.

    Test is drawn through, training dashed and thin.
    """
    own, names = epochs[epochs["panel"] == panel.name], labels(panel)
    for index, (arm, colour) in enumerate(zip(panel.arms, colours(len(panel.arms)), strict=True)):
        rows = own[own["arm"] == arm.name]
        mark: dict[str, Any] = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "ms": 3.5}
        _curve(ax, rows, "train_error", {**mark, "ls": "--", "lw": 0.8, "mfc": "none"}, 0.06)
        _curve(ax, rows, "top1_error", {**mark, "label": names[arm.name]}, 0.15)
    ax.plot([], [], "--", lw=0.8, color="#444444", label="training")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=f"{label} (%)")
    _legend(ax)


def _curve(ax: Axes, rows: pd.DataFrame, key: str, look: dict[str, Any], alpha: float) -> None:
    by_epoch = rows.dropna(subset=[key]).groupby("epoch")[key]
    mean = by_epoch.mean()
    if len(mean):
        ax.plot(mean.index, mean, markevery=max(1, len(mean) // 8), **look)
        ax.fill_between(mean.index, by_epoch.min(), by_epoch.max(), color=look["color"], alpha=alpha, lw=0)


def error_vs_time(ax: Axes, finding: Finding, study: Study, metric: str, label: str) -> None:
    """Error against the measured wall time of a run, a point an arm, both with t-intervals."""
    rows = study.runs[study.runs["panel"] == finding.panel.name]
    scale, unit = time_unit(rows["seconds"].max() if len(rows) else 0.0)
    names = labels(finding.panel)
    for index, (arm, colour) in enumerate(zip(finding.panel.arms, colours(len(finding.panel.arms)), strict=True)):
        own = rows[rows["arm"] == arm.name]
        if own.empty:
            continue
        x, y = estimate(own["seconds"] / scale), estimate(own[metric])
        look: dict[str, Any] = {
            "marker": MARKERS[index % len(MARKERS)],
            "color": colour,
            "label": names[arm.name],
            **BARS,
        }
        bars: dict[str, Any] = {"xerr": x.high - x.mean, "yerr": y.high - y.mean} if x.n > 1 else {}
        ax.errorbar(x.mean, y.mean, ls="", **bars, **look)
    ax.set(xlabel=f"wall time of a run ({unit})", ylabel=f"{label} (%)")
    ax.margins(0.08)
    _legend(ax)


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds in the unit that suits them, and its name."""
    for scale, unit in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 3 * scale:
            return scale, unit
    return 1.0, "seconds"


def design_space(ax: Axes, designs: pd.DataFrame, params: int | None, macs: int | None) -> None:
    """Designs of a space by parameters and MACs, coloured by cardinality; the front ringed, the budget dashed lines.

    `designs` has a row a design: cardinality, params, macs, and front (bool). A target of None has no line.
    """
    inside, best = designs[~designs["front"]], designs[designs["front"]]
    across, up = (count_unit(max(designs[name].max(), own or 0)) for name, own in (("params", params), ("macs", macs)))
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
    ax.set(xlabel=f"parameters ({across[1]})", ylabel=f"MACs ({up[1]})")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1.4)


def count_unit(largest: float) -> tuple[float, str]:
    """A number's unit, such that at least one digit stands before the point, and its name."""
    units = ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))
    return next((unit for unit in units if largest >= unit[0]), (1.0, "count"))


RESIDUALS = {
    "params_error": "parameters",
    "macs_error": "MACs",
    "activations_error": "activations",
    "time_error": "time",
}


def ladder_residuals(ax: Axes, ladder: pd.DataFrame, names: dict[str, str]) -> None:
    """How far each arm is from the budget in parameters, MACs and activations, percent; in time where that is there."""
    found = [(key, label) for key, label in RESIDUALS.items() if key in ladder]
    y = np.arange(len(ladder))
    for index, ((key, label), colour) in enumerate(zip(found, colours(len(found)), strict=True)):
        ax.plot(
            100 * ladder[key].astype(float),
            y + 0.2 * (index - (len(found) - 1) / 2),
            ls="",
            marker=MARKERS[index],
            color=colour,
            label=label,
        )
    ax.axvline(0, color="#444444", lw=0.7)
    ax.set_yticks(y, [names.get(arm, arm) for arm in ladder["arm"]])
    ax.set_ylim(len(ladder) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set(xlabel="distance from the budget (%)")
    ax.legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=len(found), columnspacing=1.0, handletextpad=0.2)
