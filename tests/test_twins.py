"""The small twins of the sweeps, trained for real: one step of each arm, and two whole sweeps for an epoch."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ablation.design import design_from_name
from ablation.execution import choose_execution
from ablation.recipe import Recipe, recipe_fields
from ablation.step import first_network, optimiser_of, step
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent
TWINS = sorted((ROOT / "sweeps").glob("*_small.yaml"))
ARMS = {arm.design.name: arm for path in TWINS for panel in load_sweep(path).panels for arm in panel.arms}
BATCH = 4


def batches(count, design, dtype=torch.float32):
    random = torch.Generator().manual_seed(0)
    for _ in range(count):
        shape = (BATCH, design.channels, design.resolution, design.resolution)
        yield torch.randn(shape, generator=random, dtype=dtype), torch.randint(10, (BATCH,), generator=random)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ARMS))
def test_every_arm_of_every_twin_learns(name):
    arm, execution = ARMS[name], choose_execution("fp32", 1, 0)
    network = first_network(arm.design, 0, execution, None)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for batch in batches(1, arm.design):
        loss, _ = step(network, optimiser_of(network, arm.recipe), execution, batch, arm.recipe.label_smoothing)
    assert torch.isfinite(loss)
    still = [one for one, then in zip(network.parameters(), before, strict=True) if torch.equal(one, then)]
    assert not still, f"{len(still)} parameters were not trained"


@pytest.mark.slow
def test_the_three_forms_are_one_in_float64_over_fifty_steps():
    base = replace(design_from_name("resnext50_16x1-2-4-7d_small-8"), blocks=(1, 1, 1, 1))
    recipe = Recipe.model_validate({**recipe_fields("fashion"), "batch": BATCH, "norm_batch": BATCH, "lr": 0.02})
    execution = choose_execution("fp64", 1, 0)
    losses = []
    for form in "abc":
        network = first_network(replace(base, form=form), 0, execution, None)
        optimiser = optimiser_of(network, recipe)
        data = batches(50, base, torch.float64)
        losses.append([step(network, optimiser, execution, batch, 0.0)[0].item() for batch in data])
    assert losses[0] == pytest.approx(losses[2], rel=1e-6)
    assert losses[1] == pytest.approx(losses[2], rel=1e-6)
    assert losses[2][-1] != pytest.approx(losses[2][0], rel=1e-2)


def command(module, sweep, tmp_path, *options):
    parts = [sys.executable, "-m", module, ROOT / "sweeps" / f"{sweep}.yaml", "--runs", tmp_path / "runs"]
    return [str(part) for part in [*parts, *options]]


@pytest.mark.slow
@pytest.mark.parametrize("sweep", ["residual_small", "one_gpu_day_small"])
def test_a_twin_trains_resumes_and_is_reported(sweep, tmp_path, small_fashion):
    short = ["--set", "seeds=2", "--set", "panels.*.recipe.epochs=1", "--set", "resources.gpus=0"]
    launch = command("ablation.launch", sweep, tmp_path, "--on", "local", *short, "--data-dir", str(small_fashion))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(launch, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list((tmp_path / "runs").glob("*/*/result.json")):
        assert time.monotonic() < until and first.poll() is None
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    first.wait(60)
    again = subprocess.run(launch, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    report = command("analysis.report", sweep, tmp_path, *short[:4], "--out", str(tmp_path / "reports"), "--json")
    told = subprocess.run(report, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    arms = [arm.name for panel in load_sweep(ROOT / "sweeps" / f"{sweep}.yaml").panels for arm in panel.arms]
    assert [(arm["arm"], arm["n"]) for arm in answer["arms"]] == [(name, 2) for name in arms]
    assert answer["missing"] == [] and Path(answer["report"]["pdf"]).exists()
