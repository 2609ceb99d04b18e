"""Claims: one worker at a time, taken over only from the dead."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from ablation import claim
from ablation.claim import attempts, take


def test_a_run_is_claimed_once(tmp_path):
    first = take(tmp_path, worker="a")
    assert first.held()
    assert take(tmp_path, worker="b") is None


@pytest.mark.parametrize("state", ["done", "stopped", "failed"])
def test_an_ended_attempt_leaves_the_run_free(tmp_path, state):
    take(tmp_path).end(state, "why")
    second = take(tmp_path)
    assert second.held()
    ended = attempts(tmp_path)[0]
    assert (ended.ended, ended.message, ended.alive()) == (state, "why", False)


def test_a_dead_process_is_taken_over(tmp_path):
    code = f"from ablation.claim import take; from pathlib import Path; take(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not attempts(tmp_path)[0].alive()
    assert take(tmp_path) is not None


def test_a_process_number_used_again_is_not_taken_for_the_dead_one(tmp_path):
    held = take(tmp_path)
    fields = json.loads(held.path.read_text())
    held.path.write_text(json.dumps({**fields, "process_started": "1"}))
    assert not attempts(tmp_path)[0].alive()


def test_a_stopped_process_keeps_its_run(tmp_path):
    code = (
        f"from ablation.claim import take; from pathlib import Path; take(Path({str(tmp_path)!r})); "
        "print(flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    os.kill(process.pid, signal.SIGSTOP)
    assert take(tmp_path) is None
    process.kill()
    process.communicate()
    assert take(tmp_path) is not None


def foreign(tmp_path):
    held = take(tmp_path)
    held._over.set()
    held.path.write_text(json.dumps({**held.fields, "host": "elsewhere pid:[1]"}))
    return held


def test_another_hosts_lease_decides(tmp_path):
    held = foreign(tmp_path)
    assert take(tmp_path) is None
    past = time.time() - claim.LEASE_SECONDS - 5
    os.utime(held.path, (past, past))
    assert take(tmp_path) is not None
    assert not held.held()  # it must write nothing more, should it come back


def test_an_attempt_that_is_not_yet_written_is_alive(tmp_path):
    (tmp_path / "0000.json").touch()
    assert take(tmp_path) is None


def test_a_lease_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "HEARTBEAT_SECONDS", 0.01)
    held = take(tmp_path)
    os.utime(held.path, (1, 1))
    end = time.monotonic() + 10
    while held.path.stat().st_mtime < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert held.path.stat().st_mtime > 2


def race(folder, start, wins):
    start.wait()
    held = take(folder)
    wins.put(held is not None)
    start.wait()  # keep the process, and so the claim, until all have tried


def test_of_many_that_race_one_wins(tmp_path):
    context = multiprocessing.get_context("fork")
    for round in range(5):
        folder, wins, start = tmp_path / str(round), context.Queue(), context.Barrier(8)
        racers = [context.Process(target=race, args=(folder, start, wins)) for _ in range(8)]
        for racer in racers:
            racer.start()
        assert sum(wins.get(timeout=30) for _ in racers) == 1
        for racer in racers:
            racer.join()


def test_a_disk_that_is_full_leaves_no_empty_attempt_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(claim.json, "dumps", full)
        with pytest.raises(OSError, match="No space"):
            take(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".json"]
    assert take(tmp_path) is not None


@pytest.mark.parametrize("fields", [{"pid": 1}, {"host": 1, "pid": 1}, {"pid": "x", "process_started": "1"}, []])
def test_a_damaged_attempt_is_judged_by_its_lease(tmp_path, fields):
    (tmp_path / "0000.json").write_text(json.dumps(fields))
    assert take(tmp_path) is None
    os.utime(tmp_path / "0000.json", (1, 1))
    assert take(tmp_path) is not None
