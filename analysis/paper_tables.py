"""The paper's own tables, with published, measured, difference in each place, as tables that people read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pandas as pd

from ablation.sweep import Sweep
from analysis.against import NOTHING, OTHERS, Cell, Row, is_twin, rows, tables_of
from analysis.collect import Study
from analysis.findings import Finding
from analysis.paper import LAYOUTS, Layout, Line, lines
from analysis.statistics import Estimate
from analysis.tables import Column, Table, number, text

KINDS = ("published", "measured", "difference")
SINGLE = (
    "The paper's numbers are single runs: the interval of a difference holds the noise of our seeds alone, and theirs, "
    "of unknown size, comes on top; one that leaves out zero is no proof of a difference, nor is one that holds zero a "
    "proof of none."
)
TENS = (
    "The paper's errors are means of 10 runs of unknown spread: the interval of a difference holds the noise of our "
    "seeds alone; one that leaves out zero is no proof of a difference, nor is one that holds zero a proof of none."
)

Record = dict[str, Any]
Shown = tuple[pd.DataFrame, list[Column]]
"""Rows, and how they are shown."""


def paper_tables(sweep: Sweep, study: Study, found: Sequence[Finding]) -> list[Table]:
    """A table for each of the paper's that the sweep's panels run; small twins are not in it (`analysis.twins`)."""
    tables = []
    for name in tables_of(sweep):
        own = [finding for finding in found if finding.panel.table == name and not is_twin(finding.panel)]
        if own:
            tables.append(paper_table(sweep, study, own, name))
        elif name == "8" and _has(found, "5"):
            tables.append(_as_published(name))
    return tables


def _has(found: Sequence[Finding], name: str) -> bool:
    return any(finding.panel.table == name and not is_twin(finding.panel) for finding in found)


def paper_table(sweep: Sweep, study: Study, found: Sequence[Finding], name: str) -> Table:
    """One table of the paper; before any run it holds the published numbers alone."""
    if name == "8":
        return _as_published(name)
    filled, layout = rows(study, found, name), LAYOUTS[name]
    marks = _marks(filled)
    frame, columns = (_stacked if len(layout.parts) > 1 else _wide)(filled, layout, marks)
    tops = {part.metric for part in layout.parts} if name != "7" else {"top1_error"}
    what = "top-1 and top-5 error" if len(tops) > 1 else "top-1 error"
    caption = f"{layout.title}, {what} in percent: as published, as measured here, and the difference."
    return Table(caption, frame, columns, _note(sweep, filled, name, marks))


def _as_published(name: str) -> Table:
    layout = LAYOUTS[name]
    records = [_head(line) | {t: row.value for t, row in line.numbers.items()} for line in lines(name)]
    columns = [Column(part.title, number(part.title, f".{layout.digits}f"), key=part.title) for part in layout.parts]
    note = "Average precision in percent on COCO minival, Faster R-CNN. Nothing of it is run here."
    return Table(f"{layout.title}: as published.", pd.DataFrame(records), [*_facts(layout), *columns], note)


def _marks(filled: Sequence[Row]) -> dict[str, str]:
    """A letter for each thing that is said of a cell."""
    said = [text for _, cells in filled for cell in cells.values() for text in _said(cell)]
    return {text: chr(ord("a") + index) for index, text in enumerate(dict.fromkeys(said))}


def _said(cell: Cell) -> list[str]:
    why = "not in the paper's table" if OTHERS in cell.why else f"not comparable: {'; '.join(cell.why)}"
    return [*([why] if cell.why else []), *cell.says]


def _head(line: Line) -> Record:
    return {"arm": line.arm, "setting": line.setting or "–", "aside": line.aside or "–"}


def _facts(layout: Layout) -> list[Column]:
    shapes = [Column("setting", text("setting"), left=True)] if layout.shapes else []
    asides = [Column(layout.aside, text("aside"), left=True)] if layout.aside else []
    return [Column("network", text("arm"), left=True), *shapes, *asides]


def _wide(filled: Sequence[Row], layout: Layout, marks: dict[str, str]) -> Shown:
    """A row a line; published, measured and difference of the paper's one column beside each other."""
    (part,) = layout.parts
    records = []
    for line, cells in filled:
        numbers = {kind: _value(cells.get(part.title, Cell()), kind) for kind in KINDS}
        records.append(_head(line) | _flat(numbers) | _ends(cells.values(), marks))
    columns = [Column(kind, partial(_shown, key=kind, style=_style(layout, kind)), key=kind) for kind in KINDS]
    return pd.DataFrame(records), [*_facts(layout), *columns, *_last(records)]


