"""Runs that were trained anywhere, from a CSV file: a row a run, checked line by line.

Columns: arm, seed, error (percent; `nan` where the run diverged). Optional: panel, design, cardinality, width, params,
macs, activations, published (percent), axis (what an arm varies) - the same in all rows of an arm - and of each run
top5_error, train_error, loss, images, epochs, seconds, images_per_second, device, device_name, run_id, and state and
message where it did not finish. Without `error`,
`top1_error` is read: the tables of a report can be read again.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from ablation.errors import UserError, did_you_mean
from ablation.schema import Axis

HOW = "Write one row a run: arm,seed,error (percent)."
COUNTS = ("params", "macs", "activations", "images", "epochs", "cardinality")
MEASURES = ("top5_error", "train_error", "loss", "seconds", "images_per_second", "published")
WORDS = ("design", "width", "axis", "device", "device_name", "run_id", "state", "message")
OF_ARM = ("design", "cardinality", "width", "params", "macs", "activations", "published", "axis")
"""What all rows of an arm must agree on."""
STATES = ("done", "failed", "running", "waiting", "missing")
COLUMNS = ("panel", "arm", "seed", "error", "top1_error", *COUNTS, *MEASURES, *WORDS)


@dataclass(frozen=True)
class Row:
    """One run of the file."""

    where: str
    """file:line."""
    panel: str
    arm: str
    seed: int
    error: float | None
    """Percent; None where the run has none: it diverged, failed or has not finished."""
    state: str
    values: dict[str, Any] = field(default_factory=dict)
    """The optional columns that are not empty."""


def read_results(path: Path) -> list[Row]:
    """Every row of a file, in its order.

    Raises UserError, with file:line, where a column is missing, a value can't be read, a run stands twice, or rows of
    an arm disagree on what belongs to the arm.
    """
    rows = [_row(fields, where) for where, fields in _lines(path)]
    if not rows:
        raise UserError("no rows below the header", where=f"{path}:1", remedy=HOW)
    _once(rows)
    _agree(rows)
    return rows


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(file:line, cells by column) of each row that is not empty."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_header(names, path)
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if len(cells) not in (0, len(names)):
                raise UserError(f"{len(cells)} cells in a table of {len(names)} columns", where=where, remedy=HOW)
            if any(cell.strip() for cell in cells):
                yield where, {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        raise UserError(f"not CSV: {error}", where=f"{path}:{reader.line_num}", remedy=HOW) from None


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError("no such file", where=str(path), remedy=HOW) from None
    except IsADirectoryError:
        raise UserError("a folder, not a CSV file", where=str(path), remedy=HOW) from None
    if not data.strip():
        raise UserError("the file is empty", where=str(path), remedy=HOW)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"not UTF-8: byte 0x{data[error.start]:02x}", where=f"{path}:{line}", remedy="Save it as CSV, UTF-8."
        ) from None


def _check_header(names: list[str], path: Path) -> None:
    where = f"{path}:1"
    has_error = {"error", "top1_error"} & set(names)
    lacking = [name for name in ("arm", "seed") if name not in names] + ([] if has_error else ["error"])
    if lacking:
        separated = next((mark for mark in ";\t" if mark in "".join(names[:1])), None)
        remedy = f"Its columns: {', '.join(names)}. {HOW}"
        remedy = "Separate columns by commas." if separated else remedy
        raise UserError(f"no column {' or '.join(lacking)}", where=where, remedy=remedy)
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"column {name!r} stands twice", where=where, remedy="Name each column once.")
    for name in names:
        near = did_you_mean(name, list(COLUMNS))
        if name not in COLUMNS and near.startswith("Did you mean"):
            raise UserError(f"unknown column {name!r}", where=where, remedy=f"{near} Or rename it: others are ignored.")


def _row(fields: dict[str, str], where: str) -> Row:
    for name in ("arm", "seed"):
        if not fields[name]:
            raise UserError(f"no {name}", where=where, remedy=HOW)
    state = fields.get("state") or "done"
    if state not in STATES:
        raise UserError(f"state {state!r}", where=where, remedy=did_you_mean(state, list(STATES)))
    if fields.get("axis") and fields["axis"] not in get_args(Axis):
        raise UserError(f"axis {fields['axis']!r}", where=where, remedy=did_you_mean(fields["axis"], [*get_args(Axis)]))
    values: dict[str, Any] = {key: _count(key, fields[key], where) for key in COUNTS if fields.get(key)}
    values |= {key: _number(key, fields[key], where) for key in MEASURES if fields.get(key)}
    values |= {key: fields[key] for key in WORDS if fields.get(key)}
    error = _error(fields.get("error", fields.get("top1_error", "")), state, where)
    state = "failed" if state == "done" and error is None else state
    seed = _count("seed", fields["seed"], where)
    return Row(where, fields.get("panel") or "runs", fields["arm"], seed, error, state, values)


def _error(cell: str, state: str, where: str) -> float | None:
    if not cell:
        if state != "done":
            return None
        raise UserError("no error", where=where, remedy="Write nan for a run that diverged; leave out the others.")
    value = _number("error", cell, where)
    if not math.isfinite(value) or state != "done":
        return None
    if not 0 <= value <= 100:
        raise UserError(f"error {cell} is no percentage", where=where, remedy="Errors are in percent, 0 to 100.")
    return value


def _number(name: str, cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        remedy = "Write a point, not a comma." if "," in cell else "Write plain numbers, without units."
        raise UserError(f"{name} {cell!r} is no number", where=where, remedy=remedy) from None


def _count(name: str, cell: str, where: str) -> int:
    least = 0 if name == "seed" else 1
    value = int(cell) if cell.isascii() and cell.isdigit() else _number(name, cell, where)
    if not least <= value < 1 << 63 or value != int(value):
        raise UserError(f"{name} {cell!r} is no whole number of at least {least}", where=where)
    return int(value)


def _once(rows: list[Row]) -> None:
    seen: dict[tuple[str, str, int], str] = {}
    for row in rows:
        key = (row.panel, row.arm, row.seed)
        if key in seen:
            what = f"seed {row.seed} of arm {row.arm!r} stands twice: first in {seen[key]}"
            raise UserError(what, where=row.where, remedy="One run is counted once: remove a row, or give it its seed.")
        seen[key] = row.where


def _agree(rows: list[Row]) -> None:
    seen: dict[tuple[str, str, str], tuple[Any, str]] = {}
    for row in rows:
        for name in OF_ARM:
            value = row.values.get(name)
            first, where = seen.setdefault((row.panel, row.arm, name), (value, row.where))
            if value != first:
                what = f"{name} of arm {row.arm!r} is {_said(value)} here and {_said(first)} in {where}"
                raise UserError(what, where=row.where, remedy="Arms that differ are different arms: name them apart.")


def _said(value: Any) -> str:
    return "not given" if value is None else str(value)
