"""Training error beside test error: does an arm represent more, or overfit less? Never more than is resolved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from ablation.sweep import Arm
from analysis.collect import Study
from analysis.findings import Finding, marked
from analysis.labels import LABELS
from analysis.statistics import Comparison, Contrast, Estimate, compare, estimate
from analysis.tables import Column, Row, Table, number, text
from analysis.verdict import join, level

NEW = "training error was not registered"
TRAIN, TEST = "train_error", "top1_error"
SIGNS = {"improves": "lower", "worsens": "higher", "equivalent": "equivalent"}
"""What a verdict says of an error."""
READINGS = {
    ("lower", "lower"): "both lower: fits better",
    ("higher", "higher"): "both higher: fits worse",
    ("lower", "higher"): "training lower, test higher: overfits more",
    ("higher", "lower"): "only test lower: regularised",
    ("equivalent", "lower"): "only test lower: regularised",
    ("equivalent", "higher"): "only test higher: generalises worse",
    ("lower", "equivalent"): "only training lower: fits better, no use on test",
    ("higher", "equivalent"): "only training higher: fits worse, no harm on test",
    ("equivalent", "equivalent"): "both equivalent",
}
"""By what is resolved of training error, then of test error; otherwise it is said which of the two is not."""


def training_comparison(finding: Finding, study: Study) -> Comparison:
    """Training errors of the last epoch, arms of the baseline's recipe against the baseline, as test errors are.

    Other recipes show other images, or soften what is right: their training errors are no lower or higher than these.
    Every verdict is exploratory, for a sweep can't register training error.
    """
    panel, look = finding.panel, finding.look
    groups = {arm.name: _errors(finding, study, arm.name, TRAIN) for arm in alike(finding)}
    found = compare(groups, panel.baseline, alpha=look.alpha, margin=finding.comparison.margin)
    return marked(found, look, dict.fromkeys(groups, NEW))


def alike(finding: Finding) -> list[Arm]:
    """The arms that are trained as the baseline is, so that training errors can be compared."""
    base = next(arm for arm in finding.panel.arms if arm.name == finding.panel.baseline)
    return [arm for arm in finding.panel.arms if _training(arm) == _training(base)]


def _training(arm: Arm) -> dict[str, Any]:
    return arm.recipe.model_dump(exclude={"name"})


def _errors(finding: Finding, study: Study, arm: str, key: str) -> list[float]:
    return study.errors(finding.panel.name, arm, key, finding.look.seeds)


def training_frame(finding: Finding, study: Study, metric: str) -> pd.DataFrame:
    """A row an arm: training error, test top-1 error less training error by run, and the contrast of training error.

    `reading` says what both errors together tell against the baseline; empty where they can't be compared.
    """
    trained = {contrast.a: contrast for contrast in training_comparison(finding, study).contrasts}
    tested = {contrast.a: contrast for contrast in _test_comparison(finding, study, metric).contrasts}
    return pd.DataFrame([_row(finding, study, arm, trained, tested) for arm in finding.panel.arms])


def _test_comparison(finding: Finding, study: Study, metric: str) -> Comparison:
    """Of top-1 error, as training error is: the finding's own, unless the sweep is about top-5 error."""
    if metric == TEST:
        return finding.comparison
    groups = {arm.name: _errors(finding, study, arm.name, TEST) for arm in finding.panel.arms}
    found = compare(groups, finding.panel.baseline, alpha=finding.look.alpha, margin=finding.comparison.margin)
    return marked(found, finding.look, {})


