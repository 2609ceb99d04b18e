"""One run, from its start or its checkpoint to its result."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ablation import checkpoint
from ablation.accumulate import PartedStep, how_to_step, largest_micro_batch
from ablation.augment import augmentation
from ablation.average import Average
from ablation.checkpoint import Like, Progress
from ablation.data import Batch, Images, describe, open_images, steps_an_epoch
from ablation.design import Design
from ablation.distributed import Group, alone, everywhere
from ablation.errors import UserError
from ablation.evaluate import Evaluation, evaluate, further, percent
from ablation.execution import Execution, choose_execution, compare_ranks, freeze, slow_precision
from ablation.graphs import GraphedStep
from ablation.kernels import choose
from ablation.layouts import on_device
from ablation.loss import truth
from ablation.network import convert
from ablation.prefetch import beside
from ablation.records import Log, NoLog, now
from ablation.run import RunPaths, load_run, write_bytes, write_json
from ablation.seal import fingerprint, with_digest
from ablation.settings import Settings
from ablation.shares import check_micro_batch, shares, waiting
from ablation.step import WholeStep, first_network, optimiser_of
from ablation.watchdog import Watchdog, Watched, end_process

DUE = "a checkpoint is due"
WRITING = 0.01
"""The part of the time that writing checkpoints may take."""
LONGEST_SECONDS = 3600.0
"""However slow writing is, a checkpoint is due by then."""


class Stopped(Exception):
    """The run was asked to stop: it has saved and can go on."""


class Lost(Exception):
    """Another worker has taken the run over: this one must write nothing more."""


class Training:
    """A run under way, on one of the ranks that train it. Only rank 0 writes, and asks whether the run is `held`.

    What is raised, here and by `to_the_end`, is raised on every rank, which can then train another run; but for Broken.
    """

    def __init__(
        self,
        paths: RunPaths,
        settings: Settings,
        stop: Callable[[], str | None],
        held: Callable[[], bool],
        group: Group | None = None,
        bite: Callable[[str], object] = end_process,
    ) -> None:
        """`bite`: what to do where the run hangs, given a line about it."""
        self.dog = Watchdog(settings.hang_minutes, bite)
        self.paths, self.settings, self.stop, self.held = paths, settings, stop, held
        self.group = group or alone()
        self.log: Log | NoLog = NoLog()
        with self.group.guard():
            self.run = self.group.at_first(lambda: load_run(paths, whole=True))
            self.recipe = self.run.recipe
            self.images = self.group.together(self._open)
            self.execution = self.group.at_first(self._choose)
            self.execution.apply()
            self.warnings = self._freeze()
            self.network = self.group.together(self._build)
            self.group.at_first(self._open_log)
        self.saved, self.costs = time.monotonic(), list[float]()

    def _open(self) -> Images:
        settings, recipe = self.settings, self.recipe
        self.share = shares(recipe.batch, recipe.norm_batch, self.group.world)[self.group.rank]
        check_micro_batch(settings.micro_batch, recipe.batch, recipe.norm_batch)
        self.execution = choose_execution(self.run.precision, settings.threads, settings.gpus)
        self.execution.apply()
        self.device = self.execution.device
        images = open_images(self.run.dataset, recipe, self.device, settings.data_dir)
        self.steps = steps_an_epoch(images, recipe)
        return images

    def _choose(self) -> Execution:
        """How layers are computed, then, with those, in which layout."""
        images, steps = self.share.stop - self.share.start, self.steps * self.recipe.epochs
        chosen = choose(self.paths, self.run, self.execution, images, steps, self.settings.kernels)
        execution = replace(self.execution, kernels=chosen.kernels)
        execution, layout = on_device(execution, self.paths, self.run, self.settings, images, steps)
        self.measured = {"kernels": chosen.message, "layout": layout}
        return execution

    def _freeze(self) -> list[str]:
        """Write down what the run is trained on; what is to be said of it. Raises UserError where ranks disagree."""
        group, recipe = self.group, self.recipe
        block, data = self.execution.block(group.world), describe(self.images, self.run.dataset)
        everyone = group.gather((block, data))
        found = [
            *self.images.warnings,
            group.at_first(lambda: compare_ranks(everyone)),
            group.at_first(lambda: freeze(self.paths, block, data)),
            waiting(recipe.batch, recipe.norm_batch, group.world),
        ]
        return [warning for warning in found if warning]

    def _build(self) -> nn.Module:
        run, recipe = self.run, self.recipe
        network = first_network(run.design, run.seed, self.execution, recipe.norm_batch, recipe.zero_gamma)
        self.optimiser = optimiser_of(network, recipe)
        self.average = Average(network, recipe, self.steps) if recipe.ema_decay else None
        self.augment = augmentation(recipe, run.dataset.classes, run.seed, self.share)
        self.progress = Progress().on(self.device)
        return network

    @property
    def outcome(self) -> nn.Module:
        """The network that is evaluated and kept: the average where the recipe asks for one."""
        return self.average.network if self.average else self.network

    def _open_log(self) -> None:
        self.log = Log(self.paths.log)
        for event, message in self.measured.items():
            if message:
                self.log.append("event", event=event, message=message)

    def to_the_end(self) -> None:
        """Train what is left and write the result.

        Raises Stopped where it was asked to stop, Lost where the claim is gone, UserError where training diverged; each
        of them on all ranks at the same step. Raises Broken where this rank or another failed alone: the ranks' group
        can't be used again.
        """
        try:
            with self.group.guard(), self.dog:
                self._resume()
                self.do = self._how_to_step()
                self._warn(*self.warnings)
                while self.progress.recorded < self.recipe.epochs:
                    self._train_epoch()
                    evaluation = self._evaluate()
                    self._end_epoch(evaluation)
                evaluations = {self.run.dataset.evaluate: evaluation, **self._evaluate_further()}
                self.group.at_first(lambda: self._finish(evaluations))
        finally:
            self.log.close()

    def batch_that_fits(self) -> int | None:
        """Images that pass through the network at a time within a GPU's memory, tried out; None where it can't be."""
        if self.device != "cuda" or self.group.world > 1:
            return None
        _, channels, height, width = next(iter(self.images.batches(self.run.seed, 0, 0, self.share)))[0].shape
        image, recipe = (channels, height, width), self.recipe
        self.optimiser.zero_grad()
        try:
            return largest_micro_batch(self.network, self.execution, image, recipe.batch, recipe.norm_batch)
        except (UserError, RuntimeError):
            return None

    def _resume(self) -> None:
        found = self.group.at_first(lambda: checkpoint.load(self.paths.checkpoint, self.run.id, self._like()))
        saved, self.warnings = found.content, [*found.damaged, *self.warnings]
        if self.group.first and (warning := slow_precision(self.execution)):
            self.warnings.insert(0, warning)
        ranks = {"ranks": self.group.world} if self.group.world > 1 else {}
        if saved is None:
            self.log.append("event", event="start", step=0, **ranks)
            return
        self.group.at_first(lambda: self._check_log(saved.get("log")))
        self.network.load_state_dict(saved["network"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.average:
            self.average.load_state_dict(saved["average"])
        self.progress = Progress(**saved["progress"]).on(self.device)
        if not self.group.first:  # rank 0 goes on with the sums over all
            self.progress.zero_sums()
        self.log.append("event", event="resume", step=self.progress.step, attempt=self.settings.attempt, **ranks)

    def _check_log(self, then: dict[str, Any] | None) -> None:
        """What a checkpoint comes after must be there. Raises UserError where records were changed since."""
        if then and fingerprint(self.paths.log, then["bytes"]) != then:
            what = "damaged log: the records of before the checkpoint are not what they were"
            raise UserError(what, where=str(self.paths.log), remedy="Remove the run's folder to run it again.")

    def _like(self) -> Like:
        return Like(self.network.state_dict(), self.optimiser, average=self.average is not None)

    def _how_to_step(self) -> WholeStep | PartedStep | GraphedStep:
        run, micro = self.run, self.settings.micro_batch
        do, message = how_to_step(run, self.network, self.optimiser, self.execution, self.group, self.share, micro)
        if message:
            self.log.append("event", event="accumulate", message=message)
        return GraphedStep(do) if self.execution.graph and isinstance(do, WholeStep) else do

    def _warn(self, *messages: str | None) -> None:
        for message in filter(None, messages):
            self.log.append("event", event="warning", message=message)

    def _train_epoch(self) -> None:
        """Train to the end of the epoch under way."""
        self.network.train()
        epoch = self.progress.recorded
        first = self.progress.step - epoch * self.steps
        clock = time.monotonic()
        for batch in beside(self.images.batches(self.run.seed, epoch, first, self.share), self.device):
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
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.lr_at(self.progress.step, self.steps)
        step = self.progress.step
        images, labels = self.augment(batch, step) if self.augment else batch
        loss, guesses = self.do((images, labels), self.recipe.label_smoothing, step)
        self._warn(self.do.look())
        self.progress.step += 1
        self.dog.stir(self.progress.step)
        if self.average:
            self.average.update(self.network, step)
        with torch.no_grad():
            self.progress.loss += loss.double() * len(labels)
            self.progress.wrong += (guesses.argmax(1) != truth(labels)).sum()

    def _save_if_due(self) -> None:
        """Save where it is time, and leave where any rank was asked to stop."""
        due = self.group.first and time.monotonic() - self.saved >= self._interval()
        reason = self.group.agree(self.stop() or (DUE if due else None))
        if not reason:
            return
        progress = self._progress_of_all()
        self.group.at_first(lambda: self._save(progress, reason))
        if reason != DUE:
            raise everywhere(Stopped(reason))

    def _interval(self) -> float:
        """Seconds between checkpoints: as the settings say, or longer where writing would take over 1% of the time."""
        wanted = 60 * self.settings.checkpoint_minutes
        usual = min(self.costs[-2:], default=0.0)
        return max(wanted, min(usual / WRITING, LONGEST_SECONDS)) if wanted else 0.0

    def _progress_of_all(self) -> Progress:
        """Progress with the sums over all ranks' images."""
        self._name_broken()
        loss, wrong = self.group.sum(self.progress.loss), self.group.sum(self.progress.wrong)
        return replace(self.progress, loss=loss, wrong=wrong)

    def _name_broken(self) -> None:
        """Write down, once, which training images could not be decoded so far on any rank."""
        if self.run.dataset.corrupt == "stop":
            return
        found = set().union(*self.group.gather(self.images.broken)) - set(self.progress.broken)
        self._warn(*(f"{name} can't be decoded: trained on the next image of its class" for name in sorted(found)))
        self.progress.broken = sorted({*self.progress.broken, *found})

    def _save(self, progress: Progress, reason: str) -> None:
        start = time.monotonic()
        content = {"run": self.run.id, "progress": asdict(progress)}
        content |= {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        content |= {"average": self.average.state_dict()} if self.average else {}
        content["log"] = fingerprint(self.paths.log)
        checkpoint.save(self.paths.checkpoint, content, self._must_hold)
        self.saved = time.monotonic()
        self.costs.append(self.saved - start)
        event, message = ("checkpoint", None) if reason == DUE else ("stop", reason)
        self.log.append("event", event=event, step=self.progress.step, message=message)

    def _must_hold(self) -> None:
        if not self.held():
            raise Lost(f"another worker has taken over {self.run.id}")

    def _watched(self) -> Images:
        return cast(Images, Watched(self.images, self.dog))

    def _evaluate(self) -> Evaluation:
        clock = time.monotonic()
        self.train_seconds = self.progress.epoch_seconds
        evaluation = evaluate(self.outcome, self._watched(), self.execution, self.run.dataset.classes, self.group)
        self._count_time(clock)
        return evaluation

    def _evaluate_further(self) -> dict[str, Evaluation]:
        clock = time.monotonic()
        found = further(self.outcome, self._watched(), self.execution, self.run.dataset, self.group)
        self._count_time(clock)
        return found

    def _end_epoch(self, evaluation: Evaluation) -> None:
        progress = self._progress_of_all()
        self.group.at_first(lambda: self._record_epoch(progress, evaluation))
        self.progress.recorded, self.progress.epoch_seconds = self.progress.recorded + 1, 0.0
        self.progress.zero_sums()

    def _record_epoch(self, progress: Progress, evaluation: Evaluation) -> None:
        trained = self.steps * self.recipe.batch
        train_loss = progress.loss.item() / trained
        epoch = progress.recorded + 1
        if not np.isfinite(train_loss):
            raise UserError(f"diverged: the training loss is {train_loss} in epoch {epoch}", remedy="Lower the lr.")
        self._must_hold()
        self.train_loss, self.train_error = train_loss, percent(progress.wrong.item(), trained)
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

    def _finish(self, evaluations: dict[str, Evaluation]) -> None:
        self._must_hold()
        for name, evaluation in evaluations.items():
            write_bytes(self.paths.bits(name), np.packbits(evaluation.correct).tobytes())
        state, design = self.outcome.state_dict(), self.run.design
        if isinstance(design, Design):
            state = convert(state, design.cardinality, "c")
        buffer = io.BytesIO()
        torch.save({key: value.cpu().contiguous() for key, value in state.items()}, buffer)
        write_bytes(self.paths.weights, buffer.getvalue())
        self._write_result(self._result(evaluations))
        self.log.append("event", event="done", step=self.progress.step)
        checkpoint.remove(self.paths.checkpoint)

    def _write_result(self, result: dict[str, Any]) -> None:
        """A run has one result: what a worker that lost it may still write, nobody reads."""
        self._must_hold()
        try:
            write_json(self.paths.result, with_digest(result), anew=True)
        except FileExistsError:
            raise Lost(f"another worker has finished {self.run.id}") from None

    def _result(self, evaluations: dict[str, Evaluation]) -> dict[str, Any]:
        skips = self.run.dataset.corrupt == "skip"
        return {
            "id": self.run.id,
            "evaluations": {name: evaluation.to_dict() for name, evaluation in evaluations.items()},
            **({"broken_images": len(self.progress.broken)} if skips else {}),
            "train_error": self.train_error,
            "train_loss": self.train_loss,
            "epochs": self.recipe.epochs,
            "steps": self.progress.step,
            "seconds": self.progress.seconds,
            "attempts": self.settings.attempt,
            "images_per_second": self.steps * self.recipe.batch / self.train_seconds,
            "finished": now(),
            "files": {path.name: fingerprint(path) for path in self._finished_files(evaluations)},
        }

    def _finished_files(self, evaluations: dict[str, Evaluation]) -> list[Path]:
        """What will not change any more: of the log, what is there now."""
        paths = self.paths
        return [paths.run_json, paths.log, paths.weights, *(paths.bits(name) for name in evaluations)]
