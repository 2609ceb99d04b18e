"""The plain way, under the same kills: torch.save over the last file, a log that is rewritten, a resume by epochs.

It is what a training script does that nobody has thought about faults for: the network, the images and the recipe are
those of the other harness; checkpoints, records, claims and the resume are its own.
"""

import json
import os
import random
import shutil
import signal
import struct
import time
from pathlib import Path
from typing import Any

import torch
from chaos.field import Field, Ground, Tally, ended, until

from ablation.data import open_images, steps_an_epoch
from ablation.execution import choose_execution
from ablation.run import RunPaths, load_run
from ablation.step import first_network, optimiser_of, step

SAVING, TOOK = 2000, 2008
EVERY = 3
"""Steps between checkpoints."""


def train(paths: RunPaths, data: Path, ground: Ground) -> None:
    """One run; goes on from its checkpoint where there is one that can be read, else from the start."""
    run = load_run(paths)
    execution = choose_execution(run.precision, 1, 0)
    execution.apply()
    images = open_images(run.dataset, run.recipe, "cpu", data)
    steps = steps_an_epoch(images, run.recipe)
    network = first_network(run.design, run.seed, execution, run.recipe.norm_batch)
    optimiser = optimiser_of(network, run.recipe)
    at, epoch, log = _resume(paths, network, optimiser)
    while epoch < run.recipe.epochs:
        for batch in images.batches(random.randrange(2**31) if at else run.seed, epoch, 0):
            for group in optimiser.param_groups:
                group["lr"] = run.recipe.lr_at(min(at, run.recipe.epochs * steps - 1), steps)
            step(network, optimiser, execution, batch, 0.0)
            at += 1
            if at % EVERY == 0:
                _save(paths, network, optimiser, at, epoch, ground)
        epoch += 1
        log.append({"epoch": epoch, "step": at})
        (paths.folder / "log.json").write_text(json.dumps(log))
        _note(ground, paths, epoch)
    torch.save(network.state_dict(), paths.weights)
    paths.result.write_text(json.dumps({"steps": at}))


def _resume(paths: RunPaths, network: Any, optimiser: Any) -> tuple[int, int, list[Any]]:
    try:
        saved = torch.load(paths.checkpoint, weights_only=True)
    except FileNotFoundError:
        return 0, 0, []
    except Exception as error:
        with open(paths.folder / "unreadable", "a") as file:
            file.write(f"{type(error).__name__}\n")
        return 0, 0, []
    network.load_state_dict(saved["network"])
    optimiser.load_state_dict(saved["optimiser"])
    try:
        log = json.loads((paths.folder / "log.json").read_text())
    except (OSError, ValueError):
        log = []
    return saved["step"], saved["epoch"], log


def _save(paths: RunPaths, network: Any, optimiser: Any, at: int, epoch: int, ground: Ground) -> None:
    content = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": at, "epoch": epoch}
    ground.board[SAVING] = 1
    start = time.monotonic()
    torch.save(content, paths.checkpoint)
    ground.board[SAVING] = 0
    struct.pack_into("d", ground.board, TOOK, time.monotonic() - start)


def _note(ground: Ground, paths: RunPaths, epoch: int) -> None:
    line = json.dumps({"at": time.monotonic(), "pid": os.getpid(), "run": paths.id, "what": "ack", "epoch": epoch})
    with open(ground.trace, "a") as file:
        file.write(line + "\n")


def _start(ground: Ground) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        torch.set_num_threads(1)
        random.seed()
        for paths in ground.paths:
            if not paths.result.exists():
                train(paths, ground.home.data, ground)
    except BaseException as error:
        with open(ground.folder / "output.txt", "a") as file:
            file.write(f"{error!r}\n")
    finally:
        os._exit(0)


def naive(home: Field, count: int, aimed: int, seed: int = 0) -> tuple[Tally, int]:
    """The same kills: at any moment, and `aimed` of them while torch.save has not yet returned; how many were."""
    chance, tally, inside, rounds = random.Random(f"naive {seed}"), Tally(), 0, 0
    calm = home.ground("naive-calm")
    os.waitpid(_start(calm), 0)
    truth = {paths.id: _weights(paths) for paths in calm.paths}
    while tally.faults < count and rounds < count + 5:
        ground = home.ground(f"naive-{rounds}")
        while not ground.done() and tally.faults < count:
            ground.board[SAVING] = 0
            pid = _start(ground)
            aims = inside < aimed and chance.random() < 1.3 * (aimed - inside) / max(count - tally.faults, 1)
            if not aims:
                until(lambda: ended(pid), chance.uniform(0.02, 0.6))  # noqa: B023
            elif until(lambda: ground.board[SAVING], 5, 0):  # noqa: B023
                took = struct.unpack_from("d", ground.board, TOOK)[0]
                time.sleep(chance.uniform(0, took or 0.002))
                inside += ground.board[SAVING]
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                tally.faults += 1
        for _ in range(3):
            os.waitpid(_start(ground), 0)
        tally.add(_audit(ground, truth))
        shutil.rmtree(ground.folder)
        rounds += 1
    return tally, inside


def _weights(paths: RunPaths) -> dict[str, bytes]:
    state = torch.load(paths.weights, weights_only=True)
    return {key: value.numpy().tobytes() for key, value in state.items()}


def _audit(ground: Ground, truth: dict[str, dict[str, bytes]]) -> Tally:
    tally = Tally(runs=len(ground.paths))
    noted = [json.loads(line) for line in ground.trace.read_text().splitlines()] if ground.trace.exists() else []
    for paths in ground.paths:
        mark = paths.folder / "unreadable"
        tally.unreadable += len(mark.read_text().splitlines()) if mark.exists() else 0
        try:
            log = {entry["epoch"] for entry in json.loads((paths.folder / "log.json").read_text())}
        except (OSError, ValueError):
            log = set()
        tally.records_lost += len({note["epoch"] for note in noted if note["run"] == paths.id} - log)
        try:
            json.loads(paths.result.read_text())
            tally.wrong += _weights(paths) != truth[paths.id]
        except Exception:
            tally.lost += 1
    return tally
