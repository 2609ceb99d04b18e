"""A run on several processes (gloo on this machine) is the run on one, to rounding."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks as rank
import torch

from ablation.records import last_epochs, read_records
from ablation.run import prepare
from ablation.sweep import load_sweep

RANK = Path(__file__).parent / "ranks.py"
ROOT = RANK.parent.parent
GENTLE = ("precision=fp64", "panels.0.recipe.lr=0.05")  # a high rate amplifies rounding without end
ports = iter(range(11000 + os.getpid() % 900, 12000))


@pytest.fixture
def start(small_sweep, small_fashion, tmp_path):
    """Make a run's folder below a name, and give a function that trains it on so many nodes x tasks."""

    def start(name, *overrides, index=1):
        sweep = load_sweep(small_sweep, (*GENTLE, *overrides))
        run = sweep.runs()[index]
        paths = sweep.paths(tmp_path / name, run)
        prepare(run, paths)
        where = {"runs": str(tmp_path / name), "sweep": sweep.name, "id": run.id, "data": str(small_fashion)}

        def train(nodes=1, tasks=1, **options):
            if nodes * tasks == 1:
                return [rank.train(**where, **options)]
            return processes(nodes, tasks, {**where, **options})

        return paths, train

    return start


def processes(nodes, tasks, options):
    """What each rank of a pretended Slurm job said."""
    port, world = str(next(ports)), nodes * tasks
    children = []
    for rank in range(world):
        slurm = {"JOB_ID": "7", "NTASKS": world, "JOB_NUM_NODES": nodes, "NODEID": rank // tasks, "PROCID": rank}
        slurm |= {"LOCALID": rank % tasks, "JOB_NODELIST": "localhost"}
        environment = {f"SLURM_{key}": str(value) for key, value in slurm.items()}
        environment |= {
            "SUBMITIT_EXECUTOR": "slurm",
            "MASTER_PORT": port,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, str(RANK), json.dumps(options)]
        child = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        children.append(child)
    said = [child.communicate(timeout=300)[0] for child in children]
    return [json.loads(words) if words else child.returncode for words, child in zip(said, children, strict=True)]


def agree(one, many):
    """Losses to 1e-6, weights and running statistics to 1e-9, errors and bits exactly."""
    losses = [[record["train_loss"] for record in last_epochs(read_records(paths.log))] for paths in (one, many)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    weights = [torch.load(paths.weights, weights_only=True) for paths in (one, many)]
    assert weights[0].keys() == weights[1].keys()
    for key in weights[0]:
        torch.testing.assert_close(weights[1][key], weights[0][key], rtol=1e-9, atol=1e-9, msg=key)
    results = [json.loads(paths.result.read_text()) for paths in (one, many)]
    for key in ("top1_error", "top5_error", "class_errors", "images"):
        assert results[0]["evaluations"]["test"][key] == results[1]["evaluations"]["test"][key]
    assert results[0]["evaluations"]["test"]["loss"] == pytest.approx(
        results[1]["evaluations"]["test"]["loss"], rel=1e-9
    )
    assert results[0]["train_error"] == results[1]["train_error"]
    assert one.bits("test").read_bytes() == many.bits("test").read_bytes()
    return True


EIGHT = "panels.0.recipe.norm_batch=4"


@pytest.mark.parametrize(
    ("nodes", "tasks", "micro"),
    [(1, 1, 8), (1, 2, None), (1, 2, 8), (1, 3, None), (1, 3, 8), (2, 2, None)],
    ids=["accumulated", "even", "even, accumulated", "uneven", "uneven, accumulated", "2 nodes"],
)
def test_several_processes_train_as_one_does(start, nodes, tasks, micro):
    (one, alone), (many, together) = start("one", EIGHT), start("many", EIGHT)
    assert alone() == ["done"]
    assert together(nodes, tasks, micro_batch=micro) == ["done"] * (nodes * tasks)
    assert agree(one, many)
