"""Figures from frames and findings: each function draws into the Axes it is given; intervals are always given, t.

Arms keep one colour and marker in every figure of a panel, so that they can be told apart in grey too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablation.sweep import Sweep
from analysis.collect import Study
from analysis.figures.contrasts import contrasts
from analysis.figures.designs import design_space, ladder_residuals
from analysis.figures.errors import COSTS, error_vs_cardinality, error_vs_cost
from analysis.figures.style import axes, called, height, names, style, to_png, to_svg
from analysis.figures.training import learning_curves
from analysis.findings import Finding
from analysis.labels import LABELS
from analysis.tables import ladder_frame
from analysis.verdict import join

__all__ = [
    "FIGURES",
    "applicable",
    "axes",
    "contrasts",
    "design_space",
    "draw",
    "error_vs_cardinality",
    "error_vs_cost",
    "ladder_residuals",
    "learning_curves",
    "style",
    "to_png",
    "to_svg",
]


@dataclass(frozen=True)
class Scene:
    """What a figure is drawn from."""

    sweep: Sweep
    study: Study
    found: Sequence[Finding]

    @property
    def metric(self) -> str:
        """The key of the sweep's error."""
        return self.sweep.evidence.metric

    @property
    def label(self) -> str:
        """What the error is called: `test top-1 error`."""
        evaluations = sorted({panel.dataset.evaluate for panel in self.sweep.panels})
        return f"{join(evaluations)} {LABELS[self.metric].name}"


@dataclass(frozen=True)
class Plot:
    """One figure of a report."""

    title: str
    draw: Callable[[Axes, Finding, Scene], None]
    """Draws a panel; where `whole`, the first panel stands for all."""
    applies: Callable[[Finding], bool] = lambda finding: True
    """Whether a panel has anything to show in it."""
    whole: bool = False
    """All panels in one axes."""


def has_cardinality(finding: Finding) -> bool:
    """Whether any arm has a C; a family's networks have none."""
    return any(arm.design.cardinality for arm in finding.panel.arms)


def _cardinality(ax: Axes, finding: Finding, scene: Scene) -> None:
    counted = [found for found in scene.found if has_cardinality(found)]
    error_vs_cardinality(ax, counted, scene.study, scene.metric, scene.label)


def _cost(ax: Axes, finding: Finding, scene: Scene, cost: str) -> None:
    error_vs_cost(ax, finding, scene.study, scene.metric, scene.label, cost)


def _counted(finding: Finding, cost: str) -> bool:
    return cost == "seconds" or any(getattr(arm.cost, cost) is not None for arm in finding.panel.arms)


FIGURES = {
    "error_vs_cardinality": Plot("Error against cardinality", _cardinality, has_cardinality, whole=True),
    "contrasts": Plot(
        "Differences", lambda ax, finding, scene: contrasts(ax, finding), lambda f: len(f.panel.arms) > 1
    ),
    "learning_curves": Plot(
        "Learning curves",
        lambda ax, finding, scene: learning_curves(ax, finding.panel, scene.study.epochs, LABELS["top1_error"].name),
    ),
    "ladder_residuals": Plot(
        "Ladder residuals",
        lambda ax, finding, scene: ladder_residuals(ax, ladder_frame(finding.panel), names(finding.panel)),
    ),
    **{
        f"error_vs_{'time' if cost == 'seconds' else cost}": Plot(
            f"Error against {LABELS[cost].name}", partial(_cost, cost=cost), partial(_counted, cost=cost)
        )
        for cost in COSTS
    },
}
"""Every figure of a report by name, in the order in which a report shows them."""


def applicable(found: Sequence[Finding]) -> list[str]:
    """The figures that have something to show, in the report's order."""
    return [name for name, plot in FIGURES.items() if any(map(plot.applies, found))]


def draw(
    sweep: Sweep,
    study: Study,
    found: Sequence[Finding],
    only: Iterable[str] | None = None,
    columns: int | None = None,
) -> dict[str, Figure]:
    """Figures by name: `only` these, or all that apply; `columns` is their width (see `axes`)."""
    scene = Scene(sweep, study, found)
    chosen = [name for name in applicable(found) if only is None or name in only]
    return {name: _figure(name, scene, columns) for name in chosen}


def _figure(name: str, scene: Scene, columns: int | None) -> Figure:
    plot = FIGURES[name]
    shown = [finding for finding in scene.found if plot.applies(finding)]
    figure, own = axes(1 if plot.whole else len(shown), height=_height(name, shown), columns=columns)
    for ax, finding in zip(own, shown, strict=False):
        plot.draw(ax, finding, scene)
        title = plot.title if len(own) == 1 else called(finding.panel)
        ax.set_title(title, pad=18 if name == "ladder_residuals" else None)
    return figure


def _height(name: str, shown: Sequence[Finding]) -> float:
    """Of a row, in inches: room for legends of two columns, and for what stands beside rows."""
    if FIGURES[name].whole and len(shown) > 1:
        return 2.75
    panels = [names(finding.panel) for finding in shown]
    if name in ("contrasts", "ladder_residuals"):
        extra = [len(finding.beyond) * 2.4 if name == "contrasts" else 0 for finding in shown]
        lines = max(sum(map(height, own.values())) + more for own, more in zip(panels, extra, strict=True))
        return max(2.75, 1.2 + 0.13 * lines)
    return 2.75 + 0.075 * max(0, max(sum(text.count("\n") + 1 for text in own.values()) for own in panels) - 6)
