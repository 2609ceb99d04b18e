"""Runs to be trained by one process and by several, and what it takes for them to agree."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ablation.records import last_epochs, read_records
from ablation.run import RunPaths, prepare
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent
EXACT = ("precision=fp64", "panels.0.recipe.lr=0.05", "panels.0.recipe.norm_batch=4")
"""Eight groups; a high rate would amplify rounding without end."""
MODERN = tuple(
    f"panels.0.recipe.{field}"
    for field in (
        *("augment=[crop, flip, trivial]", "erasing=0.3", "mixup=0.2", "cutmix=1.0", "repeats=2"),
        *("label_smoothing=0.1", "norm_weight_decay=0.0", "ema_decay=0.995", "ema_steps=3"),
        *("schedule=cosine", "warmup_epochs=0.5", "warmup_from=0.01", "nesterov=false"),
    )
)
"""Every ingredient of the modern recipes that a data set in memory can have."""


def prepared(
    sweep_file: Path, data: Path, runs: Path, *overrides: str, index: int = 1
) -> tuple[RunPaths, dict[str, Any]]:
    """A run's folder, made, and what `ranks.train` needs to train it."""
    sweep = load_sweep(sweep_file, (*EXACT, *overrides))
    run = sweep.runs()[index]
    paths = sweep.paths(runs, run)
    prepare(run, paths)
    return paths, {"runs": str(runs), "sweep": sweep.name, "id": run.id, "data": str(data)}


def agree(one: RunPaths, many: RunPaths) -> bool:
    """Losses to 1e-6, weights and running statistics to 1e-9, errors and bits exactly."""
    losses = [[record["train_loss"] for record in last_epochs(read_records(paths.log))] for paths in (one, many)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    weights = [torch.load(paths.weights, weights_only=True) for paths in (one, many)]
    assert weights[0].keys() == weights[1].keys()
    for key in weights[0]:
        torch.testing.assert_close(weights[1][key], weights[0][key], rtol=1e-9, atol=1e-9, msg=key)
    results = [json.loads(paths.result.read_text()) for paths in (one, many)]
    tests = [result["evaluations"]["test"] for result in results]
    for key in ("top1_error", "top5_error", "class_errors", "images"):
        assert tests[0][key] == tests[1][key]
    assert tests[0]["loss"] == pytest.approx(tests[1]["loss"], rel=1e-9)
    assert results[0]["train_error"] == results[1]["train_error"]
    assert one.bits("test").read_bytes() == many.bits("test").read_bytes()
    return True


def processes(world: int, nodes: int, options: dict[str, Any]) -> list[str | int]:
    """Start the tasks of a pretended Slurm job; what each said, or its exit status."""
    job = {"JOB_ID": 7, "NTASKS": world, "JOB_NUM_NODES": nodes, "JOB_NODELIST": "localhost"}
    port, tasks = _free_port(), world // nodes
    children = []
    for rank in range(world):
        task = {**job, "PROCID": rank, "NODEID": rank // tasks, "LOCALID": rank % tasks}
        environment = {f"SLURM_{key}": str(value) for key, value in task.items()}
        environment |= {"SUBMITIT_EXECUTOR": "slurm", "MASTER_PORT": port, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(ROOT / "tests" / "ranks.py"), json.dumps(options)]
        child = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        children.append(child)
    said = [child.communicate(timeout=300)[0] for child in children]
    return [json.loads(words) if words else child.returncode for words, child in zip(said, children, strict=True)]


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])
