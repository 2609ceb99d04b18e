"""Exact resume: whatever is trained, and wherever it is stopped, the end is that of an undisturbed run, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from several import MODERN

from ablation.records import last_epochs, read_records
from ablation.run import prepare
from ablation.sweep import load_sweep
from ablation.train import Settings, Stopped, Training

ROOT = Path(__file__).parent.parent
ARM = "panels.0.arms.1"
STEPS = 20
"""Of a run: two epochs of ten."""
ARMS: tuple[tuple[str, ...], ...] = (
    *((f"{ARM}.design={{cardinality: 4, widths: [3, 6, 12], form: {form}}}",) for form in "abc"),
    (f"{ARM}.design={{cardinality: 3, widths: [4, 7, 15]}}", f"{ARM}.params=32920", f"{ARM}.macs=1236395"),
    (f"{ARM}.design=resnet11_1x8d", f"{ARM}.name=again", f"{ARM}.params=33930", f"{ARM}.macs=1210880"),
)


@pytest.fixture
def start(small_sweep, small_fashion, tmp_path):
    """Make a run's folder below a name, and give a function that trains it, or until it is stopped after a step."""

    def start(name, overrides, micro_batch=None):
        sweep = load_sweep(small_sweep, ["panels.0.recipe.batch=64", *overrides])
        run = sweep.runs()[1]
        paths = sweep.paths(tmp_path / name, run)
        prepare(run, paths)
        settings = Settings(gpus=0, data_dir=small_fashion, micro_batch=micro_batch)

        def train(stop_after=None):
            steps = iter(range(10**9))

            def stop():
                return "asked" if stop_after is not None and next(steps) >= stop_after - 1 else None

            training = Training(paths, settings, stop, lambda: True)
            training.to_the_end()
            return training

        return paths, train

    return start


def state(training):
    """Everything that training has in its hands at the end, as bytes."""
    parts = {"network": training.network.state_dict(), "optimiser": training.optimiser.state_dict()["state"]}
    parts |= {"average": training.average.state_dict()} if training.average else {}

    def bare(value):
        if isinstance(value, torch.Tensor):
            return value.numpy().tobytes()
        return {key: bare(part) for key, part in value.items()} if isinstance(value, dict) else value

    return bare(parts)


def said(paths):
    """Records, results, weights and correct examples, but for times."""
    varying = ("time", "seconds", "images_per_second", "finished", "files", "sha256", "attempts")
    records = [{k: v for k, v in record.items() if k not in varying} for record in last_epochs(read_records(paths.log))]
    result = {k: v for k, v in json.loads(paths.result.read_text()).items() if k not in varying}
    return records, result, paths.weights.read_bytes(), paths.bits("test").read_bytes()


def case(seed):
    """A design, a recipe, a precision, a way to step, and where it is stopped, at random."""
    chance = random.Random(seed)
    recipe = [part for part in MODERN if chance.random() < 0.5]
    if not any("ema_decay" in part for part in recipe):
        recipe = [part for part in recipe if "ema_steps" not in part]
    chosen = [*chance.choice(ARMS), f"precision={chance.choice(['fp32', 'fp32', 'fp64'])}", *recipe]
    stops = [chance.randint(1, STEPS // 3) for _ in range(chance.randint(1, 4))]
    while sum(stops) >= STEPS:
        stops.pop()
    return chosen, chance.choice([None, 16, 32]), stops


@pytest.mark.parametrize("seed", range(4))
def test_any_run_that_is_stopped_anywhere_ends_as_an_undisturbed_one(start, seed):
    overrides, micro_batch, stops = case(seed)
    (whole, train), (parts, resume) = start("whole", overrides, micro_batch), start("parts", overrides, micro_batch)
    undisturbed = train()
    for steps in stops:
        with pytest.raises(Stopped):
            resume(steps)
    resumed = resume()
    assert state(resumed) == state(undisturbed), (overrides, micro_batch, stops)
    assert said(parts) == said(whole), (overrides, micro_batch, stops)


CHILD = """
import sys
from pathlib import Path
from ablation.run import RunPaths
from ablation.train import Settings, Training

runs, sweep, id, data = sys.argv[1:]
settings = Settings(gpus=0, data_dir=Path(data), checkpoint_minutes=0.0005)
Training(RunPaths(Path(runs), sweep, id), settings, lambda: None, lambda: True).to_the_end()
"""


@pytest.mark.slow
@pytest.mark.chaos
def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(start, small_fashion, tmp_path):
    (whole, train), (parts, _) = (start(name, MODERN) for name in ("whole", "parts"))
    train()
    command = [sys.executable, "-c", CHILD, str(tmp_path / "parts"), parts.sweep, parts.id, str(small_fashion)]
    chance, kills = random.Random(0), 0
    for _ in range(20):
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
        before = len(read_records(parts.log))
        while process.poll() is None and len(read_records(parts.log)) < before + 2:
            time.sleep(0.01)  # it has loaded torch, and trains
        time.sleep(chance.uniform(0, 0.1))
        if process.poll() is None and kills < 3:
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert kills and said(parts) == said(whole)
