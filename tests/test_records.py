"""Logs: one line a record, torn tails forgiven, other damage named."""

import pytest

from ablation.errors import UserError
from ablation.records import Log, last_epochs, read_records


@pytest.fixture
def path(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    for epoch in (1, 2):
        log.append("epoch", epoch=epoch, top1_error=10.0)
    log.close()
    return tmp_path / "log.jsonl"


def test_what_is_written_is_read(path):
    records = read_records(path)
    assert [record["epoch"] for record in records] == [1, 2]
    assert all(record["kind"] == "epoch" and record["time"].endswith("+00:00") for record in records)


def test_an_absent_log_has_no_records(tmp_path):
    assert read_records(tmp_path / "absent") == []


def test_a_torn_tail_is_dropped_by_readers_and_by_the_next_writer(path):
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "epo')
    assert len(read_records(path)) == 2
    log = Log(path)
    log.append("epoch", epoch=3)
    log.close()
    assert [record["epoch"] for record in read_records(path)] == [1, 2, 3]
    assert path.read_bytes().startswith(whole)


def test_a_torn_first_line_leaves_an_empty_log(tmp_path):
    (tmp_path / "log").write_bytes(b'{"kind"')
    Log(tmp_path / "log").close()
    assert (tmp_path / "log").read_bytes() == b""


@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff\xfe", b'{"epoch": 1}'])
def test_damage_in_the_middle_is_named(path, line):
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(UserError, match=r"log.jsonl:1: damaged record"):
        read_records(path)


def test_the_later_of_two_records_of_an_epoch_counts(path):
    log = Log(path)
    log.append("epoch", epoch=2, top1_error=9.0)
    log.close()
    assert [record["top1_error"] for record in last_epochs(read_records(path))] == [10.0, 9.0]


def test_numbers_that_json_has_no_word_for_are_refused(path):
    log = Log(path)
    with pytest.raises(ValueError):
        log.append("epoch", loss=float("nan"))
    log.close()
    assert len(read_records(path)) == 2
