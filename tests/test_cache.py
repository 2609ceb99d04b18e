"""The cache of finished runs: never another result than without it, whatever becomes of run folders and of itself."""

import json
import os
import random
import shutil

import pytest
from pandas.testing import assert_frame_equal
from studies import draw, start_run, write_run, write_study

from ablation.errors import UserError
from ablation.sweep import load_sweep
from analysis import cache, finished
from analysis.collect import collect


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Files count as settled at once: tests do not wait."""
    monkeypatch.setattr(cache, "SETTLED", 0.0)


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path)


@pytest.fixture
def read(monkeypatch):
    """Names of the runs whose files are read."""
    names, verified = [], finished._verified
    monkeypatch.setattr(finished, "_verified", lambda run, *rest: names.append(run.id) or verified(run, *rest))
    return names


def place(study):
    return study[1] / "study" / cache.FOLDER


def assert_same(sweep, runs):
    """What is collected with the cache, checked against what is without it."""
    found, plain = collect(sweep, runs), collect(sweep, runs, cache=False)
    assert_frame_equal(found.runs, plain.runs)
    assert_frame_equal(found.epochs, plain.epochs)
    for name in ("missing", "provenance", "notes", "planned", "registrations", "bits"):
        assert getattr(found, name) == getattr(plain, name), name
    return found


def test_a_run_is_read_once(study, read):
    assert_same(*study)
    read.clear()
    collect(*study)
    assert read == []


@pytest.mark.parametrize("file", ["result.json", "log.jsonl", "run.json"])
def test_a_run_is_read_again_when_one_of_its_files_changed(study, read, file):
    sweep, runs = study
    collect(sweep, runs)
    path = sweep.paths(runs, sweep.runs()[3]).folder / file
    before = path.stat()
    path.write_text(path.read_text() + "\n" if file != "log.jsonl" else path.read_text().replace("e-01", "e-02"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as copies and archives do
    read.clear()
    collect(sweep, runs)
    assert read == [sweep.runs()[3].id]


def test_files_that_changed_a_moment_ago_are_not_kept(study, monkeypatch):
    monkeypatch.setattr(cache, "SETTLED", 60.0)
    assert_same(*study)
    assert not place(study).exists()


def test_a_part_of_the_sweep_leaves_the_rest_in_the_cache(study, read):
    sweep, runs = study
    collect(sweep, runs)
    read.clear()
    assert len(assert_same(load_sweep(sweep.path, ["seeds=1"]), runs).runs) == 5
    collect(sweep, runs)
    assert len(read) == 5  # by the one without the cache


def test_a_damaged_file_of_a_run_is_named_though_it_was_cached(study):
    sweep, runs = study
    collect(sweep, runs)
    log = sweep.paths(runs, sweep.runs()[3]).log
    log.write_text(log.read_text() + "{\n")
    with pytest.raises(UserError) as error:
        collect(sweep, runs)
    assert error.value.where == f"{log}:3"


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes({"empty": b"", "cut": data[:-9], "flipped": data, "text": b'{"version": []}'}[how])


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "text"])
@pytest.mark.parametrize("file", ["runs.parquet", "epochs.parquet", "manifest.json"])
def test_a_damaged_cache_is_made_anew_in_silence(study, file, how, read, capfd):
    assert_same(*study)
    good = (place(study) / file).read_bytes()
    damage(place(study) / file, how)
    read.clear()
    assert_same(*study)
    assert len(read) == 30 and (place(study) / file).read_bytes() == good
    assert capfd.readouterr() == ("", "")


def test_another_version_is_made_anew(study, read):
    collect(*study)
    manifest = place(study) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": cache.VERSION + 1}))
    read.clear()
    assert_same(*study)
    assert len(read) == 30 and json.loads(manifest.read_text())["version"] == cache.VERSION


def test_where_it_can_not_be_written_nothing_happens(study, monkeypatch):
    place(study).write_text("in its place")
    assert_same(*study)
    place(study).unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert_same(*study)
    assert list(place(study).iterdir()) == []


def test_no_study_makes_no_folder(tmp_path, study):
    collect(study[0], tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def change_run(sweep, runs, chance):
    run = chance.choice(sweep.runs())
    paths = sweep.paths(runs, run)
    kind = chance.choice(["again", "gone", "torn", "twice", "diverged", "begun", "elsewhere"])
    if kind == "gone" or not paths.result.exists():
        shutil.rmtree(paths.folder, ignore_errors=True)
    elif kind == "torn" and paths.log.read_text().endswith("\n"):
        paths.log.write_text(paths.log.read_text() + '{"kind": "epo')
    elif kind == "twice":
        text = paths.log.read_text().removesuffix('{"kind": "epo')
        paths.log.write_text(text + text.replace('"train_error": 1', '"train_error": 2'))
    elif kind == "begun":
        paths.result.unlink()
    if kind in ("again", "diverged", "elsewhere"):
        changes = {"evaluation": {"loss": float("nan")}} if kind == "diverged" else {}
        changes |= {"execution": {"device_name": "Another"}} if kind == "elsewhere" else {}
        write_run(sweep, run, runs, draw(run, 12 + chance.random(), 0.1), **changes)


def change_cache(folder, chance):
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if files and chance.random() < 0.3:
        damage(chance.choice(files), chance.choice(["empty", "cut", "flipped"]))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_result_is_the_same_with_and_without_it(study, seed):
    sweep, runs = study
    chance = random.Random(seed)
    for _ in range(12):
        for _ in range(chance.randrange(3)):
            change_run(sweep, runs, chance)
        change_cache(place(study), chance)
        assert_same(load_sweep(sweep.path, [f"seeds={chance.choice([1, 2, 3, 3])}"]), runs)


def test_a_run_without_a_log_has_no_epochs(study):
    sweep, runs = study
    sweep.paths(runs, sweep.runs()[0]).log.unlink()
    assert len(assert_same(sweep, runs).epochs) == 28
    assert len(assert_same(sweep, runs).epochs) == 28


def test_a_run_that_begins_to_be_written_is_read_live(study):
    sweep, runs = study
    collect(sweep, runs)
    paths = sweep.paths(runs, sweep.runs()[0])
    shutil.rmtree(paths.folder)
    start_run(sweep, sweep.runs()[0], runs)
    assert [run["state"] for run in assert_same(sweep, runs).missing] == ["missing"]
