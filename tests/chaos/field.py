"""A field of tiny runs to do harm to: their folders, the workers that train them, the numbers they must end with."""

import json
import mmap
import os
import shutil
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # what the first optimiser imports: seconds, which each worker that is forked would spend anew

from ablation.claim import attempts
from ablation.records import last_epochs, read_records
from ablation.run import RunPaths, prepare
from ablation.settings import Settings
from ablation.signals import StopFlag
from ablation.sweep import load_sweep
from ablation.worker import Worker

EPOCHS, STEPS = 4, 12
SWEEP = f"""\
question: Does a run survive?
panels:
  - name: small
    budget: fashion
    dataset: {{name: fashion_mnist, validation: 16}}
    recipe: {{base: fashion, epochs: {EPOCHS}, batch: 16, norm_batch: 16, lr: 0.05, augment: [crop, flip]}}
    baseline: resnet11_1x8d
    arms:
      - {{design: resnet11_1x8d, params: 33930, macs: 1210880}}
      - {{name: averaged, design: resnext11_4x3d, params: 32782, macs: 1243424,
         recipe: {{base: fashion, epochs: {EPOCHS}, batch: 16, norm_batch: 16, lr: 0.05, augment: [crop, flip],
                  mixup: 0.2, ema_decay: 0.99, repeats: 2}}}}
seeds: 2
precision: fp32
resources: {{gpus: 0, threads: 1, parallel: 2}}
"""
KEPT = ("epoch", "step", "train_loss", "train_error", "loss", "top1_error", "top5_error", "lr", "images")


def write_images(root: Path) -> None:
    """Fashion-MNIST in its own format, with few and made-up images: each class a shade, in noise."""
    root.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in (("train", 16 * STEPS), ("t10k", 64)):
        labels = random.integers(0, 10, count).astype(np.uint8)
        images = (random.integers(0, 100, (count, 28, 28)) + 15 * labels[:, None, None]).astype(np.uint8)
        (root / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images.tobytes())
        (root / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


class Field:
    """The sweep, its images, and what its undisturbed runs give."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.folder, self.data = folder, folder / "data"
        write_images(self.data)
        self.file = folder / "chaos.yaml"
        self.file.write_text(SWEEP)
        self.sweep = load_sweep(self.file)
        calm = self.ground("calm")
        calm.reap(calm.start(minutes=10))
        self.truth = {paths.id: numbers(paths) for paths in calm.paths}

    def ground(self, name: str, folder: Path | None = None) -> "Ground":
        """The sweep's runs, none of them begun, in a folder of their own."""
        ground = Ground(self, folder or self.folder / name)
        ground.prepare()
        return ground


def numbers(paths: RunPaths) -> Any:
    """All that must be the same in the end, whatever happened: records, results, weights and correct examples."""
    records = [{key: record[key] for key in KEPT} for record in last_epochs(read_records(paths.log))]
    result = json.loads(paths.result.read_text())
    weights = torch.load(paths.weights, weights_only=True)
    return (
        records,
        (result["evaluations"], result["train_error"], result["train_loss"], result["steps"]),
        {key: value.numpy().tobytes() for key, value in weights.items()},
        paths.bits("test").read_bytes(),
    )


@dataclass
class Ground:
    """The runs of a field in one folder, and the processes at work on them."""

    home: Field
    folder: Path
    launches: int = 0
    board: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, 4096))
    """Shared with every worker: where it is, where it is wanted, by how much its clock is off."""

    @property
    def runs(self) -> Path:
        """What a launch would call --runs."""
        return self.folder / "runs"

    @property
    def trace(self) -> Path:
        """What the workers did and when, as they say: written by tests, read by the audit."""
        return self.folder / "trace.jsonl"

    @property
    def paths(self) -> list[RunPaths]:
        """Every run's."""
        return [self.home.sweep.paths(self.runs, run) for run in self.home.sweep.runs()]

    def prepare(self) -> None:
        """What a launch does before its workers start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for run, paths in zip(self.home.sweep.runs(), self.paths, strict=True):
            prepare(run, paths)

    def done(self) -> bool:
        """Whether every run has its result."""
        return all(paths.result.exists() for paths in self.paths)

    def start(
        self,
        *,
        minutes: float = 0.0,
        slot: int = 0,
        hooks: Sequence[Callable[[], object]] = (),
        only: str | None = None,
        **settings: Any,
    ) -> int:
        """Fork a worker that goes by another launch than any before it; its process number.

        This process must not have trained anything: torch can't be forked after that.
        """
        self.launches += 1
        launch = f"launch-{self.launches}"
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            output = os.open(self.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(output, 1), os.dup2(output, 2)
            torch.set_num_threads(1)
            from chaos import child

            child.follow(self, slot)
            for hook in hooks:
                hook()
            self.work(minutes=minutes, launch=launch, only=only, **settings)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)

    def work(self, *, minutes: float, launch: str, only: str | None = None, **settings: Any) -> str | None:
        """Train, in this process, what is left of the runs; why it stopped before, if it did."""
        with StopFlag() as stop:
            chosen = Settings(gpus=0, data_dir=self.home.data, checkpoint_minutes=minutes, **settings)
            ids = [only] if only else [paths.id for paths in self.paths]
            return Worker(self.runs, self.home.sweep.name, ids, chosen, launch, stop.reason).work().stopped

    def reap(self, pid: int) -> int:
        """Wait for a worker; its exit status, negative for the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self) -> None:
        """Remove the folder, a thousand faults would leave a thousand; but where a run is not done, to be looked at."""
        if self.done():
            shutil.rmtree(self.folder)
        self.board.close()

    def finish(self, **options: Any) -> None:
        """Launch again, undisturbed, until all is done; at most five times."""
        for _ in range(5):
            if self.done():
                return
            self.reap(self.start(**options))