def _stacked(filled: Sequence[Row], layout: Layout, marks: dict[str, str]) -> Shown:
    """Up to three rows a line, published, measured and difference below each other; columns as in the paper."""
    titles = [part.title for part in layout.parts]
    records = [record for line, cells in filled for record in _stack(line, cells, titles, marks)]
    columns = [*_facts(layout), Column("", text("kind"), left=True)]
    columns += [Column(title, partial(_by_kind, layout=layout, title=title), key=title) for title in titles]
    return pd.DataFrame(records), [*columns, *_last(records)]


def _stack(line: Line, cells: dict[str, Cell], titles: Sequence[str], marks: dict[str, str]) -> list[Record]:
    ends, head = _ends(cells.values(), marks), _head(line)
    records: list[Record] = []
    last = "measured" if any(cell.measured.n for cell in cells.values()) else "published"
    for kind in KINDS:
        values = {title: _value(cells.get(title, Cell()), kind) for title in titles}
        if any(value.n for value in values.values()):
            own = ends if kind == last else dict.fromkeys(ends, "")
            records.append((head if not records else dict.fromkeys(head, "")) | {"kind": kind} | _flat(values) | own)
    return records


def _style(layout: Layout, kind: str) -> str:
    return {"published": f".{layout.digits}f", "measured": ".2f", "difference": "+z.2f"}[kind]


def _value(cell: Cell, kind: str) -> Estimate:
    """A cell's number of a kind; a published one has no interval."""
    if kind != "published":
        return cell.measured if kind == "measured" else cell.difference
    nan = math.nan
    return NOTHING if cell.published is None else Estimate(1, cell.published, nan, nan, nan)


def _flat(values: dict[str, Estimate]) -> dict[str, float]:
    ends = {"": "mean", " low": "low", " high": "high"}
    return {f"{title}{end}": getattr(one, field) for title, one in values.items() for end, field in ends.items()}


def _ends(cells: Iterable[Cell], marks: dict[str, str]) -> dict[str, str]:
    """How many seeds, and the letters of what there is to say."""
    cells = list(cells)
    counts = sorted({cell.measured.n for cell in cells if cell.measured.n})
    said = [marks[text] for cell in cells for text in _said(cell)]
    return {"n": "–".join(map(str, counts[:1] + counts[1:][-1:])), "note": " ".join(sorted(set(said)))}


def _last(records: Sequence[dict[str, Any]]) -> list[Column]:
    columns = [Column("n", text("n")), Column("note", text("note"), left=True)]
    return [column for column in columns if any(record[column.title] for record in records)]


def _shown(row: Record, key: str, style: str) -> str:
    mean, low, high = (number(f"{key}{end}", style)(row) for end in ("", " low", " high"))
    return mean if low == "–" else f"{mean} [{low}, {high}]"


def _by_kind(row: Record, layout: Layout, title: str) -> str:
    return _shown(row, title, _style(layout, row["kind"]))


def _note(sweep: Sweep, filled: Sequence[Row], name: str, marks: dict[str, str]) -> str:
    cells = [cell for _, row in filled for cell in row.values() if cell.measured.n]
    parts = ["Measured: mean over n seeds with a 95% interval."]
    if not cells:
        parts = ["Nothing is measured yet."]
    elif any(cell.difference.n for cell in cells):
        parts += ["Difference: measured less published, in points.", TENS if name == "7" else SINGLE]
        parts += [f"These runs: {sweep.precision}; the paper's: fp32."] if sweep.precision != "fp32" else []
    else:
        parts.append("No difference is given, for the two are not comparable.")
    parts += [f"{letter}: {said}." for said, letter in marks.items()]
    return " ".join(parts)


def paper_frame(sweep: Sweep, study: Study, found: Sequence[Finding]) -> pd.DataFrame:
    """A row each number of the paper that the sweep runs, with all digits of what was measured in its place."""
    records = []
    for name in tables_of(sweep):
        own = [finding for finding in found if finding.panel.table == name and not is_twin(finding.panel)]
        for line, cells in rows(study, own, name) if own and name != "8" else []:
            records += [_record(name, line, title, cell) for title, cell in cells.items()]
    return pd.DataFrame(records)


def _record(name: str, line: Line, title: str, cell: Cell) -> Record:
    found, apart = cell.measured, cell.difference
    return {
        **{"table": name, "network": line.arm, "design": line.design, "setting": line.setting, "aside": line.aside},
        **{"column": title, "panel": cell.panel, "arm": cell.arm, "evaluation": cell.evaluation},
        **{"published": math.nan if cell.published is None else cell.published},
        **{"n": found.n, "measured": found.mean, "low": found.low, "high": found.high},
        **{"difference": apart.mean, "difference_low": apart.low, "difference_high": apart.high},
        "note": "; ".join(_said(cell)),
    }
