"""An optimiser step in parts: a rank's share of the batch, a micro-batch at a time, to the same gradient."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ablation.data import Batch
from ablation.distributed import Group
from ablation.errors import UserError
from ablation.execution import Execution
from ablation.family import FamilyDesign
from ablation.family.network import seed_step
from ablation.loss import forward, told
from ablation.network import batch_norm_buffers, commit_together, forget
from ablation.run import Run
from ablation.shares import micro_batches
from ablation.step import WholeStep


@dataclass(frozen=True)
class Parts:
    """How a rank does its part of a step."""

    batch: int
    """Images of the step, over all ranks."""
    share: slice
    """Which of them are this rank's."""
    micro: int
    """Images that pass through the network at a time."""

    @property
    def whole(self) -> bool:
        """Whether this is all there is: one rank, one pass."""
        return self.share == slice(0, self.batch) and self.micro >= self.batch


class PartedStep:
    """`step` on this rank's images of each batch: all ranks call it together."""

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        execution: Execution,
        parts: Parts,
        group: Group,
        seed: int | None = None,
    ) -> None:
        """`seed` is of someone else's network, which may draw random numbers and leave parameters unused."""
        self.network, self.optimiser, self.execution, self.parts, self.group = (
            network,
            optimiser,
            execution,
            parts,
            group,
        )
        self.model = group.wrap(network, unused=seed is not None)
        self.model.train()
        self.seed, self.promise = seed, Promise(network, execution.device) if seed is not None else None

    def __call__(self, batch: Batch, label_smoothing: float, step: int) -> tuple[Tensor, Tensor]:
        """The mean loss over this rank's images, and their guesses, (images, classes), in fp32 or better.

        The gradients are of the mean loss over all ranks' images, and so are the running statistics.
        """
        images, labels = batch
        pieces = micro_batches(self.parts.share, self.parts.micro)
        losses, guesses = [], []
        self.optimiser.zero_grad()
        for piece in pieces:
            self._begin(step, piece.start)
            here = slice(piece.start - self.parts.share.start, piece.stop - self.parts.share.start)
            with self._last() if piece is pieces[-1] else self._more():
                loss, logits = forward(self.model, self.execution, images[here], labels[here], label_smoothing)
                # ranks' gradients are averaged, and their shares may be uneven
                (loss * (len(logits) * self.group.world / self.parts.batch)).backward()
            loss, found = told(loss.detach(), logits.detach())
            losses.append(loss * len(found))
            guesses.append(found)
        self.optimiser.step()
        commit_together(self.network, self.group.sum)
        return torch.stack(losses).sum() / len(labels), torch.cat(guesses)

    def _begin(self, step: int, image: int) -> None:
        """Set the random stream of a pass: each has its own, the batch's first that of a batch in one piece."""
        if self.seed is not None:
            seed_step(self.seed, f"{step}/{image}" if image else step)
        if self.promise:
            self.promise.begin()

    def _last(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def _more(self) -> contextlib.AbstractContextManager[Any]:
        return self.model.no_sync() if self.group.world > 1 else contextlib.nullcontext()  # type: ignore[operator]

    def look(self) -> str | None:
        """After the first step: what someone else's network does not promise in parts, on any rank."""
        promise, self.promise = self.promise, None
        return self.group.agree(self.group.together(promise.warning)) if promise else None


def how_to_step(
    run: Run,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    execution: Execution,
    group: Group,
    share: slice,
    micro_batch: int | None,
) -> tuple[WholeStep | PartedStep, str | None]:
    """How a rank does its `share` of a run's steps, and what is to be said of it; all ranks call it together.

    In micro-batches of `micro_batch` images; by default, on a GPU, of as many as fit.
    """
    design, recipe, images = run.design, run.recipe, share.stop - share.start
    seed = run.seed if isinstance(design, FamilyDesign) else None
    micro = micro_batch or images
    if not micro_batch and execution.device == "cuda":
        side = recipe.train_resolution or design.resolution
        image = (design.channels, side, side)
        fit = partial(largest_micro_batch, network, execution, image, images, recipe.norm_batch)
        micro = group.together(fit)
    parts = Parts(recipe.batch, share, micro)
    if group.world == 1 and parts.whole:
        return WholeStep(network, optimiser, execution, seed), None
    message = f"{images} images in micro-batches of {micro}" if micro < images else None
    return PartedStep(network, optimiser, execution, parts, group, seed), message


def largest_micro_batch(
    network: nn.Module, execution: Execution, image: tuple[int, int, int], images: int, norm_batch: int
) -> int:
    """The most images, of `images`, whose forward and backward pass fits the memory: all, or whole groups of
    `norm_batch`, halved until they do. The network is left as it was, without gradients.

    Raises UserError where one group does not fit.
    """
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    reserve = [torch.empty_like(parameter) for parameter in network.parameters() for _ in range(2)]  # momentum, buckets
    micro = images
    try:
        while not _fits(network, execution, image, micro):
            if micro <= norm_batch:
                raise UserError(
                    f"a group of {norm_batch} images does not fit the memory of this {execution.device}",
                    remedy="Lower norm_batch in the recipe (which makes another arm), or use precision: bf16.",
                )
            micro = max(1, micro // norm_batch // 2) * norm_batch
    finally:
        del reserve
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(before[name])
    return micro


def _fits(network: nn.Module, execution: Execution, image: tuple[int, int, int], images: int) -> bool:
    try:
        x = torch.zeros((images, *image), device=execution.device).to(memory_format=torch.channels_last)
        labels = torch.zeros(images, dtype=torch.int64, device=execution.device)
        forward(network, execution, x, labels, 0.0)[0].backward()
        return True
    except torch.OutOfMemoryError:
        return False
    finally:
        forget(network)
        network.zero_grad()
        if execution.device == "cuda":
            torch.cuda.empty_cache()


class Promise:
    """Whether someone else's network can be trained in parts; looked at in the first step of every attempt."""

    def __init__(self, network: nn.Module, device: str) -> None:
        ours = batch_norm_buffers(network)
        self.network, self.device = network, device
        self.buffers = {name: buffer.clone() for name, buffer in network.named_buffers() if name not in ours}
        self.seeded = self._random()

    def begin(self) -> None:
        """Right after the random stream of a pass was set."""
        self.seeded = self._random()

    def warning(self) -> str | None:
        """What it does not promise, after the step. Raises UserError where it can't be trained in parts at all."""
        now = dict(self.network.named_buffers())
        changed = [name for name, before in self.buffers.items() if not torch.equal(before, now[name])]
        if changed:
            raise UserError(
                f"this family changes its buffer {changed[0]!r} while it trains: that can't be kept equal on several "
                "processes or in micro-batches",
                remedy="Train it as one process in one piece: resources nodes=1, tasks=1, gpus=0 or 1, no micro_batch.",
            )
        if torch.equal(self.seeded, self._random()):
            return None
        return (
            "this family draws random numbers while it trains (dropout, say): in parts it draws others than one "
            "process would, so its numbers are those of another, equally good run"
        )

    def _random(self) -> Tensor:
        return torch.cuda.get_rng_state() if self.device == "cuda" else torch.get_rng_state()
