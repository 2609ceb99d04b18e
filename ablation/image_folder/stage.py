"""Tars copied to a disk of the node, once, and read from there: $ABLATION_STAGE names its folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ablation.errors import UserError
from ablation.image_folder.files import WHOLE, File
from ablation.image_folder.once import one_at_a_time

VARIABLE = "ABLATION_STAGE"
SPARE = 1 << 30
"""Bytes that are left free."""


def staged(train: list[File], held_out: list[File]) -> tuple[list[File], list[File], list[str]]:
    """The images as they are to be read, and warnings: from the node's copies of their tars where it has room.

    The first process of a node that asks copies, the others wait for it. Without $ABLATION_STAGE nothing is copied.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return train, held_out, []
    if not os.path.isabs(folder):
        return train, held_out, [f"{VARIABLE}={folder!r} is not the whole path of a folder: nothing is copied"]
    tars = sorted({file.path for file in train + held_out if file.offset != WHOLE})
    if not tars:
        return train, held_out, [f"{VARIABLE} is set, and these images lie in folders: only tars are copied"]
    try:
        copies = stage(tars, Path(folder))
    except (OSError, UserError) as error:
        why = error.message if isinstance(error, UserError) else f"{error.filename}: {error.strerror}"
        return train, held_out, [f"tars are read where they lie, not from {folder}: {why}"]
    train, held_out = (
        [file._replace(path=copies.get(file.path, file.path)) for file in part] for part in (train, held_out)
    )
    return train, held_out, []


def stage(tars: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Copies of tars below a folder of this node; those that are there and whole are kept.

    Raises UserError where there is no room or the folder is another user's, OSError where copying fails.
    """
    own = folder / f"ablation-{os.getuid()}"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    if own.is_symlink() or own.stat().st_uid != os.getuid():
        raise UserError(f"{own} is another user's")
    copies = {tar: own / _name(tar) for tar in tars}
    with one_at_a_time(own, own):
        lacking = [tar for tar in tars if not _whole(tar, copies[tar])]
        wanted, free = sum(tar.stat().st_size for tar in lacking), shutil.disk_usage(own).free
        if wanted and wanted + SPARE > free:
            raise UserError(f"{wanted / 1e9:.1f} GB to copy, {free / 1e9:.1f} GB free")
        for tar in lacking:
            _copy(tar, copies[tar])
    return copies


def _name(tar: Path) -> str:
    """Another name for another tar, and for the same one once it has changed."""
    about = tar.stat()
    key = f"{tar.absolute()} {about.st_size} {about.st_mtime_ns}"
    return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}-{tar.name}"


def _whole(tar: Path, copy: Path) -> bool:
    return copy.is_file() and copy.stat().st_size == tar.stat().st_size


def _copy(tar: Path, copy: Path) -> None:
    """Whole or not at all. Raises OSError."""
    print(f"copying {tar} to {copy.parent}", file=sys.stderr, flush=True)
    part = copy.with_name(f"{copy.name}.part")
    try:
        shutil.copyfile(tar, part)
        if not _whole(tar, part):
            raise OSError(5, "the copy has another size", str(tar))
        os.replace(part, copy)
    finally:
        part.unlink(missing_ok=True)
