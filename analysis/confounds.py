"""What else differs between arms that are compared: cost, time, memory, training that has not come to rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ablation.cost import memory
from ablation.sweep import Arm, Panel
from analysis.collect import Study
from analysis.findings import Finding

COSTS = ("params", "macs", "activations")
LAST = 0.1
"""The share of the epochs, at the end, in which a converged arm no longer improves."""


def confounds(finding: Finding, study: Study) -> pd.DataFrame:
    """A row an arm, against the panel's baseline: relative differences (0.04: +4%), counts, points of error.

    params, macs, activations, memory (formula of `ablation.cost.memory`, for the recipe's batch); time of a training
    image (medians over the runs of one kind of device; NaN where kinds differ); epochs; failed runs; `last_tenth`,
    the change of test error over the last tenth of the epochs, and whether it `still_falls` there.
    """
    arms = {arm.name: arm for arm in finding.panel.arms}
    base = arms[finding.panel.baseline]
    return pd.DataFrame([_row(finding, study, arm, base) for arm in finding.panel.arms])


def _row(finding: Finding, study: Study, arm: Arm, base: Arm) -> dict[str, Any]:
    panel, seeds = finding.panel.name, finding.look.seeds
    change = last_tenth(study, panel, arm.name, seeds)
    failed = [run for run in study.missing if (run["panel"], run["arm"]) == (panel, arm.name)]
    return {
        **{"panel": panel, "arm": arm.name},
        **{name: _more(getattr(arm.cost, name), getattr(base.cost, name)) for name in COSTS},
        "memory": _more(_memory(arm), _memory(base)),
        "time": _more(_seconds(study, panel, arm.name), _seconds(study, panel, base.name)),
        "epochs": arm.recipe.epochs,
        "failed": sum(run["state"] == "failed" and run["seed"] in seeds for run in failed),
        "last_tenth": float(change.mean()) if len(change) else math.nan,
        "still_falls": still_falls(change),
    }


def _more(value: float | None, base: float | None) -> float:
    return value / base - 1 if value is not None and base else math.nan


def _memory(arm: Arm) -> int | None:
    price = arm.cost
    return None if price.activations is None else memory(price.params, price.activations, arm.recipe.batch)


def _seconds(study: Study, panel: str, arm: str) -> float | None:
    """A training image's, the median over an arm's runs; None where the panel's runs had several kinds of device."""
    kinds = study.runs.loc[study.runs["panel"] == panel, "device_name"].nunique()
    speeds = study.of(panel, arm)["images_per_second"].astype(float).dropna()
    return float((1 / speeds).median()) if len(speeds) and kinds <= 1 else None


def last_tenth(study: Study, panel: str, arm: str, seeds: tuple[int, ...]) -> np.ndarray:
    """The change of each run's test error over the last tenth of its epochs (one epoch at least), in points."""
    rows = study.epochs[(study.epochs["panel"] == panel) & (study.epochs["arm"] == arm)]
    rows = rows[rows["seed"].isin(seeds)].sort_values(["seed", "epoch"])
    _, starts, counts = np.unique(rows["seed"].to_numpy(), return_index=True, return_counts=True)
    several = counts > 1
    last, back = (starts + counts - 1)[several], np.maximum(1, np.round(LAST * counts).astype(int))[several]
    errors = rows["top1_error"].astype(float).to_numpy()
    change: np.ndarray = errors[last] - errors[last - back]
    return change


def still_falls(change: np.ndarray) -> bool:
    """Whether errors still fall at the end: below zero with 95% confidence, one-sided t; of one run, below zero."""
    if len(change) < 2 or change.std(ddof=1) == 0:
        return bool(len(change)) and bool(change.mean() < 0)
    bound = change.mean() + stats.t.ppf(0.95, len(change) - 1) * change.std(ddof=1) / math.sqrt(len(change))
    return bool(bound < 0)


def tuning(panel: Panel) -> str:
    """For whom the recipe was chosen."""
    if panel.tuned is None:
        return "For which arm the recipe was tuned is not stated (panels.tuned)."
    arms, trials = ", ".join(panel.tuned.arms), panel.tuned.trials
    return f"The recipe was tuned for {arms}, in {trials} {'run' if trials == 1 else 'runs'} on the validation split."
