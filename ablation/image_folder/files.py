"""An image's place: a file, or a stretch of bytes in a tar that is read where it lies."""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ablation.errors import UserError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
WHOLE = -1
"""The offset of an image that is a file of its own."""
OPEN_TARS = 64
LARGEST = 256 << 20
"""Bytes; a larger image is taken for damage."""


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


class Entry(NamedTuple):
    """An image of a class, by its name in the class."""

    name: str
    path: Path
    """The file, or the tar that holds it."""
    offset: int
    """Bytes from the tar's start; WHOLE for a file."""
    size: int
    """Bytes."""

    def label(self, part: str, kind: str, label: int) -> File:
        """The image as `part` (train, val) of a data set, as one of class `kind`."""
        return File(f"{part}/{kind}/{self.name}", label, self.path, self.offset, self.size)


class File(NamedTuple):
    """An image of a data set."""

    name: str
    """`train/<class>/<file>`, wherever it lies."""
    label: int
    path: Path
    offset: int
    size: int

    @property
    def where(self) -> str:
        """Its place, as errors tell it."""
        return str(self.path) if self.offset == WHOLE else f"{self.path}: {self.name}"

    def read(self) -> bytes:
        """Its bytes. Raises OSError where they can't be read, UserError where they are no image's or the tar is
        shorter than it was."""
        if self.offset == WHOLE:
            with open(self.path, "rb", opener=_without_waiting) as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
                    what = f"{about.st_size:,} bytes: no image is so large" if about.st_size > LARGEST else "no file"
                    raise UserError(what, where=self.where, remedy="Replace it.")
                return file.read()
        return _opened(self.path).read(self.offset, self.size)


class _Tar:
    """A tar that is open; reading moves no position, so that processes may share it."""

    def __init__(self, path: Path) -> None:
        self.path, self.file = path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = os.pread(self.file, size, offset)
            if not part:
                raise UserError("the tar is shorter than its index says", where=str(self.path), remedy="Copy it again.")
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    def __del__(self) -> None:
        if hasattr(self, "file"):
            os.close(self.file)


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file; a pipe in its place, too, which would else wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


@lru_cache(OPEN_TARS)
def _opened(path: Path) -> _Tar:
    return _Tar(path)