def ended(pid: int) -> bool:
    """Whether a child has ended by itself; it is then reaped."""
    with suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return True


@dataclass
class Tally:
    """What became of the runs: of all but `faults` and `runs` there should be none."""

    faults: int = 0
    runs: int = 0
    lost: int = 0
    """Without a result in the end."""
    twice: int = 0
    """Finished by two workers, or trained by two at a time."""
    unreadable: int = 0
    """Checkpoints that could not be read after a fault."""
    records_lost: int = 0
    """Records that a worker was told are on disk, and that are not in the log."""
    wrong: int = 0
    """Of those with a result: not the undisturbed run's, bit for bit."""
    redone: float = 0.0
    """The most work that was done again after a fault, in checkpoint intervals."""
    late: int = 0
    """Records or checkpoints that a worker wrote after it had lost the run."""

    def add(self, other: "Tally") -> None:
        """Count another round's."""
        for name in vars(self):
            value = getattr(other, name)
            setattr(self, name, max(self.redone, value) if name == "redone" else getattr(self, name) + value)

    @property
    def clean(self) -> bool:
        """Whether nothing is amiss."""
        bad = self.lost + self.twice + self.unreadable + self.records_lost + self.wrong + self.late
        return not bad and self.redone <= 1


def audit(ground: Ground, *, alone: bool = True) -> Tally:
    """Look at every run of a ground. `alone`: two workers on one run at a time is counted as run twice."""
    tally = Tally(runs=len(ground.paths))
    trace = events(ground.trace)
    for paths in ground.paths:
        own = [event for event in trace if event["run"] == paths.id]
        tally.redone = max(tally.redone, redone(own))
        logged = read_records(paths.log)
        told = {json.dumps(record) for record in logged}
        tally.records_lost += sum(event["record"] not in told for event in own if event["what"] == "ack")
        finished = sum(record.get("event") == "done" for record in logged)
        ends = [attempt.ended for attempt in attempts(paths.attempts)].count("done")
        tally.twice += finished > 1 or ends > 1 or (alone and overlap(own))
        tally.unreadable += sum(
            "put aside as" in record.get("message", "") for record in logged if record.get("message")
        )
        if not paths.result.exists():
            tally.lost += 1
        elif numbers(paths) != ground.home.truth[paths.id]:
            tally.wrong += 1
    return tally


def events(path: Path) -> list[dict[str, Any]]:
    """What workers said, in order; a line cut off by a kill is no event."""
    found = []
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        with suppress(ValueError):
            found.append(json.loads(line))
    return sorted(found, key=lambda event: event["at"])


def overlap(own: list[dict[str, Any]]) -> bool:
    """Whether a process did a step of a run after another had gone on with it."""
    owner = None
    for event in own:
        if event["what"] == "begin":
            owner = event["pid"]
        elif event["what"] == "step" and event["pid"] != owner:
            return True
    return False


def redone(own: list[dict[str, Any]]) -> float:
    """The longest time, in checkpoint intervals, that had been worked since the last checkpoint when a worker died.

    A checkpoint is due at the first step after the interval: the last step, in which a worker may have died before
    it could save, does not count.
    """
    most, saved, steps = 0.0, None, list[dict[str, Any]]()
    for event in own:
        if event["what"] == "begin":
            most = max(most, _worked(saved, steps))
            saved, steps = event["at"], []
        elif event["what"] == "saved":
            saved, steps = event["at"], []
        elif event["what"] == "step":
            steps.append(event)
    return most


def _worked(saved: float | None, steps: list[dict[str, Any]]) -> float:
    if saved is None or len(steps) < 2:
        return 0.0
    before = steps[-2]
    return (before["at"] - saved) / before["interval"] if before["interval"] else float(len(steps) - 1) + 1


def until(condition: Callable[[], Any], seconds: float, pause: float = 0.002) -> Any:
    """What the condition gives once it holds; None where it does not in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            return None
        time.sleep(pause)
    return found
