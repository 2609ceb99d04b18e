"""The cache of finished runs, `runs/<sweep>/.collected/`: three files that may be removed at any time.

runs.parquet    a row a run, after `RUNS`
epochs.parquet  a row an epoch, after `analysis.logs.EPOCHS`; `run` is the row of runs.parquet, in its order
manifest.json   the version of this layout and the SHA-256 of the other two

Whatever does not fit the manifest is as good as absent: a file that was damaged, that another version wrote, or that
another process is just replacing. A folder that can't be written to stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ablation.run import LOG, RESULT, RUN_JSON
from analysis.logs import EPOCHS

VERSION = 2
"""Raised whenever the same files would give other rows."""
FOLDER = ".collected"
SETTLED = 2.0
"""Seconds for which a file's time stamps may hide another change: clocks of file systems tick that coarsely."""
COUNTS = ("params", "macs", "activations", "images", "epochs")
MEASURES = ("top1_error", "top5_error", "loss", "train_error", "train_loss", "seconds", "images_per_second")
RUNS = pa.schema(
    [
        ("id", pa.string()),
        ("stamp", pa.string()),
        ("epoch_rows", pa.int64()),
        ("about", pa.dictionary(pa.int32(), pa.string())),
        ("finished", pa.string()),
        ("further", pa.string()),
        *((name, pa.int64()) for name in COUNTS),
        *((name, pa.float64()) for name in MEASURES),
    ]
)
"""A row a finished run: `stamp` of its files when they were read (`stamp_of`); its number of `epoch_rows`; what its
run.json says `about` it, as JSON (engine, recipe, data, execution, and of its provenance commit, dirty, versions); when
it `finished`, UTC; `further` evaluations, as JSON, by name; its cost; its result (errors in percent, of the evaluation
that its data set names)."""


@dataclass(frozen=True)
class Cached:
    """Finished runs as they were read."""

    rows: list[dict[str, Any]]
    """After `RUNS`."""
    epochs: pa.Table
    """Of these runs, in their order."""

    def only(self, keep: list[bool]) -> Cached:
        """Some of the runs, by row."""
        if all(keep):
            return self
        counts = [row["epoch_rows"] for row in self.rows]
        rows = [row for row, kept in zip(self.rows, keep, strict=True) if kept]
        return Cached(rows, self.epochs.filter(pa.array(np.repeat(np.array(keep, dtype=bool), counts))))

    def and_also(self, other: Cached) -> Cached:
        """These runs, then others."""
        return Cached([*self.rows, *other.rows], pa.concat_tables([self.epochs, other.epochs]))


EMPTY = Cached([], EPOCHS.empty_table())


def stamp_of(folder: str) -> str | None:
    """Sizes and times of change of a run's result, log and run.json; None where there is no result."""
    stamps = [_stat(f"{folder}/{name}") for name in (RESULT, LOG, RUN_JSON)]  # text: a Path takes longer than the stat
    return " ".join(stamps) if stamps[0] else None


def _stat(path: str) -> str:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"  # ctime: an edit can set mtime back


def settled(stamp: str) -> bool:
    """Whether files with this stamp can't have changed since without another stamp."""
    times = [int(part) for file in stamp.split() for part in file.split(":")[1:]]
    return max(times) < time.time_ns() - SETTLED * 1e9


def load(folder: Path) -> Cached:
    """What a sweep's folder has cached; nothing where that is absent or not to be trusted."""
    try:
        manifest = json.loads((folder / FOLDER / "manifest.json").read_bytes())
        if manifest["version"] != VERSION:
            return EMPTY
        runs, epochs = (_table(folder / FOLDER / name, manifest[name]) for name in _FILES)
        _check(runs, epochs)
        return Cached(_rows(runs), epochs)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, pa.ArrowException):
        return EMPTY


NEEDED = ("id", "stamp", "epoch_rows", "about", "further", "top1_error", "top5_error", "images", "epochs", "seconds")
"""Columns without which a row is no finished run."""


STAMP = r"^\d{1,18}:\d{1,19}:\d{1,19}( (\d{1,18}:\d{1,19}:\d{1,19})?){2}$"


def _check(runs: pa.Table, epochs: pa.Table) -> None:
    """Raises ValueError where these are not tables that `save` writes: anybody may have written others."""
    if not (runs.schema.equals(RUNS) and epochs.schema.equals(EPOCHS)):
        raise ValueError("other columns")
    if any(runs[name].null_count for name in NEEDED) or epochs["run"].null_count or epochs["epoch"].null_count:
        raise ValueError("values are missing")
    if not pc.all(pc.match_substring_regex(runs["stamp"], STAMP), min_count=0).as_py():
        raise ValueError("no stamp of files")
    runs.validate(full=True)
    epochs.validate(full=True)
    counts, ids = runs["epoch_rows"].to_numpy(), runs["id"].to_pylist()
    if len(set(ids)) < len(ids) or (counts < 0).any() or counts.sum() != len(epochs):
        raise ValueError("rows that do not fit each other")
    if (epochs["run"].to_numpy() != np.repeat(np.arange(len(counts)), counts)).any():
        raise ValueError("rows that do not fit each other")


_FILES = ("runs.parquet", "epochs.parquet")


def _table(path: Path, digest: str) -> pa.Table:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError("another file than the manifest names")
    return pq.read_table(pa.BufferReader(data), read_dictionary=["about"] if path.name == _FILES[0] else None)


def _rows(runs: pa.Table) -> list[dict[str, Any]]:
    """As `to_pylist` gives them; one string for all runs that say the same about themselves."""
    about = runs["about"].combine_chunks()
    texts, columns = about.dictionary.to_pylist(), {name: runs[name].to_pylist() for name in RUNS.names}
    columns["about"] = [texts[index] for index in about.indices.to_pylist()]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def save(folder: Path, cached: Cached) -> None:
    """Write the cache, or leave it as it is where that is not possible."""
    place = folder / FOLDER
    counts = [row["epoch_rows"] for row in cached.rows]
    run = pa.array(np.repeat(np.arange(len(counts), dtype=np.int32), counts))
    tables = (pa.Table.from_pylist(cached.rows, schema=RUNS), cached.epochs.set_column(0, EPOCHS.field("run"), run))
    with suppress(OSError):
        place.mkdir(exist_ok=True)
        files = {name: _bytes(table) for name, table in zip(_FILES, tables, strict=True)}
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        files["manifest.json"] = (json.dumps({"version": VERSION, **digests}, indent=2) + "\n").encode()
        for name, data in files.items():
            _replace(place / name, data)


def _bytes(table: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="lz4", use_dictionary=["about", "run", "epoch"])
    return buffer.getvalue().to_pybytes()


def _replace(path: Path, data: bytes) -> None:
    spare = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        spare.write_bytes(data)
        os.replace(spare, path)
    finally:
        spare.unlink(missing_ok=True)
