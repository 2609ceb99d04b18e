"""Checkpoints: where a run goes on from. Written beside, flushed and renamed, with a digest; the last two are kept.

Loaded as plain tensors, never code, and held against the network that they are for: one that is damaged is named and
put aside, and the one before it is used.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ablation.errors import UserError
from ablation.plain import Like, Progress, load_plain
from ablation.run import beside, checkpoint_files, put_aside_name
from ablation.seal import Damaged, check_seal, seal

__all__ = ["Found", "Like", "Progress", "load", "put_on", "remove", "save"]


@dataclass(frozen=True)
class Found:
    """What there is to go on from."""

    content: dict[str, Any] | None
    """None: the run starts at its beginning."""
    damaged: list[str] = field(default_factory=list)
    """What is to be said of checkpoints that could not be used."""


def put_on(scratch: Path | None, path: Path) -> None:
    """Let a run's checkpoint lie in a scratch folder, with a link to it where it is looked for; one that is there
    already stays where it is. Raises UserError where the folder can't be made."""
    if scratch is None or any(file.exists() for file in checkpoint_files(path)):
        return
    target = scratch / path.parent.parent.name / f"{path.parent.name}.pt"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    except OSError as error:
        what = f"checkpoints can't lie there: {error.strerror or error}"
        raise UserError(what, where=str(target.parent), remedy="Mend scratch: in the site file.") from None


def save(path: Path, content: dict[str, Any], must_hold: Callable[[], None] = lambda: None) -> None:
    """Write a checkpoint whole or not at all, and keep the one before it.

    `must_hold` is asked last, when all is on disk but its name: what it raises leaves everything as it was.
    """
    newest, before = checkpoint_files(path)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with beside(newest, *seal(buffer.getbuffer())) as spare:
        must_hold()
        _keep(newest, before)
        os.replace(spare, newest)


def _keep(newest: Path, before: Path) -> None:
    """Give the newest checkpoint its second name, so that no moment is without one."""
    if not newest.exists():
        return
    spare = before.with_name(f".{before.name}.{uuid.uuid4().hex}")
    try:
        os.link(newest, spare)
        os.replace(spare, before)
    except OSError:  # a file system without hard links: for a moment only `before` is there, which does as well
        os.replace(newest, before)
    finally:
        spare.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Take a run's checkpoints away, damaged ones too, and the link to them."""
    for file in checkpoint_files(path):
        file.unlink(missing_ok=True)
        put_aside_name(file).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def load(path: Path, run: str, like: Like | None = None) -> Found:
    """The newest checkpoint of a run that is whole and looks as it must, on the CPU.

    Others are put aside, as `checkpoint.damaged.pt`, and named. What killed writers left is removed: a writer that
    still lives, having lost the run, then has nothing to give a name to. Raises OSError where reading fails: that is
    no damage yet.
    """
    said: list[str] = []
    for file in checkpoint_files(path):
        _remove_spares(file)
        try:
            return Found(_read(file, run, like), said)
        except FileNotFoundError:
            continue
        except Damaged as damaged:
            os.replace(file, put_aside_name(file))
            said.append(f"{file.name} {damaged}: put aside as {put_aside_name(file).name}, and not used")
    if said:
        said.append("no checkpoint is left to go on from: the run starts again")
    return Found(None, said)


def _remove_spares(file: Path) -> None:
    for spare in file.parent.glob(f".{file.name}.*"):
        with suppress(OSError):
            spare.unlink(missing_ok=True)


def _read(file: Path, run: str, like: Like | None) -> dict[str, Any]:
    size = file.stat().st_size
    if like and size > like.most_bytes:
        raise Damaged(f"has {size:,} bytes, and no checkpoint of this network has more than {like.most_bytes:,}")
    data = file.read_bytes()
    check_seal(data)
    return load_plain(data, run, like)
