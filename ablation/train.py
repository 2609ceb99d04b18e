"""One run, from its start or its checkpoint to its result."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ablation import checkpoint
from ablation.data import Batch, open_images, steps_an_epoch
from ablation.design import Design
from ablation.errors import UserError
from ablation.execution import choose_execution, freeze, slow_precision
from ablation.family import FamilyDesign
from ablation.family.network import seed_step
from ablation.network import convert
from ablation.records import Log, now
from ablation.run import RunPaths, load_run, write_bytes, write_json
from ablation.step import first_network, optimiser_of, step


class Stopped(Exception):
    """The run was asked to stop: it has saved and can go on."""


class Lost(Exception):
    """Another worker has taken the run over: this one must write nothing more."""


@dataclass(frozen=True)
class Settings:
    """What a launch decides about a run, and its id does not digest."""

    gpus: int | None = None
    threads: int = 1
    checkpoint_minutes: float = 10
    data_dir: Path | None = None


@dataclass
class Progress:
    """Where a run is, besides its weights: what a checkpoint holds of it."""

    step: int = 0
    """Optimiser steps done."""
    recorded: int = 0
    """Epochs whose record is written."""
    seconds: float = 0.0
    """Wall time of training and evaluation, over all attempts."""
    epoch_seconds: float = 0.0
    """Of the epoch under way: training, and with evaluation."""
    loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    wrong: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    """Sums over the epoch's images, on the device: no step waits for them."""


@dataclass
class Evaluation:
    """The network on every evaluation image."""

    loss: float
    top1_error: float
    top5_error: float
    correct: np.ndarray
    """(images,), bool: which ones the first guess got right."""
    class_errors: list[float | None]
    """Top-1 error over the images of each class; None of a class without images."""


