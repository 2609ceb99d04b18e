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
from analysis.classes import class_differences
from analysis.collect import Study
from analysis.figures.contrasts import contrasts
from analysis.figures.designs import design_space, ladder_residuals
from analysis.figures.errors import COSTS, error_by_arm, error_vs_cardinality, error_vs_cost
from analysis.figures.files import write_figure, write_figures
from analysis.figures.spread import class_differences as draw_classes
from analysis.figures.spread import error_distributions
from analysis.figures.style import axes, called, height, names, style, to_png, to_svg
from analysis.figures.training import learning_curves, together
from analysis.findings import Finding, errors, populations, told_by_cardinality
from analysis.labels import LABELS
from analysis.tables import ladder_frame
from analysis.verdict import join

__all__ = [
    "FIGURES",
    "applicable",
    "axes",
    "contrasts",
    "count_axes",
    "design_space",
    "draw",
    "error_by_arm",
    "error_vs_cardinality",
    "error_vs_cost",
    "ladder_residuals",
    "learning_curves",
    "style",
    "to_png",
    "to_svg",
    "write_figure",
    "write_figures",
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
        if self.sweep.outside:
            return "error"
        evaluations = sorted({panel.dataset.evaluate for panel in self.sweep.panels})
        return f"{join(evaluations)} {LABELS[self.metric].name}"


@dataclass(frozen=True)
class Plot:
    """One figure of a report."""

    title: str
    draw: Callable[..., None]
    """`(ax, finding, scene)`: draws a panel; where `whole`, the first panel stands for all."""
    split: Callable[[Finding], Sequence[Sequence[str]]] | None = None
    """Groups of a panel's arms that have an axes each; `draw` then takes the group's names as `arms`."""
    applies: Callable[[Finding, Study], bool] = lambda finding, study: True
    """Whether a panel has anything to show in it."""
    whole: bool = False
    """All panels in one axes."""


def over_cardinality(finding: Finding, study: Study) -> bool:
    """Whether errors may stand over C: it tells the arms apart, or they are populations of designs of each C."""
    return told_by_cardinality(finding.panel) or bool(finding.populations)


def _cardinality(ax: Axes, finding: Finding, scene: Scene) -> None:
    counted = [found for found in scene.found if over_cardinality(found, scene.study)]
    error_vs_cardinality(ax, counted, scene.study, scene.metric, scene.label)


def _cost(ax: Axes, finding: Finding, scene: Scene, cost: str) -> None:
    error_vs_cost(ax, finding, scene.study, scene.metric, scene.label, cost)


def _curves(ax: Axes, finding: Finding, scene: Scene, arms: Sequence[str] | None = None) -> None:
    learning_curves(ax, finding.panel, scene.study.epochs, LABELS["top1_error"].name, arms)


def _counted(finding: Finding, study: Study, cost: str) -> bool:
    if cost == "seconds":
        return bool(study.runs.loc[study.runs["panel"] == finding.panel.name, "seconds"].notna().any())
    counts = [getattr(arm.cost, cost) for arm in finding.panel.arms]
    known = {count for count in counts if count is not None}
    return len(known) > 1 or (len(known) == len(counts) == 1)  # arms of one cost would hide each other


def _trained(finding: Finding, study: Study) -> bool:
    return bool((study.epochs["panel"] == finding.panel.name).any())


def _costed(finding: Finding, study: Study) -> bool:
    return any(getattr(arm.cost, cost) is not None for arm in finding.panel.arms for cost in ("params", "macs"))


def _population(finding: Finding, scene: Scene) -> dict[str, list[float]]:
    return populations(finding.panel, errors(scene.sweep, scene.study, finding.panel, finding.look.seeds))


FIGURES = {
    "error_vs_cardinality": Plot("Error against cardinality", _cardinality, applies=over_cardinality, whole=True),
    "error_by_arm": Plot(
        "Error of each arm",
        lambda ax, finding, scene: error_by_arm(ax, finding, scene.study, scene.metric, scene.label),
        applies=lambda finding, study: not over_cardinality(finding, study),
    ),
    "contrasts": Plot(
        "Differences", lambda ax, finding, scene: contrasts(ax, finding), applies=lambda f, _: len(f.panel.arms) > 1
    ),
    "learning_curves": Plot(
        "Learning curves", _curves, split=lambda finding: together(finding.panel), applies=_trained
    ),
    "ladder_residuals": Plot(
        "Ladder residuals",
        lambda ax, finding, scene: ladder_residuals(ax, ladder_frame(finding.panel), names(finding.panel)),
        applies=_costed,
    ),
    "error_distributions": Plot(
        "Distributions of designs",
        lambda ax, finding, scene: error_distributions(ax, _population(finding, scene), scene.label),
        applies=lambda finding, study: bool(finding.populations),
    ),
    "class_differences": Plot(
        "Differences by class",
        lambda ax, finding, scene: draw_classes(ax, class_differences(finding, scene.study), finding),
        applies=lambda finding, study: not class_differences(finding, study).empty,
    ),
    **{
        f"error_vs_{'time' if cost == 'seconds' else cost}": Plot(
            f"Error against {LABELS[cost].name}", partial(_cost, cost=cost), applies=partial(_counted, cost=cost)
        )
        for cost in COSTS
    },
}
"""Every figure of a report by name, in the order in which a report shows them."""


def applicable(found: Sequence[Finding], study: Study) -> list[str]:
    """The figures that have something to show, in the report's order."""
    return [name for name, plot in FIGURES.items() if any(plot.applies(finding, study) for finding in found)]


def draw(
    sweep: Sweep,
    study: Study,
    found: Sequence[Finding],
    only: Iterable[str] | None = None,
    columns: int | None = None,
) -> dict[str, Figure]:
    """Figures by name: `only` these, or all that apply; `columns` is their width (see `axes`)."""
    scene = Scene(sweep, study, found)
    chosen = [name for name in applicable(found, study) if only is None or name in only]
    return {name: _figure(name, scene, columns) for name in chosen}


def _parts(plot: Plot, finding: Finding) -> list[list[str]]:
    """The arms of each axes that a panel has in a figure."""
    if plot.split is None:
        return [[arm.name for arm in finding.panel.arms]]
    return [list(part) for part in plot.split(finding)]


def count_axes(name: str, found: Sequence[Finding], study: Study) -> int:
    """How many axes a figure has: one alone is half a page wide."""
    plot = FIGURES[name]
    shown = [finding for finding in found if plot.applies(finding, study)]
    return min(len(shown), 1) if plot.whole else sum(len(_parts(plot, finding)) for finding in shown)


def _figure(name: str, scene: Scene, columns: int | None) -> Figure:
    plot = FIGURES[name]
    shown = [finding for finding in scene.found if plot.applies(finding, scene.study)]
    parts = [(finding, part) for finding in shown for part in _parts(plot, finding)]
    figure, own = axes(1 if plot.whole else len(parts), height=_height(name, parts), columns=columns)
    for ax, (finding, part) in zip(own, parts, strict=False):
        plot.draw(ax, finding, scene, **({"arms": part} if plot.split else {}))
        title = plot.title if len(shown) == 1 or plot.whole else called(finding.panel)
        ax.set_title(title, pad=18 if name == "ladder_residuals" else None)
    _share_errors(own if plot.split else [], parts)
    return figure


def _share_errors(own: Sequence[Axes], parts: Sequence[tuple[Finding, list[str]]]) -> None:
    """One range of errors for the axes of one panel."""
    for panel in {id(finding) for finding, _ in parts}:
        same = [ax for ax, (finding, _) in zip(own, parts, strict=False) if id(finding) == panel]
        ends = [end for ax in same for end in ax.get_ylim()]
        for ax in same:
            ax.set_ylim(min(ends), max(ends))


def _height(name: str, parts: Sequence[tuple[Finding, list[str]]]) -> float:
    """Of a row, in inches: room for legends of two columns, and for what stands beside rows."""
    if FIGURES[name].whole and len(parts) > 1:
        return 2.75
    panels = [{arm: names(finding.panel)[arm] for arm in part} for finding, part in parts]
    if name in ("contrasts", "ladder_residuals", "error_by_arm"):
        extra = [len(finding.beyond) * 3.6 if name == "contrasts" else 0 for finding, _ in parts]
        lines = max(sum(map(height, own.values())) + more for own, more in zip(panels, extra, strict=True))
        return max(2.75, 1.2 + 0.13 * lines)
    return 2.75 + 0.075 * max(0, max(sum(text.count("\n") + 1 for text in own.values()) for own in panels) - 6)