def _row(
    finding: Finding, study: Study, arm: Arm, trained: dict[str, Contrast], tested: dict[str, Contrast]
) -> dict[str, Any]:
    train, test = (np.array(_errors(finding, study, arm.name, key)) for key in (TRAIN, TEST))
    contrast = trained.get(arm.name)
    baseline = arm.name == finding.panel.baseline
    against = {key: getattr(contrast, key) if contrast else math.nan for key in ("difference", "low", "high")}
    return {
        **{"panel": finding.panel.name, "arm": arm.name, **_estimated(TRAIN, estimate(train))},
        **_estimated(TEST, estimate(test)),
        **_estimated("gap", estimate(test - train)),
        **{(f"difference_{key}" if key != "difference" else key): value for key, value in against.items()},
        "p_adjusted": contrast.p_adjusted if contrast else math.nan,
        "verdict": contrast.verdict if contrast else "baseline" if baseline else "another recipe",
        "reading": reading(contrast, tested.get(arm.name)) if contrast else "",
    }


def _estimated(key: str, found: Estimate) -> dict[str, float]:
    return {key: found.mean, **{f"{key}_{field}": getattr(found, field) for field in ("n", "sd", "low", "high")}}


def reading(trained: Contrast, tested: Contrast | None) -> str:
    """What both contrasts tell together, in words: representation where both fall, regularisation where only test does.

    Only resolved differences (and equivalences within a margin) count; no verdict, no reading.
    """
    if tested is None or "none" in (trained.kind, tested.kind):
        return ""
    signs = SIGNS.get(trained.kind), SIGNS.get(tested.kind)
    if signs == (None, None):
        return "neither is resolved"
    if signs[0] is None:
        return f"test {signs[1]}; training not resolved"
    if signs[1] is None:
        return f"training {signs[0]}; test not resolved"
    return READINGS[signs[0], signs[1]]


def training_table(finding: Finding, study: Study, metric: str) -> Table | None:
    """Training error beside test error; None where no run recorded the former."""
    frame = training_frame(finding, study, metric)
    if frame[TRAIN].isna().all():
        return None
    evaluated = finding.panel.dataset.evaluate
    columns = [
        *(Column("arm", text("arm"), left=True), Column("training error, %", _interval(TRAIN, ".2f"), key=TRAIN)),
        Column(f"{evaluated} less training", _interval("gap", "+z.2f"), key="gap"),
        Column("training, against the baseline", _against, key="difference"),
        Column("verdict", _verdict, left=True),
        Column(f"with {evaluated} error, tells", text("reading"), left=True),
    ]
    caption = f"Training error of the last epoch beside {evaluated} {LABELS[TEST].name}."
    return Table(caption, frame, columns, _note(finding, frame))


def _interval(key: str, style: str) -> Any:
    def show(row: Row) -> str:
        mean, low, high = (number(name, style)(row) for name in (key, f"{key}_low", f"{key}_high"))
        return mean if low == "–" else f"{mean} [{low}, {high}]"

    return show


def _against(row: Row) -> str:
    return row["verdict"] if row["verdict"] == "baseline" else _interval("difference", "+z.2f")(row)


def _verdict(row: Row) -> str:
    said = str(row["verdict"]).partition(", exploratory")[0]
    said = said.replace(" (these seeds resolve", " (resolves").removesuffix(
        ": no verdict until every run of a look is in"
    )
    return "" if said == "baseline" else said


def _note(finding: Finding, frame: pd.DataFrame) -> str:
    recipe = finding.panel.recipe
    images = f"augmented images ({', '.join(recipe.augment)})" if recipe.augment else "its images"
    parts = [
        f"Training error: over one epoch of {images}, as the network saw them while it learned, so that its distance "
        "from test error is no plain measure of overfitting. Means with 95% intervals; differences as in the table of "
        f"results (simultaneous {level(finding.look.alpha)} intervals, Holm), exploratory, for no sweep registers "
        "training error. Both lower: the arm fits better, as the paper says of cardinality. Only test lower, training "
        "equivalent or higher: regularisation.",
    ]
    others = list(frame.loc[frame["verdict"] == "another recipe", "arm"])
    if others:
        parts.append(f"Another recipe, so that training errors are not comparable: {join(others)}.")
    return " ".join(parts)
