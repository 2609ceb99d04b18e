"""Checkpoints: where a run goes on from. Written beside, flushed and renamed; loaded as plain tensors, never code."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablation.errors import UserError, first_line
from ablation.run import write_bytes


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
    broken: list[str] = field(default_factory=list)
    """Training images that can't be decoded, and that others stood for (a data set's `corrupt: skip`)."""

    def on(self, device: str) -> Progress:
        """The same, with its sums on a device."""
        return replace(self, loss=self.loss.to(device), wrong=self.wrong.to(device))

    def zero_sums(self) -> None:
        """Begin to sum anew."""
        self.loss.zero_()
        self.wrong.zero_()


def put_on(scratch: Path | None, path: Path) -> None:
    """Let a run's checkpoint lie in a scratch folder, with a link to it where it is looked for; one that is there
    already stays where it is. Raises UserError where the folder can't be made."""
    if scratch is None or path.exists():
        return
    target = scratch / path.parent.parent.name / f"{path.parent.name}.pt"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    except OSError as error:
        what = f"checkpoints can't lie there: {error.strerror or error}"
        raise UserError(what, where=str(target.parent), remedy="Mend scratch: in the site file.") from None


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path.readlink() if path.is_symlink() else path, buffer.getvalue())


def remove(path: Path) -> None:
    """Take a checkpoint away, and the link to it."""
    if path.is_symlink():
        path.readlink().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def load(path: Path, run: str) -> dict[str, Any] | None:
    """The checkpoint of a run, on the CPU; None where there is none.

    Raises UserError where it is damaged or another run's.
    """
    if not path.exists():
        return None
    remedy = "Remove it to start the run again."
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(f"damaged checkpoint: {first_line(error)}", where=str(path), remedy=remedy) from None
    if not isinstance(content, dict) or content.get("run") != run:
        raise UserError(f"this checkpoint is not {run}'s", where=str(path), remedy=remedy)
    return content
