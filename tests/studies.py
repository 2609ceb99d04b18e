"""Synthetic studies: a sweep file, and run folders whose true errors are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ablation.budget import parse_budget
from ablation.cost import Cost, cost
from ablation.dataset import Dataset
from ablation.design import Design, design_from_name
from ablation.registration import register
from ablation.run import Run, RunPaths
from ablation.sweep import Sweep, load_sweep

TRUTH = {
    "resnet11_1x8d": 12.0,
    "resnext11_2x5d": 11.2,
    "resnext11_3x4-7-15d": 12.05,
    "resnext11_4x3d": 11.9,
    "resnext11_6x2-4-9d": 12.9,
}
"""True top-1 error of each arm, percent."""
SD = 0.15


def sweep_fields(arms=tuple(TRUTH), *, name="width 8", dataset: Any = "fashion_mnist", **changes) -> dict[str, Any]:
    """A sweep of one panel, as YAML holds it; more panels can be appended."""
    return {
        "question": "At one budget, does error fall as cardinality grows?",
        "panels": [panel_fields(arms, name=name, dataset=dataset)],
        "seeds": 3,
        "resources": {"gpus": 0},
        **changes,
    }


def panel_fields(arms, *, name: str, dataset: Any = "fashion_mnist", budget="fashion", recipe: Any = "fashion") -> dict:
    """One panel, its baseline the first arm, its costs counted."""
    data = Dataset.model_validate({"name": dataset} if isinstance(dataset, str) else dataset)
    listed = []
    for arm in arms:
        fields = {"design": arm} if isinstance(arm, str) else dict(arm)
        price = cost(data.fit(design_from_name(fields["design"])))
        listed.append({**fields, "params": price.params, "macs": price.macs})
    baseline = listed[0].get("name", listed[0]["design"])
    return {
        **{"name": name, "budget": budget, "dataset": dataset, "recipe": recipe, "baseline": baseline},
        "arms": listed,
    }


def write_sweep(folder: Path, fields: dict[str, Any] | None = None, name: str = "study") -> Sweep:
    """Write the sweep file and load it as a command would."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(fields or sweep_fields(), sort_keys=False))
    return load_sweep(path)


def write_study(
    folder: Path, fields: dict[str, Any] | None = None, *, truth=TRUTH, sd=SD, registered: bool = False
) -> tuple[Sweep, Path]:
    """A sweep all of whose runs are finished, `registered` before them; the sweep, and the folder of runs."""
    sweep = write_sweep(folder, fields)
    if registered:
        register(sweep, folder / "runs")
    for run in sweep.runs():
        write_run(sweep, run, folder / "runs", draw(run, truth.get(run.design.name, 12.0), sd))
    return sweep, folder / "runs"


def draw(run: Run, mean: float, sd: float) -> float:
    """The error of a run: a function of its design and seed, with two decimals as 10,000 images give."""
    key = [run.seed, *map(ord, run.design.name)]
    return round(float(np.random.default_rng(key).normal(mean, sd)), 2)


def write_run(sweep: Sweep, run: Run, runs: Path, error: float, **changes: Any) -> RunPaths:
    """One finished run's folder; `changes` are merged into its files: `data`, `execution`, `result`, `evaluation`."""
    paths = start_run(sweep, run, runs, **changes)
    epochs = run.recipe.epochs
    records = [epoch_record(run, epoch, error) for epoch in range(1, epochs + 1)]
    paths.log.write_text("".join(json.dumps(record) + "\n" for record in records))
    evaluation = {"top1_error": error, "top5_error": error / 20, "loss": error / 40, "images": 10_000}
    result = {
        **{"id": run.id, "evaluations": {run.dataset.evaluate: evaluation | changes.get("evaluation", {})}},
        **{"train_error": error - 1, "train_loss": error / 38, "epochs": epochs, "steps": 468 * epochs},
        **{"seconds": seconds_of(run), "images_per_second": epochs * 60_000 / seconds_of(run)},
        "finished": f"2026-01-0{run.seed + 1}T10:00:00.000+00:00",
    }
    paths.result.write_text(json.dumps(result | changes.get("result", {}), indent=2))
    return paths


def seconds_of(run: Run) -> float:
    """Wall time: more paths are slower."""
    return 20.0 * run.recipe.epochs * (1 + 0.1 * (run.design.cardinality or 1)) + 0.5 * run.seed


def epoch_record(run: Run, epoch: int, error: float) -> dict[str, Any]:
    """The record of an epoch on the way to `error`."""
    left = min(4.0, 1 + 0.6 * (run.recipe.epochs - epoch) / epoch)
    return {
        **{"kind": "epoch", "time": "2026-01-01T09:00:00.000+00:00", "epoch": epoch, "epochs": run.recipe.epochs},
        **{"step": 468 * epoch, "train_loss": error * left / 38, "train_error": error * left * 1.1 - 1},
        **{"evaluation": run.dataset.evaluate, "loss": error * left / 40, "top1_error": error * left},
        **{"top5_error": error / 20, "images": 10_000, "lr": 0.1 / epoch, "images_per_second": 1500.0},
        "seconds": seconds_of(run) / run.recipe.epochs,
    }


def start_run(sweep: Sweep, run: Run, runs: Path, **changes: Any) -> RunPaths:
    """A run's folder with its run.json, as at its start."""
    paths = sweep.paths(runs, run)
    paths.folder.mkdir(parents=True, exist_ok=True)
    price = cost(run.design) if isinstance(run.design, Design) else Cost(33_500, 1_210_000, None, None)
    execution = {
        **{"device": "cpu", "device_name": "Example CPU, 2 cores", "dtype": "float32", "threads": 1},
        **{"layout": "channels_last", "kernels": "native", "versions": {"torch": "2.14.1"}},
    }
    data = {
        **{"name": run.dataset.name, "train_images": 60_000, "evaluation_images": 10_000, "source": "system"},
        "digest": "sha256:" + "0123456789abcdef" * 4,
    }
    about = {
        **{"id": run.id, "sweep": run.sweep, "design_name": run.design.name, **run.identity},
        **{
            "design": run.design.to_dict(),
            "recipe": run.recipe.model_dump(mode="json"),
            "dataset": run.dataset.model_dump(mode="json"),
        },
        "cost": {key: getattr(price, key) for key in ("params", "macs", "activations", "block_params")},
        "provenance": {
            **{"created": "2026-01-01T08:00:00.000+00:00", "commit": "c0ffee" * 6 + "c0ff", "dirty": False},
            **{"command": "launch", "versions": {"python": "3.11.7", "torch": "2.14.1", "ablation": "0.1.0"}},
        },
        "execution": execution | changes.get("execution", {}),
        "data": data | changes.get("data", {}),
    }
    paths.run_json.write_text(json.dumps(about, indent=2))
    return paths


def fail_run(sweep: Sweep, run: Run, runs: Path, message: str) -> RunPaths:
    """A run that an exception ended."""
    paths = start_run(sweep, run, runs)
    paths.attempts.mkdir()
    ended = {"host": "elsewhere", "pid": 1, "process_started": "1", "ended": "failed", "message": message}
    (paths.attempts / "0000.json").write_text(json.dumps(ended))
    return paths


def budget_params(name: str = "fashion") -> int:
    """The parameters of a budget, as the sweep's data set leaves it."""
    data = Dataset.model_validate("fashion_mnist")
    return parse_budget(name, data.fit(design_from_name("resnet11_1x8d"))).params
