"""The watchdog, and memory that is out: named, ended, gone on with."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from ablation import memory, worker
from ablation.claim import attempts, take
from ablation.memory import advice, is_out_of_memory, kernel_kills
from ablation.run import prepare
from ablation.sweep import load_sweep
from ablation.train import Settings, Training
from ablation.watchdog import USUAL, Watchdog
from ablation.worker import Worker

ROOT = Path(__file__).parent.parent


def test_what_stands_still_is_bitten_once():
    bitten = threading.Event()
    said = []
    with Watchdog(0.001, lambda message: (said.append(message), bitten.set())) as dog:
        dog.stir(7)
        assert bitten.wait(30)
    assert len(said) == 1 and said[0].startswith("hung: nothing has moved for") and said[0].endswith("after step 7")


def test_what_moves_is_left_alone_and_so_is_what_is_over():
    said = []
    with Watchdog(0.005, said.append) as dog:
        for _ in dog.stirred(iter(range(20))):
            time.sleep(0.03)
    time.sleep(0.5)
    assert not said


def test_slow_steps_are_no_hang():
    dog = Watchdog(1.0, print)
    assert dog.limit == 60
    for step in range(3):
        dog.moved = time.monotonic() - 10
        dog.stir(step)
    assert dog.limit == pytest.approx(10 * USUAL, rel=0.01)


def test_a_process_that_was_stopped_itself_has_not_hung():
    code = (
        "import os, time; from ablation.watchdog import Watchdog\n"
        "with Watchdog(0.02, lambda m: os._exit(7)) as dog:\n"
        "    print(flush=True)\n"
        "    for _ in range(40): time.sleep(0.05); dog.stir()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture
def study(small_sweep, small_fashion, tmp_path):
    sweep = load_sweep(small_sweep, ["panels.0.recipe.epochs=1"])
    run = sweep.runs()[0]
    paths = sweep.paths(tmp_path / "runs", run)
    prepare(run, paths)

    def work():
        settings = Settings(gpus=0, data_dir=small_fashion)
        return Worker(tmp_path / "runs", sweep.name, [run.id], settings, "first", lambda: None).work()

    return paths, work


def test_a_hung_run_is_named_in_its_attempt(study, monkeypatch):
    paths, _ = study
    ended = []
    monkeypatch.setattr(worker, "end_process", ended.append)
    monkeypatch.setattr(worker.threading, "Timer", lambda *_: threading.Thread())
    claim = take(paths.attempts)
    Worker(paths.runs, paths.sweep, [paths.id], Settings(), "first", lambda: None)._hung(paths, claim, "hung: still")
    last = attempts(paths.attempts)[-1]
    assert (last.ended, last.message, last.fields["final"]) == ("failed", "hung: still", False)
    assert ended == [f"{paths.id}: hung: still"] and "hung: still" in paths.log.read_text()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("CUDA error: unspecified launch failure"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_out_of_memory(error, told):
    assert is_out_of_memory(error) is told


def test_a_gpu_is_told_the_batch_that_fits():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    assert "64 images at a time fit: set resources.micro_batch=64" in advice(error, 64)
    assert "lower resources.micro_batch" in advice(error)
    assert advice(MemoryError()).startswith("out of memory: MemoryError. Ask for more (resources.memory_gb)")


def test_a_run_without_memory_says_so_and_is_tried_again(study, monkeypatch):
    paths, work = study
    real, count = Training._step, iter(range(99))

    def starving(self, *arguments):
        if next(count) == 3:
            torch.zeros(2**48)
        real(self, *arguments)

    monkeypatch.setattr(Training, "_step", starving)
    assert work().done == [paths.id]
    first, second = attempts(paths.attempts)
    assert first.message.startswith("out of memory: ") and second.ended == "done"


def test_a_process_that_the_kernel_ended_for_memory_is_told_from_others(study, monkeypatch, tmp_path):
    paths, work = study
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 4\noom_kill 3\n")
    monkeypatch.setattr(memory, "_counters", lambda: [counter])
    for _ in range(worker.TRIES):
        claim = take(paths.attempts, launch="first", step=0, **worker.whereabouts())
        claim._over.set()
        claim.path.write_text(json.dumps({**claim.fields, "process_started": "1"}))
    counter.write_text("low 0\noom 5\noom_kill 4\n")
    assert work().failed == [paths.id]
    assert "out of memory: the kernel ended its process" in attempts(paths.attempts)[-1].message


def test_the_kernels_count_is_found_where_there_is_one():
    assert kernel_kills() is None or kernel_kills() >= 0
    assert kernel_kills() is not None or not Path("/proc/vmstat").exists() or os.uname().sysname != "Linux"
