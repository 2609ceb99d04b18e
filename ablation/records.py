"""Records: the JSON lines of a run's log. One writer, one write per line, append only; readers forgive a torn tail.

Every record has `kind` and `time` (UTC, ISO 8601). Kinds and their fields:

epoch       epoch (from 1), epochs, step (optimiser steps so far), train_loss, train_error (percent, as the network
            saw its augmented images), evaluation (`test` or `validation`), loss, top1_error, top5_error (percent),
            images (exactly evaluated), lr (of the epoch's last step), images_per_second (training), seconds
            (training and evaluation of this epoch)
event       event: start, resume, checkpoint, stop, warning, accumulate, kernels, layout, done, failed; with epoch,
            step, message, attempt (how many workers have had the run), ranks (processes, where several) where they
            apply
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablation.errors import UserError
from ablation.fields import damaged, is_count, is_number

Record = dict[str, Any]
_FITS = {
    **dict.fromkeys(("epoch", "epochs", "step", "images", "attempt", "ranks"), is_count),
    **dict.fromkeys(("train_loss", "train_error", "loss", "top1_error", "top5_error", "lr", "seconds"), is_number),
    **{"images_per_second": is_number, "message": lambda value: isinstance(value, str)},
}
"""Of known fields, what their values must be, where they are not null."""


def now() -> str:
    """The time as records hold it: UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Log:
    """Appends records to a file; only the claim's holder may have one open."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._drop_torn_tail()

    def _drop_torn_tail(self) -> None:
        """A writer that was killed inside a line left a tail that nobody acknowledged."""
        size = os.fstat(self._file).st_size
        end = size
        while end and os.pread(self._file, 1, end - 1) != b"\n":
            end -= 1
        if end != size:
            os.ftruncate(self._file, end)

    def append(self, kind: str, **fields: Any) -> Record:
        """Write one record, in one write; it is on disk when this returns."""
        record = {"kind": kind, "time": now(), **fields}
        line = json.dumps(record, allow_nan=False) + "\n"
        written = os.write(self._file, line.encode())
        if written != len(line.encode()):
            raise OSError(28, "the disk is full: a record was written in part")
        os.fsync(self._file)
        return record

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)


class NoLog:
    """What a process has whose run another one writes about."""

    def append(self, kind: str, **fields: Any) -> Record:
        """Write nothing."""
        return {"kind": kind, **fields}

    def close(self) -> None:
        """Nothing to release."""


def read_records(path: Path) -> list[Record]:
    """Every record of a log; an absent file has none, a torn last line is dropped.

    Raises UserError, with file:line, where any other line is damaged.
    """
    return list(parse_records(path.read_bytes(), path)) if path.exists() else []


def parse_records(log: bytes, path: Path) -> Iterator[Record]:
    """The records of a log whose bytes are at hand, one a line; `path` is what errors name. Raises UserError."""
    *lines, tail = log.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
                raise ValueError("not a record")
        except (ValueError, RecursionError) as error:
            raise UserError(
                "damaged record", where=f"{path}:{number}", remedy=f"{error}. Remove the run's folder to run it again."
            ) from None
        _check(record, f"{path}:{number}")
        yield record
    if tail:
        return  # no newline: the writer was killed inside this line


def _check(record: Record, where: str) -> None:
    """Raises UserError where a known field has not the kind of value that it has."""
    for name, value in record.items():
        fits = _FITS.get(name)
        if fits and value is not None and not fits(value):
            raise _damaged(name, value, where)
    if record["kind"] == "epoch" and record.get("epoch") is None:
        raise _damaged("epoch", None, where)


def _damaged(name: str, value: Any, where: str) -> UserError:
    return damaged(f"record: {name} is {value!r:.60}", where, "Remove the run's folder to run it again.")


def last_step(path: Path) -> int:
    """The optimiser step that a log tells last; 0 where it tells none. Raises UserError as `read_records` does."""
    return max((record["step"] for record in read_records(path) if record.get("step") is not None), default=0)


def last_epochs(records: list[Record]) -> list[Record]:
    """The epoch records, one an epoch, in order: a resumed run wrote some twice, and the later one counts."""
    return [record for _, record in sorted({r["epoch"]: r for r in records if r["kind"] == "epoch"}.items())]
