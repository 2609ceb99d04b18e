"""Many logs at once: their epoch records as Arrow tables, read by one parallel parser, a bounded part at a time.

Logs are joined and parsed together where their bytes look as `ablation.records` writes them. Where they don't, or where
the parser balks, the part is halved until the log at fault stands alone and is read line by line: that either names
what is damaged or gives the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from ablation.errors import UserError
from ablation.fields import is_count
from ablation.records import parse_records

MEASURES = (*("train_loss", "train_error", "loss", "top1_error", "top5_error", "lr", "seconds", "images_per_second"),)
EPOCHS = pa.schema([("run", pa.int32()), ("epoch", pa.int64()), *((name, pa.float64()) for name in MEASURES)])
"""A row an epoch of a run: which run, counted from 0; the epoch, from 1; measures as the records name them."""
PART = 32 << 20
"""Bytes of logs that are in memory at once, unless one alone is longer."""
_RECORD = pa.schema([("kind", pa.string()), *(field for field in EPOCHS if field.name != "run")])


@dataclass(frozen=True)
class _Log:
    run: int
    path: Path
    data: bytes
    """Whole lines."""

    @property
    def lines(self) -> int:
        return self.data.count(b"\n")


def read_epochs(paths: Iterable[Path]) -> Iterator[pa.Table]:
    """The epoch records of logs, as tables after `EPOCHS` that follow each other; `run` counts the paths.

    One row an epoch, by run and epoch: a resumed run wrote some epochs twice, and the later record counts. An absent
    log has no rows; a torn last line is forgiven. Raises UserError, with file:line, where another line is damaged.
    """
    part: list[_Log] = []
    held = 0
    for run, path in enumerate(paths):
        part.append(_Log(run, path, _whole_lines(path)))
        held += len(part[-1].data)
        if held >= PART:
            yield from _tables(part)
            part, held = [], 0
    yield from _tables(part)


def _whole_lines(path: Path) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def _tables(part: list[_Log]) -> Iterator[pa.Table]:
    if not part:
        return
    table = _parse(part)
    if table is not None:
        yield table
    elif len(part) == 1:
        yield _line_by_line(part[0])
    else:
        yield from _tables(part[: len(part) // 2])
        yield from _tables(part[len(part) // 2 :])


def _parse(part: list[_Log]) -> pa.Table | None:
    """All logs at once; None where something in them is unusual."""
    data, lines = b"".join(log.data for log in part), np.array([log.lines for log in part])
    if not data:
        return EPOCHS.empty_table()
    if not _one_object_a_line(data, int(lines.sum())):
        return None
    try:
        table = pa.json.read_json(
            pa.BufferReader(data),
            read_options=pa.json.ReadOptions(block_size=2 << 20),
            parse_options=pa.json.ParseOptions(explicit_schema=_RECORD, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        return None
    run = np.repeat(np.array([log.run for log in part], dtype=np.int32), lines)
    return None if len(table) != len(run) else _epochs(run, table.combine_chunks())


def _one_object_a_line(data: bytes, lines: int) -> bool:
    """Whether each line starts and ends as an object: if the parser then finds as many objects, it is one a line.

    Text that is not ASCII is for Python's reader: the parser does not look whether it is UTF-8.
    """
    starts = data.count(b"\n{") + data.startswith(b"{")
    return starts == lines == data.count(b"}\n") and data.isascii()


def _epochs(run: np.ndarray, table: pa.Table) -> pa.Table | None:
    """The epochs among records; None where a record has no kind, or an epoch no number."""
    if table["kind"].null_count:
        return None
    wanted = pc.equal(table["kind"], "epoch")
    if not pc.all(wanted).as_py():
        table, run = table.filter(wanted), run[wanted.to_numpy()]
    if table["epoch"].null_count:
        return None
    table = pa.table([pa.array(run), *(table[name] for name in EPOCHS.names[1:])], schema=EPOCHS)
    return _last_of_each(table, run, table["epoch"].to_numpy())


def _last_of_each(table: pa.Table, run: np.ndarray, epoch: np.ndarray) -> pa.Table:
    """By run and epoch, the last of those that were written twice."""
    if np.all((run[1:] > run[:-1]) | ((run[1:] == run[:-1]) & (epoch[1:] > epoch[:-1]))):
        return table
    order = np.lexsort((np.arange(len(run)), epoch, run))
    key = np.stack([run[order], epoch[order]])
    last = np.append(np.any(key[:, 1:] != key[:, :-1], axis=0), True)
    return table.take(pa.array(order[last]))


def _line_by_line(log: _Log) -> pa.Table:
    rows: dict[int, dict[str, Any]] = {}
    for number, record in enumerate(parse_records(log.data, log.path), 1):
        if record["kind"] == "epoch":
            row = _row(record, f"{log.path}:{number}")
            rows[row["epoch"]] = {"run": log.run, **row}
    return pa.Table.from_pylist([rows[epoch] for epoch in sorted(rows)], schema=EPOCHS)


def _row(record: dict[str, Any], where: str) -> dict[str, Any]:
    epoch = record.get("epoch")
    if not is_count(epoch):
        raise _damaged(where, f"epoch is {epoch!r}")
    return {"epoch": epoch, **{name: measure(record, name, where) for name in MEASURES}}


def measure(fields: dict[str, Any], name: str, where: str) -> float | None:
    """A number of a record; None where it is absent or null. Raises UserError where it is no number."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        if type(value) in (int, float):
            return float(value)
    except OverflowError:
        pass
    raise _damaged(where, f"{name} is {value!r}")


def _damaged(where: str, what: str) -> UserError:
    return UserError(f"damaged record: {what}", where=where, remedy="Remove the run's folder to run it again.")
