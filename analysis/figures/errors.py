"""Error against cardinality, and against what an arm costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from ablation.sweep import Arm, Panel
from analysis.collect import Study
from analysis.figures.style import BARS, LINES, called, legend, looks, names, rows
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.published import comparable
from analysis.statistics import Estimate, estimate

COSTS = ("params", "macs", "activations", "seconds")
"""What an arm's error is drawn against; seconds are measured, the others counted."""


def error_vs_cardinality(ax: Axes, found: Sequence[Finding], study: Study, metric: str, label: str) -> None:
    """Mean error with its t-interval, and every run as a dot, against C on a log2 axis; one line a panel.

    Published errors are hollow, and drawn only on data sets that the paper used.
    """
    for index, (finding, look) in enumerate(zip(found, looks(len(found)), strict=True)):
        beside = 2 ** (0.07 * (index - (len(found) - 1) / 2))  # panels do not hide each other
        _line(ax, finding, study, metric, {**look, "ls": LINES[index % len(LINES)]}, beside)
        _published(ax, finding.panel, metric, look, beside)
    _log2_ticks(ax, sorted({c for finding in found for c, _ in _by_cardinality(finding)}))
    ax.set(xlabel=LABELS["cardinality"].name, ylabel=f"{label} ({LABELS[metric].unit})")
    if len(found) > 1 or any(finding_published(f, metric) for f in found):
        legend(ax)


def _line(ax: Axes, finding: Finding, study: Study, metric: str, look: dict[str, Any], beside: float) -> None:
    points = _by_cardinality(finding)
    aside = beside * (points[-1][0] / points[0][0]) ** -0.03  # the mean would hide the runs
    for c, arm in points:
        errors = study.errors(finding.panel.name, arm, metric)
        ax.plot([c * aside] * len(errors), errors, ls="", marker="o", ms=2.6, mew=0, color="#333333", zorder=4)
    if len({c for c, _ in points}) < len(points):
        look = {**look, "ls": ""}  # two arms at one C have no line through them
    stats = [(c * beside, finding.comparison.estimates[arm]) for c, arm in points]
    means = [(c, found.mean, _half(found)) for c, found in stats if found.n]
    x, y, half = zip(*means, strict=True) if means else ((), (), ())
    ax.errorbar(x, y, half, label=called(finding.panel), **look, **BARS)


def _half(found: Estimate) -> float:
    """Half of the interval's width; none where one seed gives none."""
    return found.high - found.mean if found.n > 1 else 0.0


def _by_cardinality(finding: Finding) -> list[tuple[int, str]]:
    """(C, arm) of the arms that have a C, in its order."""
    found = [(arm.design.cardinality, arm.name) for arm in finding.panel.arms]
    return sorted((c, name) for c, name in found if c is not None)


def finding_published(finding: Finding, metric: str) -> bool:
    """Whether the paper's errors stand in the figure."""
    return bool(_stated(finding.panel, metric))


def _stated(panel: Panel, metric: str) -> list[tuple[Arm, float]]:
    """Arms with what is published of them; never of small twins, nor on data that the paper did not use."""
    known = [arm for arm in panel.arms if metric in arm.published and not arm.twin_of]
    return [(arm, arm.published[metric]) for arm in known] if comparable(panel.dataset.name) else []


def _published(ax: Axes, panel: Panel, metric: str, look: dict[str, Any], beside: float) -> None:
    hollow: dict[str, Any] = {**look, "mfc": "none", "ls": ":", "lw": 0.8, "label": f"{called(panel)}, published"}
    points = [(arm.design.cardinality, error) for arm, error in _stated(panel, metric)]
    known = sorted((c, error) for c, error in points if c is not None)
    if known:
        ax.plot([c * beside for c, _ in known], [error for _, error in known], **hollow)


