"""Runs trained anywhere as a sweep and a study, so that they get the same verdicts, figures and report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
from pydantic import ValidationError

from ablation.budget import Budget
from ablation.cost import Cost
from ablation.dataset import Dataset
from ablation.design import TEMPLATES
from ablation.errors import UserError, did_you_mean
from ablation.family import Architecture
from ablation.recipe import Recipe
from ablation.schema import Evidence, Resources
from ablation.sweep import Arm, Panel, Sweep, check_name
from ablation.yaml_file import parse_value
from analysis.collect import EPOCH_COLUMNS, RUN_COLUMNS, Study
from analysis.results import Row, read_results

QUESTION = "What do these runs say?"
DATA = Dataset.model_validate({"name": "folder", "path": "data that are not stated", "classes": 1})
RECIPE = Recipe(name="not stated", epochs=1, batch=1, norm_batch=1, lr=1.0, schedule="constant")
"""Where a sweep must have a data set and a recipe; `Sweep.outside` says that they mean nothing."""


@dataclass(frozen=True)
class Stated:
    """All that is known of a network: what its rows say."""

    name: str
    cardinality: int | None = None
    width: str = "–"

    @property
    def group_widths(self) -> tuple[int, ...]:
        """None are known."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "cardinality": self.cardinality, "width": self.width}

    identity = to_dict


def read_outside(
    path: Path,
    *,
    baseline: str | None = None,
    question: str = "",
    name: str = "",
    evidence: dict[str, Any] | None = None,
) -> tuple[Sweep, Study]:
    """The runs of a CSV file (`analysis.results`) as a sweep and its study.

    `baseline`: an arm of every panel, by default each panel's first; `evidence` is as in a sweep file. Raises
    UserError, with file:line where it has one, for a file that can't be read, an unknown baseline, or where no run has
    an error.
    """
    check_name(name or path.stem, f"--name {name}" if name else str(path))
    rows = read_results(path)
    panels = tuple(_panel(panel, [row for row in rows if row.panel == panel], baseline) for panel in _panels(rows))
    sweep = Sweep(
        name=name or path.stem,
        path=path,
        question=question or QUESTION,
        panels=panels,
        seeds=tuple(sorted({row.seed for row in rows})),
        precision="fp32",
        evidence=_evidence(evidence or {}),
        resources=Resources(),
        outside=True,
    )
    return sweep, _study(sweep, rows)


def command_of(sweep: Sweep, file: str, evidence: dict[str, Any]) -> str:
    """What reports a table of this sweep's runs; `evidence` is beside the sweep's own."""
    baselines = {panel.baseline for panel in sweep.panels}
    options = {"--baseline": baselines.pop() if len(baselines) == 1 else "", "--name": sweep.name}
    options["--question"] = sweep.question if sweep.question != QUESTION else ""
    asked = sweep.evidence.model_dump(mode="json", exclude_defaults=True, exclude={"metric"}) | evidence
    said = [f"{option} {shlex.quote(value)}" for option, value in options.items() if value]
    said += [f"--set {shlex.quote(f'evidence.{key}={json.dumps(value)}')}" for key, value in asked.items()]
    return " ".join(["python -m analysis.report --results", shlex.quote(file), *said])


def evidence_of(changes: Sequence[str]) -> dict[str, Any]:
    """`evidence.margin=0.2` and its like as plain values. Raises UserError where anything else is to be changed."""
    found = {}
    for change in changes:
        key, _, value = change.partition("=")
        head, _, field = key.strip().partition(".")
        if head != "evidence" or field not in Evidence.model_fields:
            choices = [f"evidence.{name}" for name in Evidence.model_fields]
            raise UserError(
                f"--set {change}: with --results only evidence can be set", remedy=did_you_mean(key, choices)
            )
        found[field] = parse_value(value)
    return found


def _evidence(fields: dict[str, Any]) -> Evidence:
    try:
        return Evidence.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}") from None


def _panels(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row.panel for row in rows))


def _panel(name: str, rows: list[Row], baseline: str | None) -> Panel:
    first = {row.arm: row for row in reversed(rows)}
    arms = tuple(_arm(first[arm]) for arm in dict.fromkeys(row.arm for row in rows))
    names = [arm.name for arm in arms]
    if baseline and baseline not in names:
        raise UserError(f"baseline {baseline!r} is not an arm of panel {name!r}", remedy=did_you_mean(baseline, names))
    base = arms[names.index(baseline)] if baseline else arms[0]
    budget = Budget(f"of {base.name}", TEMPLATES[50], base.cost.params, base.cost.macs, base.cost.activations, None)
    return Panel(name, budget, DATA, RECIPE, base.name, arms)


def _arm(row: Row) -> Arm:
    known = row.values
    design = Stated(known.get("design", row.arm), known.get("cardinality"), known.get("width", "–"))
    price = Cost(known.get("params"), known.get("macs"), known.get("activations"), None)
    published = {"top1_error": known["published"]} if "published" in known else {}
    return Arm(row.arm, cast(Architecture, design), RECIPE, price, published, known.get("axis"))


def _study(sweep: Sweep, rows: list[Row]) -> Study:
    done = [row for row in rows if row.error is not None]
    if not done:
        raise UserError("no run has an error", where=str(sweep.path), remedy=f"Its {len(rows)} rows say nan or failed.")
    return Study(
        runs=pd.DataFrame([_run(row) for row in done], columns=RUN_COLUMNS),
        epochs=pd.DataFrame(columns=EPOCH_COLUMNS),
        missing=[_missing(row) for row in rows if row.error is None],
        provenance={
            **{key: [] for key in ("commits", "devices", "data", "executions", "recipes", "engines", "finished")},
            **{"dirty": False, "versions": {}},
        },
        notes=[],
        planned=len(rows),
        lacks=_lacks(done),
    )


def _run(row: Row) -> dict[str, Any]:
    about = {"panel": row.panel, "arm": row.arm, "seed": row.seed, "top1_error": row.error}
    return {"design": row.arm, **row.values, **about}


def _missing(row: Row) -> dict[str, Any]:
    message = row.values.get("message") or ("diverged: no finite error" if row.state == "failed" else "")
    return {"panel": row.panel, "arm": row.arm, "seed": row.seed, "state": row.state, "message": message}


def _lacks(rows: list[Row]) -> list[str]:
    """What a report of such runs can't say, a sentence each; and what may be wrong with the file."""
    known = {name for row in rows for name in row.values}
    words = {"params": "parameters", "macs": "MACs", "seconds": "times"}
    absent = [word for name, word in words.items() if name not in known]
    costs = f", nor {' or '.join(absent)}" if absent else ""
    found = [
        "They were trained elsewhere and come from a table: there is no registration of what was asked before, and no "
        f"records of data, recipe, devices or correct images{costs}; whether other runs were left out can't be seen."
    ]
    if all(row.error is not None and row.error < 1 for row in rows):
        found.append("All errors are below 1 and are read as percent: if they are fractions, multiply them by 100.")
    return found
