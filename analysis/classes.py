"""Where arms differ: the error over each class, against the baseline."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.collect import Study
from analysis.findings import Finding
from analysis.statistics import compare

NAMES = {
    "fashion_mnist": ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"],
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
}
"""In the data sets' own order."""
MOST = 1000
"""Runs whose results are read for this."""


def class_differences(finding: Finding, study: Study) -> pd.DataFrame:
    """A row an arm and class: difference to the baseline in points, with its 95% interval for that class alone.

    Columns arm, number, name, difference, low, high; empty where the runs kept no errors by class.
    """
    panel, seeds = finding.panel, finding.look.seeds
    many = sum(len(study.of(panel.name, arm.name, seeds)) for arm in panel.arms) > MOST
    rows = {arm.name: None if many else _errors(study, panel.name, arm.name, seeds) for arm in panel.arms}
    base = rows.get(panel.baseline)
    if base is None:
        return pd.DataFrame(columns=["arm", "number", "name", "difference", "low", "high"])
    called = NAMES.get(panel.dataset.name, [])
    found = []
    for arm, own in rows.items():
        if arm == panel.baseline or own is None or own.shape[1] != base.shape[1]:
            continue
        for number in range(own.shape[1]):
            contrast = compare({arm: own[:, number], panel.baseline: base[:, number]}, panel.baseline).contrasts[0]
            name = called[number] if number < len(called) else str(number)
            found.append({"arm": arm, "number": number, "name": name, **_interval(contrast)})
    return pd.DataFrame(found, columns=["arm", "number", "name", "difference", "low", "high"])


def _interval(contrast: object) -> dict[str, float]:
    return {key: getattr(contrast, key) for key in ("difference", "low", "high")}


def _errors(study: Study, panel: str, arm: str, seeds: tuple[int, ...]) -> np.ndarray | None:
    """(runs, classes), percent; None where a run kept none."""
    found = [_read(study.bits[run]) if run in study.bits else () for run in study.of(panel, arm, seeds)["run_id"]]
    whole = found and all(found) and len({len(own) for own in found}) == 1
    return np.asarray(found, dtype=float) if whole else None


@lru_cache(maxsize=2 * MOST)
def _read(bits: Path) -> tuple[float, ...]:
    """From the result beside a run's bits."""
    try:
        evaluations = json.loads((bits.parent / "result.json").read_bytes())["evaluations"]
    except (OSError, ValueError, KeyError):
        return ()
    own = evaluations.get(bits.name.split(".")[1], {}).get("class_errors") or ()
    return tuple(math.nan if error is None else float(error) for error in own)
