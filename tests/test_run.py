"""Runs: identity, folder, and the state that files tell."""

import json
from dataclasses import replace

import pytest

from ablation.claim import take
from ablation.errors import UserError
from ablation.records import Log
from ablation.run import load_run, prepare, read_state, write_bytes, write_json
from ablation.sweep import load_sweep


@pytest.fixture
def run(small_sweep):
    return load_sweep(small_sweep).runs()[0]


@pytest.fixture
def paths(run, small_sweep, tmp_path):
    paths = load_sweep(small_sweep).paths(tmp_path / "runs", run)
    prepare(run, paths)
    return paths


def test_a_prepared_folder_holds_the_run(run, paths):
    assert load_run(paths) == replace(run, panel="", arm="")
    fields = json.loads(paths.run_json.read_text())
    assert fields["cost"] == {"params": 33930, "macs": 1210880, "activations": 35194, "block_params": 1088}
    assert fields["provenance"]["versions"]["torch"]
    assert fields["execution"] is None


def test_preparing_again_changes_nothing(run, paths):
    before = paths.run_json.read_bytes()
    prepare(run, paths)
    assert paths.run_json.read_bytes() == before


def test_an_id_is_stable(run):
    # another id for the same run would orphan every committed study: bump ENGINE only if its numbers change
    assert run.id == "resnet11_1x8d-s0-a11c6ac1a8"


def test_a_run_changed_by_hand_is_refused(paths):
    fields = json.loads(paths.run_json.read_text())
    write_json(paths.run_json, {**fields, "seed": 5})
    with pytest.raises(UserError, match="changed by hand"):
        load_run(paths)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": 1}', '{"sweep": "x", "design": {"blocks": "x"}}'])
def test_a_damaged_description_is_named(paths, content):
    paths.run_json.write_text(content)
    with pytest.raises(UserError, match=r"run\.json"):
        load_run(paths)


def record_epoch(paths):
    log = Log(paths.log)
    log.append("epoch", epoch=1, epochs=2, top1_error=20.0, seconds=3.0)
    log.close()


def test_states_from_files(paths):
    assert read_state(paths).state == "missing"
    claim = take(paths.attempts)
    record_epoch(paths)
    running = read_state(paths)
    assert (running.state, running.epoch, running.epochs, running.top1_error) == ("running", 1, 2, 20.0)
    claim.end("stopped", "stopped by SIGTERM")
    assert (read_state(paths).state, read_state(paths).message) == ("missing", "stopped by SIGTERM")
    take(paths.attempts).end("failed", "diverged")
    assert (read_state(paths).state, read_state(paths).message) == ("failed", "diverged")
    result = {"evaluations": {"test": {"top1_error": 9.0}}, "epochs": 2, "seconds": 5.0}
    write_json(paths.result, result)
    assert (read_state(paths).state, read_state(paths).top1_error) == ("done", 9.0)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"half")
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]
