"""Figures against seaborn's defaults, and a whole report of 20 pages."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import seaborn as sns
from collecting import NAMES, make, write_finished
from matplotlib.figure import Figure
from measure import Comparison, alternate, seconds
from planning import NOTHING, wall_time

from ablation.sweep import Sweep
from analysis.collect import Study, collect
from analysis.figures import applicable, axes, count_axes, draw, error_vs_cardinality, learning_curves, style, to_svg
from analysis.findings import Finding, findings

sys.path.append(str(Path(__file__).parents[1]))
from studies import panel_fields, sweep_fields, write_sweep

PANELS, ARMS, SEEDS, EPOCHS = 8, 5, 5, 30
"""Of the report."""


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    mpl.use("svg")
    repeats = 1 if quick else 3
    with tempfile.TemporaryDirectory(prefix="drawing.") as name:
        folder = Path(name)
        sweep = make(folder, 5, 5)
        study = collect(sweep, folder / "runs")
        found = findings(sweep, study)
        return [_errors(study, found, repeats), _curves(study, found, repeats), _report(folder / "large", repeats)]


def _errors(study: Study, found: list[Finding], repeats: int) -> Comparison:
    def ours() -> None:
        with style():
            figure, (ax,) = axes(1)
            error_vs_cardinality(ax, found, study, "top1_error", "error")
            to_svg(figure)

    def seaborns() -> None:
        figure = Figure()
        sns.pointplot(study.runs, x="cardinality", y="top1_error", ax=figure.subplots())
        figure.savefig(io.BytesIO(), format="svg")

    pairs = alternate(lambda: seconds(ours), lambda: seconds(seaborns), repeats)
    other = "seaborn's pointplot as it comes, bootstrap"
    return Comparison("draw error against C, 25 runs", "error_vs_cardinality, t-intervals", other, "s", pairs)


def _curves(study: Study, found: list[Finding], repeats: int) -> Comparison:
    def ours() -> None:
        with style():
            figure, (ax,) = axes(1)
            learning_curves(ax, found[0].panel, study.epochs, "top-1 error")
            to_svg(figure)

    def seaborns() -> None:
        figure = Figure()
        sns.lineplot(study.epochs, x="epoch", y="top1_error", hue="arm", ax=figure.subplots())
        figure.savefig(io.BytesIO(), format="svg")

    pairs = alternate(lambda: seconds(ours), lambda: seconds(seaborns), repeats)
    other = "seaborn's lineplot as it comes, bootstrap"
    return Comparison("draw learning curves, 5 arms x 5 seeds x 90 epochs", "learning_curves", other, "s", pairs)


def _report(folder: Path, repeats: int) -> Comparison:
    sweep = _large(folder)
    where = (str(sweep.path), "--runs", str(folder / "runs"), "--out", str(folder / "reports"))
    command = ("-m", "analysis.report", *where)
    wall_time(command)
    pairs = alternate(lambda: wall_time(command), lambda: wall_time(NOTHING), min(repeats, 2))
    study = collect(sweep, folder / "runs")
    found = findings(sweep, study)
    plots = sum(count_axes(name, found, study) for name in applicable(found, study))
    pages = max(map(int, re.findall(rb"/Count (\d+)", (folder / "reports" / sweep.name / "report.pdf").read_bytes())))
    what = f"`report` of {pages} pages, {plots} plots in {len(draw(sweep, study, found))} figures"
    return Comparison(what, "the command, run folders cached", "`python -c pass`", "s", pairs, floor=True)


def _large(folder: Path) -> Sweep:
    """Panels that differ in their epochs; all runs finished."""
    folder.mkdir()
    recipes = [{"base": "fashion", "epochs": EPOCHS + index} for index in range(PANELS)]
    names = [f"{recipe['epochs']} epochs" for recipe in recipes]
    panels = [panel_fields(NAMES[:ARMS], name=n, recipe=recipe) for n, recipe in zip(names, recipes, strict=True)]
    sweep = write_sweep(folder, {**sweep_fields(seeds=SEEDS), "panels": panels})
    for run in sweep.runs():
        write_finished(sweep, run, folder / "runs")
    return sweep