def error_by_arm(ax: Axes, finding: Finding, study: Study, metric: str, label: str) -> None:
    """Mean error with its t-interval, every run as a dot, a row an arm: for arms that C does not tell apart.

    A grey line: the baseline's mean. Published errors are hollow, as in `error_vs_cardinality`.
    """
    panel, found, shown = finding.panel, finding.comparison.estimates, names(finding.panel)
    places = dict(zip(shown, rows(ax, list(shown.values())), strict=True))
    if found[panel.baseline].n:
        ax.axvline(found[panel.baseline].mean, color="#888888", lw=0.8, ls="--", zorder=1, label="the baseline's mean")
    for (name, y), look in zip(places.items(), looks(len(places)), strict=True):
        errors = study.errors(panel.name, name, metric)
        ax.plot(errors, [y + 0.32] * len(errors), ls="", marker="o", ms=2.6, mew=0, color="#333333", zorder=4)
        if found[name].n:
            ax.errorbar(found[name].mean, y, xerr=_half(found[name]), ls="", **look, **BARS)
    stated = [(error, places[arm.name]) for arm, error in _stated(panel, metric)]
    if stated:
        x, y_ = zip(*stated, strict=True)
        ax.plot(x, y_, ls="", marker="d", ms=6, mfc="none", mec="#444444", label="published")
    ax.set(xlabel=f"{label} ({LABELS[metric].unit})")
    legend(ax)


def _log2_ticks(ax: Axes, values: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(mpl.ticker.FixedLocator([float(value) for value in values]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_xlim(min(values) / 1.25, max(values) * 1.25)


def error_vs_cost(ax: Axes, finding: Finding, study: Study, metric: str, label: str, cost: str) -> None:
    """Error against one of `COSTS`, a point an arm, with t-intervals; grey: the Pareto front of the means."""
    points = {arm.name: _cost(finding, study, arm, cost) for arm in finding.panel.arms}
    errors = finding.comparison.estimates
    known = {name: point for name, point in points.items() if point is not None and errors[name].n}
    scale, title = LABELS[cost].axis(max((point.mean for point in known.values()), default=0.0))
    called_, look = names(finding.panel), dict(zip(points, looks(len(points)), strict=True))
    for name, point in known.items():
        bars: dict[str, Any] = {"yerr": _half(errors[name])} if errors[name].n > 1 else {}
        bars |= {"xerr": _half(point) / scale} if point.n > 1 else {}
        ax.errorbar(point.mean / scale, errors[name].mean, ls="", label=called_[name], **bars, **look[name], **BARS)
    _front(ax, [(point.mean / scale, errors[name].mean) for name, point in known.items()])
    ax.set(xlabel=title, ylabel=f"{label} ({LABELS[metric].unit})")
    ax.margins(0.08)
    ax.locator_params(axis="x", nbins=5)
    legend(ax)


def _cost(finding: Finding, study: Study, arm: Arm, cost: str) -> Estimate | None:
    """What an arm costs: measured over its runs, or counted; None where it is not known."""
    if cost == "seconds":
        seconds = study.of(finding.panel.name, arm.name)["seconds"].astype(float).dropna()
        return estimate(seconds) if len(seconds) else None
    counted = getattr(arm.cost, cost)
    return None if counted is None else Estimate(1, float(counted), math.nan, math.nan, math.nan)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other is at least as cheap and as good as, by cost."""
    best: list[tuple[float, float]] = []
    for cost, error in sorted(points):
        if not best or error < best[-1][1]:
            best.append((cost, error))
    return best


def _front(ax: Axes, points: Sequence[tuple[float, float]]) -> None:
    best = front(points)
    if len(points) > 1:
        x, y = [cost for cost, _ in best], [error for _, error in best]
        ax.plot(x, y, color="#888888", lw=1.0, drawstyle="steps-post", zorder=1.5)
        ring: dict[str, Any] = {"marker": "o", "ms": 8.5, "mfc": "none", "mec": "#888888", "ls": "", "zorder": 1.6}
        ax.plot(x, y, label="front of the means", **ring)