class Training:
    """A run under way."""

    def __init__(
        self, paths: RunPaths, settings: Settings, stop: Callable[[], str | None], held: Callable[[], bool]
    ) -> None:
        self.paths, self.settings, self.stop, self.held = paths, settings, stop, held
        self.run = load_run(paths)
        self.recipe = self.run.recipe
        self.execution = choose_execution(self.run.precision, settings.threads, settings.gpus)
        self.execution.apply()
        self.device = self.execution.device
        self.images = open_images(self.run.dataset, self.recipe, self.device, settings.data_dir)
        self.steps = steps_an_epoch(self.images, self.recipe)
        freeze(paths, self.execution, self._data())
        self.network = first_network(self.run.design, self.run.seed, self.execution, self.recipe.norm_batch)
        self.optimiser = optimiser_of(self.network, self.recipe)
        self.progress = Progress()
        self.progress.loss, self.progress.wrong = self._to_device(self.progress.loss, self.progress.wrong)
        self.log = Log(paths.log)
        self.saved = time.monotonic()

    def _data(self) -> dict[str, Any]:
        images = self.images
        return {
            "name": self.run.dataset.name,
            "train_images": images.train_images,
            "evaluation_images": images.evaluation_images,
            "digest": images.digest,
            "source": images.source,
        }

    def _to_device(self, *tensors: Tensor) -> list[Tensor]:
        return [tensor.to(self.device) for tensor in tensors]

    def to_the_end(self) -> None:
        """Train what is left and write the result.

        Raises Stopped where it was asked to stop, Lost where the claim is gone, UserError where training diverged.
        """
        try:
            self._resume()
            while self.progress.recorded < self.recipe.epochs:
                self._train_epoch()
                evaluation = self._evaluate()
                self._record_epoch(evaluation)
            self._finish(evaluation)
        finally:
            self.log.close()

    def _resume(self) -> None:
        saved = checkpoint.load(self.paths.checkpoint, self.run.id)
        warning = slow_precision(self.execution)
        if warning:
            self.log.append("event", event="warning", message=warning)
        if saved is None:
            self.log.append("event", event="start", step=0)
            return
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.progress = Progress(**saved["progress"])
        self.progress.loss, self.progress.wrong = self._to_device(self.progress.loss, self.progress.wrong)
        self.log.append("event", event="resume", step=self.progress.step)

    def _train_epoch(self) -> None:
        """Train to the end of the epoch under way."""
        self.network.train()
        epoch = self.progress.recorded
        first = self.progress.step - epoch * self.steps
        clock = time.monotonic()
        for batch in self.images.batches(self.run.seed, epoch, first):
            self._step(batch)
            clock = self._count_time(clock)
            self._save_if_due()
        self._synchronise()
        self._count_time(clock)

    def _synchronise(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _count_time(self, since: float) -> float:
        """Add the time since then to the counters; the time now."""
        clock = time.monotonic()
        self.progress.seconds += clock - since
        self.progress.epoch_seconds += clock - since
        return clock

    def _step(self, batch: Batch) -> None:
        if isinstance(self.run.design, FamilyDesign):
            seed_step(self.run.seed, self.progress.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.lr_at(self.progress.step, self.steps)
        loss, logits = step(self.network, self.optimiser, self.execution, batch, self.recipe.label_smoothing)
        self.progress.step += 1
        labels = batch[1]
        with torch.no_grad():
            self.progress.loss += loss.double() * len(labels)
            self.progress.wrong += (logits.argmax(1) != labels).sum()

    def _save_if_due(self) -> None:
        reason = self.stop()
        if not reason and time.monotonic() - self.saved < 60 * self.settings.checkpoint_minutes:
            return
        self._must_hold()
        content = {"run": self.run.id, "progress": asdict(self.progress)}
        content |= {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        checkpoint.save(self.paths.checkpoint, content)
        self.saved = time.monotonic()
        self.log.append("event", event="stop" if reason else "checkpoint", step=self.progress.step, message=reason)
        if reason:
            raise Stopped(reason)

    def _must_hold(self) -> None:
        if not self.held():
            raise Lost(f"another worker has taken over {self.run.id}")

    @torch.inference_mode()
    def _evaluate(self) -> Evaluation:
        clock = time.monotonic()
        self.train_seconds = self.progress.epoch_seconds
        self.network.eval()
        loss, top5, correct, classes = 0.0, 0, [], []
        for images, labels in self.images.evaluation():
            with self.execution.autocast():
                logits = self.network(images.to(self.execution.dtype))
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
            top5 += int(hits.any(1).sum())
            correct.append(hits[:, 0].cpu().numpy())
            classes.append(labels.cpu().numpy())
        self._count_time(clock)
        right, images_seen = np.concatenate(correct), self.images.evaluation_images
        if len(right) != images_seen:
            raise RuntimeError(f"evaluated {len(right)} of {images_seen} images")
        return Evaluation(
            loss / images_seen,
            _percent(images_seen - right.sum(), images_seen),
            _percent(images_seen - top5, images_seen),
            right,
            class_errors(right, np.concatenate(classes), self.run.dataset.classes),
        )

    def _record_epoch(self, evaluation: Evaluation) -> None:
        progress, trained = self.progress, self.steps * self.recipe.batch
        train_loss = progress.loss.item() / trained
        epoch = progress.recorded + 1
        if not np.isfinite(train_loss):
            raise UserError(f"diverged: the training loss is {train_loss} in epoch {epoch}", remedy="Lower the lr.")
        self._must_hold()
        self.train_loss, self.train_error = train_loss, _percent(progress.wrong.item(), trained)
        self.log.append(
            "epoch",
            epoch=epoch,
            epochs=self.recipe.epochs,
            step=progress.step,
            train_loss=train_loss,
            train_error=self.train_error,
            evaluation=self.run.dataset.evaluate,
            loss=evaluation.loss,
            top1_error=evaluation.top1_error,
            top5_error=evaluation.top5_error,
            images=self.images.evaluation_images,
            lr=self.optimiser.param_groups[0]["lr"],
            images_per_second=trained / self.train_seconds,
            seconds=progress.epoch_seconds,
        )
        progress.recorded, progress.epoch_seconds = epoch, 0.0
        progress.loss.zero_()
        progress.wrong.zero_()

    def _finish(self, evaluation: Evaluation) -> None:
        self._must_hold()
        name = self.run.dataset.evaluate
        write_bytes(self.paths.bits(name), np.packbits(evaluation.correct).tobytes())
        state, design = self.network.state_dict(), self.run.design
        if isinstance(design, Design):
            state = convert(state, design.cardinality, "c")
        buffer = io.BytesIO()
        torch.save({key: value.cpu().contiguous() for key, value in state.items()}, buffer)
        write_bytes(self.paths.weights, buffer.getvalue())
        write_json(self.paths.result, self._result(evaluation))
        self.log.append("event", event="done", step=self.progress.step)
        checkpoint.remove(self.paths.checkpoint)

    def _result(self, evaluation: Evaluation) -> dict[str, Any]:
        measured = {key: getattr(evaluation, key) for key in ("top1_error", "top5_error", "loss", "class_errors")}
        return {
            "id": self.run.id,
            "evaluations": {self.run.dataset.evaluate: {**measured, "images": self.images.evaluation_images}},
            "train_error": self.train_error,
            "train_loss": self.train_loss,
            "epochs": self.recipe.epochs,
            "steps": self.progress.step,
            "seconds": self.progress.seconds,
            "images_per_second": self.steps * self.recipe.batch / self.train_seconds,
            "finished": now(),
        }


def class_errors(right: np.ndarray, classes: np.ndarray, count: int) -> list[float | None]:
    """Percent of each of `count` classes' images that were not `right`; both arrays have shape (images,)."""
    images = np.bincount(classes, minlength=count)
    wrong = np.bincount(classes[~right], minlength=count)
    return [_percent(int(w), int(n)) if n else None for w, n in zip(wrong, images, strict=True)]


def _percent(part: float, whole: int) -> float:
    return 100 * float(part) / whole
