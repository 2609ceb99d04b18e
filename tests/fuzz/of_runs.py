"""Parsers of what run folders hold: descriptions, logs, results, bits, checkpoints, caches, launches."""

import hashlib
import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from fuzz.mutate import VALUES, WORDS, Case
from fuzz.parser import Parser
from studies import sweep_fields, write_study

from ablation import checkpoint
from ablation.board import read_board
from ablation.command import print_json
from ablation.errors import UserError
from ablation.records import last_epochs, last_step, read_records
from ablation.registration import register, registrations
from ablation.run import load_run, read_state
from ablation.seal import seal
from analysis import cache
from analysis.bits import read_right
from analysis.collect import collect
from analysis.finished import read_finished
from analysis.logs import read_epochs

DATA = {"name": "fashion_mnist", "evaluations": {"few": {"classes": [0, 1]}}}


class Study:
    """A sweep all of whose runs are finished, of whose first run one file is replaced for a while."""

    def __init__(self, folder: Path) -> None:
        fields = sweep_fields(("resnet11_1x8d", "resnext11_4x3d"), dataset=DATA, seeds=1)
        self.sweep, self.runs = write_study(folder, fields)
        run = self.sweep.runs()[0]
        self.paths = self.sweep.paths(self.runs, run)
        self.paths.bits("test").write_bytes(bytes(1250))
        self.files = {path.name: path.read_bytes() for path in self.paths.folder.iterdir()}
        self.value = {name: json.loads(data) for name, data in self.files.items() if name.endswith(".json")}
        self.known = collect(self.sweep, self.runs, cache=False)

    def look(self) -> None:
        """What status and report read."""
        read_state(self.paths)
        print_json(read_board(self.sweep, self.runs).to_json())
        collect(self.sweep, self.runs, cache=False)


def replaced(name: str, make: Callable[[Study, Case], bytes], then: Callable[[Study], None]) -> Any:
    """Feeds a file of the first run; afterwards it is as it was."""

    def feed(folder: Path, study: Study, case: Case) -> None:
        path = study.paths.folder / name
        path.write_bytes(make(study, case))
        try:
            then(study)
        finally:
            path.write_bytes(study.files[name]) if name in study.files else path.unlink()

    return feed


def look_at_run(study: Study) -> None:
    try:
        load_run(study.paths)
    finally:
        study.look()


def log_of(study: Study, case: Case) -> bytes:
    lines = [json.loads(line) for line in study.files["log.jsonl"].splitlines()]
    lines += [{"kind": "event", "time": "2026-01-01T09:00:00.000+00:00", "event": "start", "step": 3, "attempt": 1}]
    if case.kind < 5:
        return "".join(json.dumps(line, default=str) + "\n" for line in case.tree(lines)).encode(
            "utf-8", "surrogatepass"
        )
    return case.data("".join(json.dumps(line) + "\n" for line in lines).encode())


def look_at_log(study: Study) -> None:
    result = study.paths.result
    result.rename(result.with_suffix(".away"))  # read_state reads the log only where there is no result
    study.paths.attempts.mkdir(exist_ok=True)
    attempt = study.paths.attempts / "0000.json"
    attempt.write_text(json.dumps({"host": "elsewhere", "pid": 1, "process_started": "1", "ended": "stopped"}))
    try:
        for read in (
            read_records,
            last_step,
            lambda path: list(read_epochs([path])),
            lambda path: last_epochs(read_records(path)),
        ):
            _refused_or_read(partial(read, study.paths.log))
        _refused_or_read(lambda: print_json(read_board(study.sweep, study.runs).to_json()))
    finally:
        attempt.unlink()
        study.paths.attempts.rmdir()
        result.with_suffix(".away").rename(result)
    collect(study.sweep, study.runs, cache=False)


def _refused_or_read(read: Callable[[], Any]) -> None:
    with suppress(UserError):
        read()


def look_at_bits(study: Study) -> None:
    for images in (10_000, 0, -1, 1, 7, 10**15):
        read_right(study.paths.bits("test"), images)
    study.known.right("width 8", "resnet11_1x8d")


class Reduce:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch canary",)


