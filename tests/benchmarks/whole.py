"""A process that trains one whole run, ours or in the plain loop, and says how long it took and how well it did."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from plain import PlainNetwork, as_torchvision, evaluate, open_loader, train
from trainer import find_run

from ablation.run import Run, RunPaths, prepare, read_json
from ablation.sources import read_small
from ablation.train import Settings, Training


def ours(run: Run, threads: int, folder: Path) -> float:
    """As a worker trains it; top-1 error."""
    paths = RunPaths(folder, run.sweep, run.id)
    prepare(run, paths)
    Training(paths, Settings(gpus=0, threads=threads, kernels="measured"), lambda: None, lambda: True).to_the_end()
    return read_json(paths.result)["evaluations"]["test"]["top1_error"]


def plain(run: Run, threads: int, workers: int, images: int, root: Path) -> dict[str, float]:
    """In the plain loop, with the recipe's learning rates, evaluated at each epoch's end.

    After so many `images` it stops, and what is left of the training is added in proportion.
    """
    torch.set_num_threads(threads)
    loader = open_loader(root, run.dataset, run.recipe, workers)
    test = open_loader(root, run.dataset, run.recipe, workers, "test")
    network, every, epochs = PlainNetwork(run.design), len(loader), run.recipe.epochs
    steps = min(every * epochs, images // run.recipe.batch)
    marks, error = [time.perf_counter()], 0.0
    count, waited = itertools.count(1), 0.0

    def stop() -> bool:
        nonlocal error, waited
        done = next(count)
        if done % every == 0 or done == steps:
            start = time.perf_counter()
            error = evaluate(network, test)
            network.train()
            waited += time.perf_counter() - start
        return done == steps

    train(network, loader, run.recipe, stop, lambda step: run.recipe.lr_at(step, every))
    training = time.perf_counter() - marks[0] - waited
    share = steps / (every * epochs)
    return {"seconds": training / share + waited * epochs / max(1, steps // every), "top1_error": error, "share": share}


def timed(function: Callable[[], float]) -> dict[str, float]:
    """Seconds of the whole, and the error."""
    start = time.perf_counter()
    error = function()
    return {"seconds": time.perf_counter() - start, "top1_error": error, "share": 1.0}


def main(
    side: str, name: str, threads: str, precision: str, epochs: str, workers: str = "0", images: str = "0"
) -> None:
    """Print one line of JSON."""
    run = find_run(name, precision)
    run = replace(run, recipe=run.recipe.model_copy(update={"epochs": int(epochs)}))
    with tempfile.TemporaryDirectory() as scratch:
        if side == "ours":
            answer = timed(lambda: ours(run, int(threads), Path(scratch)))
        else:
            as_torchvision(*read_small(run.dataset.name, None)[:2], Path(scratch))
            answer = plain(run, int(threads), int(workers), int(images) or 10**9, Path(scratch))
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
