"""The paper's own tables, with published, measured, difference in each place, as tables that people read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from ablation.sweep import Sweep
from analysis.against import NOTHING, OTHERS, Cell, Row, is_twin, rows, tables_of
from analysis.collect import Study
from analysis.findings import Finding
from analysis.paper import LAYOUTS, Layout
from analysis.published import select
from analysis.statistics import Estimate
from analysis.tables import Column, Table, number, text

WIDE = 2
"""Columns of the paper up to which published, measured and difference stand beside each other; more stack."""
SINGLE = (
    "The paper's numbers are single runs: the interval of a difference holds the noise of our seeds alone, and theirs, "
    "of unknown size, comes on top; one that leaves out zero is no proof of a difference, nor is one that holds zero a "
    "proof of none."
)
TENS = (
    "The paper's errors are means of 10 runs of unknown spread: the interval of a difference holds the noise of our "
    "seeds alone; one that leaves out zero is no proof of a difference, nor is one that holds zero a proof of none."
)


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
    if len(layout.parts) > WIDE:
        frame, columns = _stacked(filled, layout, marks)
    else:
        frame, columns = _wide(filled, layout, marks)
    caption = (
        f"{layout.title}, top-1 and top-5 error in percent"
        if len(layout.parts) > WIDE
        else f"{layout.title}, error in percent"
    )
    return Table(
        f"{caption}: as published, as measured here, and the difference.",
        frame,
        columns,
        _note(sweep, filled, name, marks),
    )


def _as_published(name: str) -> Table:
    layout = LAYOUTS[name]
    frame, columns = _wide(rows(_none(), [], name), layout, {})
    kept = [
        column for column in columns if not column.title.endswith(("measured", "difference")) and column.title != "n"
    ]
    note = "Average precision in percent on COCO minival, Faster R-CNN. Nothing of it is run here."
    return Table(f"{layout.title}: as published.", frame, kept, note)


def _none() -> Study:
    return Study(pd.DataFrame(), pd.DataFrame(), [], {}, [], 0)


def _marks(filled: Sequence[Row]) -> dict[str, str]:
    """A letter for each thing that is said of a cell."""
    said = [text for _, cells in filled for cell in cells.values() if cell.measured.n for text in _said(cell)]
    return {text: chr(ord("a") + index) for index, text in enumerate(dict.fromkeys(said))}


def _said(cell: Cell) -> list[str]:
    why = "not in the paper's table" if OTHERS in cell.why else f"not comparable: {'; '.join(cell.why)}"
    return [*([why] if cell.why else []), *cell.says]


def _head(line: Any) -> dict[str, Any]:
    return {"arm": line.arm, "setting": line.setting or "–", "aside": line.aside or "–"}


def _facts(layout: Layout) -> list[Column]:
    shapes = [Column("setting", text("setting"), left=True)] if layout.shapes else []
    asides = [Column(layout.aside, text("aside"), left=True)] if layout.aside else []
    return [Column("network", text("arm"), left=True), *shapes, *asides]


def _wide(filled: Sequence[Row], layout: Layout, marks: dict[str, str]) -> tuple[pd.DataFrame, list[Column]]:
    """A row a line; published, measured and difference of each of the paper's columns beside each other."""
    columns, titles = _facts(layout), [part.title for part in layout.parts]
    records = [_head(line) | _numbers(cells, titles) | _ends(cells.values(), marks) for line, cells in filled]
    for title in titles:
        before = f"{title} " if len(titles) > 1 else ""
        columns += [
            Column(f"{before}published", number(f"{title} published", f".{layout.digits}f"), key=f"{title} published"),
            Column(f"{before}measured", _with_interval(f"{title} measured", ".2f"), key=f"{title} measured"),
            Column(f"{before}difference", _with_interval(f"{title} difference", "+z.2f"), key=f"{title} difference"),
        ]
    return pd.DataFrame(records), [*columns, *_last(records)]