def set_up_checkpoint(folder: Path) -> dict[str, Any]:
    content = {
        "run": "a-run",
        "network": {"stem.weight": torch.ones(2, 3), "head.bias": torch.zeros(4)},
        "optimiser": {
            "state": {0: {"momentum_buffer": torch.ones(2, 3)}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
        "progress": {
            "step": 3,
            "recorded": 1,
            "seconds": 1.5,
            "loss": torch.zeros((), dtype=torch.float64),
            "broken": [],
        },
    }
    checkpoint.save(folder / "checkpoint.pt", content)
    zipped, old, evil, old_evil = (io.BytesIO() for _ in range(4))
    torch.save(content, zipped)
    torch.save(content, old, _use_new_zipfile_serialization=False)
    torch.save({**content, "x": Reduce()}, evil)
    torch.save({**content, "x": Reduce()}, old_evil, _use_new_zipfile_serialization=False)
    saved = (folder / "checkpoint.pt").read_bytes()
    files = [
        saved,
        saved,
        zipped.getvalue(),
        old.getvalue(),
        evil.getvalue(),
        old_evil.getvalue(),
        pickle.dumps(Reduce()),
    ]
    return {"files": files, "content": content}


def feed_checkpoint(folder: Path, shared: dict[str, Any], case: Case) -> None:
    """Damaged, and in half of the cases with a digest that fits: whoever can change a file can seal it too."""
    path = folder / "checkpoint.pt"
    if case.kind < 3:
        buffer = io.BytesIO()
        torch.save(case.tree(shared["content"]), buffer)
        data = buffer.getvalue()
    else:
        data = case.data(case.pick(shared["files"]))
    with suppress(AssertionError, IndexError, struct.error):  # no end of an archive to put a digest into
        data = b"".join(seal(memoryview(data))) if case.kind % 2 == 0 else data
    path.write_bytes(data)
    checkpoint.load(path, "a-run")


def set_up_cache(folder: Path) -> Study:
    study = Study(folder)
    known = collect(study.sweep, study.runs, cache=False)
    assert len(known.runs) == 2
    first = {run.id: run for run in study.sweep.runs()}
    study.cached = read_finished(first, study.runs / study.sweep.name, cache=False)  # type: ignore[attr-defined]
    cache.save(study.runs / study.sweep.name, study.cached)  # type: ignore[attr-defined]
    return study


def feed_cache(folder: Path, study: Any, case: Case) -> None:
    """Damaged Parquet with a manifest that fits it: whoever can write one can write the other."""
    place = study.runs / study.sweep.name / cache.FOLDER
    cache.save(study.runs / study.sweep.name, study.cached)
    if case.kind == 0:
        manifest = place / "manifest.json"
        manifest.write_bytes(case.json(json.loads(manifest.read_bytes())))
    else:
        name = ("runs.parquet", "epochs.parquet")[case.kind % 2]
        data = _columns(pq.read_table(place / name), case) if case.kind < 5 else case.data((place / name).read_bytes())
        (place / name).write_bytes(data)
        manifest = {"version": cache.VERSION}
        manifest |= {
            n: hashlib.sha256((place / n).read_bytes()).hexdigest() for n in ("runs.parquet", "epochs.parquet")
        }
        (place / "manifest.json").write_text(json.dumps(manifest))
    found = collect(study.sweep, study.runs)
    assert len(found.runs) + len(found.missing) == 2, "a cache may not take a run away"


def _columns(table: pa.Table, case: Case) -> bytes:
    """The same table with other columns, types, rows or values."""
    name = case.pick(table.column_names)
    values: list[Any] = [case.pick((*VALUES[:25], *WORDS[:40]), n) for n in range(len(table))]
    try:
        column = pa.array(values[:1] * len(table))
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, ValueError):
        column = pa.nulls(len(table))
    changed = {
        0: lambda: table.drop_columns([name]),
        1: lambda: table.slice(1),
        2: lambda: pa.concat_tables([table, table]),
        3: lambda: table.select([]),
    }.get(case.changes[0][0], lambda: table.set_column(table.column_names.index(name), name, column))()
    buffer = pa.BufferOutputStream()
    pq.write_table(changed, buffer)
    return buffer.getvalue().to_pybytes()


def set_up_launch(folder: Path) -> Study:
    study = Study(folder)
    with patch("ablation.registration.provenance", lambda: dict.fromkeys(("commit", "dirty", "command"))):
        register(study.sweep, study.runs)
    place = study.runs / study.sweep.name
    launch = place / "launches" / "20260101T000000-abcdef"
    launch.mkdir(parents=True)
    study.paths.attempts.mkdir()
    id = study.paths.id
    files = {
        launch / "launch.json": {
            "on": "local",
            "runs": [id],
            "jobs": ["1"],
            "processes": {"1": "2"},
            "host": "elsewhere",
        },
        launch / "planned.json": {"on": "local", "runs": [id], "count": 1},
        launch / "ended.json": {
            "jobs": [{k: "x" for k in ("id", "raw", "state", "reason", "nodes", "submitted", "name", "comment")}]
        },
        study.paths.attempts / "0000.json": {
            **{
                "host": "elsewhere",
                "pid": 1,
                "process_started": "1",
                "started": "2026-01-01T00:00:00+00:00",
                "job": "3",
            },
            **{
                "ended": "failed",
                "ended_at": "2026-01-01T01:00:00+00:00",
                "message": "x",
                "worker": "n1:3",
                "launch": launch.name,
            },
        },
        place / "registration.json": json.loads((place / "registration.json").read_text()),
    }
    for path, value in files.items():
        path.write_text(json.dumps(value))
    study.paths.result.unlink()
    study.beside = files  # type: ignore[attr-defined]
    return study


def feed_launch(folder: Path, study: Any, case: Case) -> None:
    path = case.pick(list(study.beside))
    path.write_bytes(case.json(study.beside[path]))
    try:
        _refused_or_read(lambda: registrations(study.runs, study.sweep.name))
        study.look()
    finally:
        path.write_text(json.dumps(study.beside[path]))


PARSERS = [
    Parser(
        "run.json",
        "a run's description",
        Study,
        replaced("run.json", lambda s, c: c.json(s.value["run.json"]), look_at_run),
    ),
    Parser("log.jsonl", "a run's log", Study, replaced("log.jsonl", log_of, look_at_log)),
    Parser(
        "result.json",
        "a run's result",
        Study,
        replaced("result.json", lambda s, c: c.json(s.value["result.json"]), Study.look),
    ),
    Parser(
        "bits",
        "a run's correct images",
        Study,
        replaced("correct.test.bits", lambda s, c: c.data(bytes(1250)), look_at_bits),
    ),
    Parser("checkpoint", "a checkpoint; pickles that run code", set_up_checkpoint, feed_checkpoint),
    Parser("cache", "Parquet caches with a manifest that fits", set_up_cache, feed_cache),
    Parser("launches", "launches, attempts, registrations", set_up_launch, feed_launch),
]
