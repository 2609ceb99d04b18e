"""Logs read together give what each gives line by line; what is damaged is named by file and line."""

import json
import random

import pytest

from ablation.errors import UserError
from ablation.records import last_epochs, read_records
from analysis import logs
from analysis.logs import EPOCHS, MEASURES, read_epochs


def epoch(number, **changes):
    measures = {name: number + index / 3 for index, name in enumerate(MEASURES)}
    return {"kind": "epoch", "time": "2026-01-01T09:00:00.000+00:00", "epoch": number, **measures, **changes}


EVENT = {"kind": "event", "time": "2026-01-01T09:00:00.000+00:00", "event": "start", "step": 0}


def write(path, *lines):
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return path


def rows(*paths):
    return [row for table in read_epochs(paths) for row in table.to_pylist()]


def test_epochs_of_many_logs_follow_each_other(tmp_path):
    one = write(tmp_path / "1", EVENT, epoch(1), epoch(2), {"kind": "event", "event": "done"})
    two = write(tmp_path / "2", epoch(1, lr=None, images=10), epoch(2))
    found = rows(one, tmp_path / "absent", two)
    assert [(row["run"], row["epoch"]) for row in found] == [(0, 1), (0, 2), (2, 1), (2, 2)]
    assert list(found[0]) == EPOCHS.names and found[2]["lr"] is None and found[3]["loss"] == epoch(2)["loss"]


def test_no_logs_have_no_epochs(tmp_path):
    assert rows() == [] and rows(tmp_path / "absent") == [] and rows(write(tmp_path / "empty")) == []


def test_of_an_epoch_written_twice_the_later_counts(tmp_path):
    log = write(tmp_path / "log", *(epoch(n) for n in (1, 2, 3)), epoch(2, loss=7.0), epoch(3), epoch(4))
    assert [(row["epoch"], row["loss"] == 7.0) for row in rows(log)] == [(1, False), (2, True), (3, False), (4, False)]


def test_a_torn_last_line_is_forgiven_wherever_the_log_stands(tmp_path):
    torn, whole = write(tmp_path / "1", epoch(1), b'{"kind": "epo'), write(tmp_path / "2", epoch(1))
    assert len(rows(torn, whole)) == len(rows(whole, torn)) == 2
    assert rows(write(tmp_path / "3", b'{"kind"')) == []


@pytest.mark.parametrize(
    "line",
    [
        b"?\n",
        b"\n",
        b"{}\n",
        b"[1]\n",
        b'{"kind": "epoch"}\n',
        b'{"kind": "epoch", "epoch": 1.5}\n',
        b'{"kind": "epoch", "epoch": true}\n',
        b'{"kind": "epoch", "epoch": 2, "loss": "low"}\n',
        b'{"kind": "epoch", "epoch": 2}{"kind": "epoch", "epoch": 3}\n',
        b'{"kind": "epoch", "epoch": 2\n',
        b'{"kind": "event", "message": "\xff"}\n',
    ],
)
def test_a_damaged_line_among_many_logs_is_named(tmp_path, line):
    paths = [write(tmp_path / str(n), epoch(1), epoch(2)) for n in range(9)]
    write(paths[5], epoch(1), line, epoch(3))
    with pytest.raises(UserError, match="damaged record") as error:
        rows(*paths)
    assert error.value.where == f"{paths[5]}:2"


def test_two_objects_in_a_line_are_not_made_up_for_by_an_empty_one(tmp_path):
    log = write(tmp_path / "log", json.dumps(epoch(1)).encode() * 2 + b"\n\n")
    with pytest.raises(UserError) as error:
        rows(log)
    assert error.value.where == f"{log}:1"


@pytest.mark.parametrize("line", [b'{"kind": "epoch", "epoch": 2, "loss": NaN}\n', '{"kind": "é"}\n'.encode()])
def test_what_only_python_reads_is_read_too(tmp_path, line):
    assert rows(write(tmp_path / "log", epoch(1), line))[0]["loss"] == epoch(1)["loss"]


ODD = [
    b'{"kind": "epoch", "epoch": 3, "loss": -0.0, "lr": 1e-320, "train_loss": 123456789012345678901}\n',
    b'{"kind": "epoch", "epoch": 4, "loss": 1e999}\n',
    b'{"kind": "epoch", "epoch": 5, "loss": Infinity}\n',
    b' {"kind": "epoch", "epoch": 6} \n',
    b'{"epoch": 7, "kind": "epoch", "kind": "event"}\n',
    b'{"kind": "epoch", "epoch": 8, "more": {"epoch": [1, {"a": 2}]}}\n',
    b'{"kind": "event", "message": "\\ud800 }\\n{"}\n',
    b'{"kind": 5}\n',
    b'{"kind": null, "epoch": 9}\n',
    b"null\n",
    b'{"kind": "epoch", "epoch": null}\n',
    b'{"kind": "epoch", "epoch": 99999999999999999999}\n',
    b"\r\n",
    b'{"kind": "epoch", "epoch": 1, "epoch": 2}\n',
]


def as_float(value):
    return None if value is None else float(value)


def plainly(path):
    """As `ablation.records` reads a log."""
    found = last_epochs(read_records(path))
    return [[record["epoch"], *(as_float(record.get(name)) for name in MEASURES)] for record in found]


@pytest.mark.parametrize("seed", range(60))
def test_odd_logs_give_the_rows_that_records_give_or_an_error(tmp_path, seed, monkeypatch):
    chance = random.Random(seed)
    monkeypatch.setattr(logs, "PART", chance.choice([1, 500, 32 << 20]))
    paths = []
    for number in range(5):
        lines = [epoch(n) for n in range(1, 4)] + chance.sample(ODD, chance.choice([0, 0, 1, 2]))
        chance.shuffle(lines)
        paths.append(write(tmp_path / str(number), *lines, *chance.sample([b'{"kin'], chance.randrange(2))))
    try:
        wanted = [[run, *row] for run, path in enumerate(paths) for row in plainly(path)]
    except (UserError, TypeError, KeyError):
        wanted = None
    try:
        found = [list(row.values()) for row in rows(*paths)]
    except UserError as error:
        assert any(error.where.startswith(f"{path}:") for path in paths)
    else:
        assert found == wanted