def _stacked(filled: Sequence[Row], layout: Layout, marks: dict[str, str]) -> tuple[pd.DataFrame, list[Column]]:
    """Up to three rows a line, published, measured and difference below each other; columns as in the paper."""
    titles, records = [part.title for part in layout.parts], list[dict[str, Any]]()
    for line, cells in filled:
        ends = _ends(cells.values(), marks)
        kinds = ("published", "measured", "difference")
        kept = [kind for kind in kinds if any(_value(cell, kind).n for cell in cells.values())]
        for kind in kept:
            values = {title: _value(cells.get(title, Cell()), kind) for title in titles}
            own = ends if kind == kept[-1] else {"n": ends["n"] if kind == "measured" else "", "note": ""}
            records.append(
                _head(line) | {"what": kind} | _flat(values) | (own if kind != "published" else own | {"n": ""})
            )
    columns = [*_facts(layout), Column("", text("what"), left=True)]
    columns += [Column(title, _by_kind(title, layout.digits), key=title) for title in titles]
    return pd.DataFrame(records), [*columns, *_last(records)]


def _value(cell: Cell, kind: str) -> Estimate:
    """A cell's number of a kind; a published one has no interval."""
    if kind != "published":
        return cell.measured if kind == "measured" else cell.difference
    nan = math.nan
    return NOTHING if cell.published is None else Estimate(1, cell.published, nan, nan, nan)


def _flat(values: dict[str, Estimate]) -> dict[str, float]:
    ends = {"": "mean", " low": "low", " high": "high"}
    return {f"{title}{end}": getattr(one, field) for title, one in values.items() for end, field in ends.items()}


def _numbers(cells: dict[str, Cell], titles: Sequence[str]) -> dict[str, float]:
    kinds = ("published", "measured", "difference")
    return _flat({f"{title} {kind}": _value(cells.get(title, Cell()), kind) for title in titles for kind in kinds})


def _ends(cells: Any, marks: dict[str, str]) -> dict[str, str]:
    """How many seeds, and the letters of what there is to say."""
    counts = sorted({cell.measured.n for cell in cells if cell.measured.n})
    said = [marks[text] for cell in cells if cell.measured.n for text in _said(cell)]
    return {"n": "–".join(map(str, counts[:1] + counts[1:][-1:])), "note": " ".join(sorted(set(said)))}


def _last(records: Sequence[dict[str, Any]]) -> list[Column]:
    columns = [Column("n", text("n")), Column("note", text("note"), left=True)]
    return [column for column in columns if any(record[column.title] for record in records)]


def _with_interval(key: str, style: str) -> Any:
    def show(row: dict[str, Any]) -> str:
        mean, low, high = (number(f"{key}{end}", style)(row) for end in ("", " low", " high"))
        return mean if low == "–" else f"{mean} [{low}, {high}]"

    return show


def _by_kind(title: str, digits: int) -> Any:
    styles = {"published": f".{digits}f", "measured": ".2f", "difference": "+z.2f"}
    return lambda row: _with_interval(title, styles[row["what"]])(row)


def _note(sweep: Sweep, filled: Sequence[Row], name: str, marks: dict[str, str]) -> str:
    if not any(cell.measured.n for _, cells in filled for cell in cells.values()):
        return "Published by the paper; nothing is measured yet."
    cells = [cell for _, row in filled for cell in row.values() if cell.measured.n]
    parts = ["Measured: mean over n seeds with a 95% interval."]
    if any(cell.difference.n for cell in cells):
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


def _record(name: str, line: Any, title: str, cell: Cell) -> dict[str, Any]:
    found, apart = cell.measured, cell.difference
    return {
        **{"table": name, "network": line.arm, "design": line.design, "setting": line.setting, "aside": line.aside},
        **{"column": title, "panel": cell.panel, "arm": cell.arm, "evaluation": cell.evaluation},
        **{"published": math.nan if cell.published is None else cell.published},
        **{"n": found.n, "measured": found.mean, "low": found.low, "high": found.high},
        **{"difference": apart.mean, "difference_low": apart.low, "difference_high": apart.high},
        "note": "; ".join(_said(cell)),
    }


def published_note(name: str) -> str:
    """What the paper says beside the numbers of a table."""
    return "; ".join(dict.fromkeys(row.note for row in select(table=name) if row.note))
