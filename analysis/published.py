"""The paper's numbers (Xie et al., CVPR 2017), from `published.csv`: single runs, unless a note says otherwise."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from ablation.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Published:
    """One number of the paper."""

    table: str
    """3 to 8 as in the paper, or `residual` (the text's comparison with and without shortcuts)."""
    dataset: str
    design: str
    """The design's name; empty for networks of other families."""
    arm: str
    """As the paper calls it."""
    setting: str
    """What else tells rows apart: the test crop, 5K-way or 1K-way, with or without shortcut."""
    metric: str
    """top1_error, top5_error (percent), params, ap50, ap (percent)."""
    value: float
    note: str


def _row(text: dict[str, Any]) -> Published:
    return Published(**{**text, "value": float(text["value"])})


@cache
def published() -> tuple[Published, ...]:
    """Every number, in the paper's order."""
    with files("analysis").joinpath("published.csv").open(encoding="utf-8") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


def select(**wanted: str) -> list[Published]:
    """The numbers whose fields are as `wanted`: `select(table="3", design="resnext50_32x4d")`.

    Raises UserError where a field is unknown.
    """
    known = [field.name for field in fields(Published)]
    for name in wanted:
        if name not in known:
            raise UserError(f"published numbers have no field {name!r}", remedy=did_you_mean(name, known))
    return [row for row in published() if all(getattr(row, name) == value for name, value in wanted.items())]


def published_value(**wanted: str) -> float:
    """The one number whose fields are as `wanted`. Raises UserError where none is, or where several differ."""
    values = {row.value for row in select(**wanted)}
    if len(values) != 1:
        what = ", ".join(f"{name}={value}" for name, value in wanted.items())
        raise UserError(f"{len(values) or 'no'} published numbers for {what}", remedy="See analysis/published.csv.")
    return values.pop()


def comparable(dataset: str) -> bool:
    """Whether the paper has errors on this data set: on any other, its numbers say nothing about a run's."""
    return dataset in {row.dataset for row in published() if row.metric.endswith("_error")}
