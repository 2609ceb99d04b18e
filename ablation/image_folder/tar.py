"""What lies where in a tar: read from its headers, nothing is unpacked, nothing outside the tar is ever named."""

from __future__ import annotations

import os
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ablation.errors import UserError, first_line
from ablation.image_folder.files import LARGEST, is_image

LARGEST_HEADER = 1 << 20
BLOCK = 512
Member = tuple[str, str, int, int]
"""Class, name in the class, offset from the tar's start and size, in bytes."""


class Stretch:
    """Part of a file, as tarfile reads it: headers only, and none longer than any tar needs."""

    def __init__(self, file: int, start: int, length: int) -> None:
        self.file, self.start, self.length, self.at = file, start, length, 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes. Raises tarfile.ReadError where a header would be absurdly long."""
        if not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        data = os.pread(self.file, max(0, min(size, self.length - self.at)), self.start + self.at)
        self.at += len(data)
        return data

    def seek(self, position: int) -> int:
        """Go to a byte."""
        self.at = position
        return position

    def tell(self) -> int:
        """The byte that is next."""
        return self.at


def class_tars_in(path: Path) -> Iterator[Member]:
    """The images of a tar of class tars, `n01440764.tar` and so on. Raises UserError."""
    with _reading(path) as whole:
        found: set[str] = set()
        for name, start, size in _members(whole, str(path)):
            kind, ending = os.path.splitext(PurePosixPath(name).name)
            if ending != ".tar" or kind in found:
                what = f"class {kind!r} stands twice" if kind in found else f"{name!r} is not a class's tar"
                raise UserError(what, where=str(path), remedy="It should hold CLASS.tar for each class, and no more.")
            found.add(kind)
            members = list(_images(Stretch(whole.file, start, size), kind, f"{path}: {name}"))
            if not members:
                raise UserError("a class without images", where=f"{path}: {name}")
            yield from members


def images_in(path: Path, kind: str) -> Iterator[Member]:
    """The images of a tar, as those of one class. Raises UserError."""
    with _reading(path) as whole:
        yield from _images(whole, kind, str(path))


def _images(stretch: Stretch, kind: str, where: str) -> Iterator[Member]:
    names: set[str] = set()
    for name, start, size in _members(stretch, where):
        if not is_image(name):
            continue
        if size > LARGEST:
            raise UserError(f"{name!r} has {size:,} bytes: no image is so large", where=where, remedy="Copy it again.")
        if name in names:
            raise UserError(f"{name!r} stands twice", where=where, remedy="Make the tar again, each file once.")
        names.add(name)
        yield kind, name, stretch.start + start, size


class _reading:
    """A tar, open as one Stretch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Stretch:
        self.file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return Stretch(self.file, 0, os.fstat(self.file).st_size)

    def __exit__(self, *_: object) -> None:
        os.close(self.file)


def _members(stretch: Stretch, where: str) -> Iterator[tuple[str, int, int]]:
    """Name, offset in the file and size of every regular file of a tar. Raises UserError where it has anything but
    these and folders, is damaged, cut short or compressed."""
    try:
        with tarfile.open(fileobj=stretch, mode="r:") as archive:  # type: ignore[call-overload]
            for member in archive:
                archive.members = []  # it would keep them all
                if not member.isdir():
                    yield _checked(member, stretch.length, where), member.offset_data, member.size
            stretch.seek(archive.offset)
            if stretch.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError("damaged or cut short: no end mark")
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, struct.error) as error:
        remedy = "Copy it again; a compressed tar must be decompressed first (gunzip)."
        raise UserError(f"not a plain, whole tar: {first_line(error)}", where=where, remedy=remedy) from None


def _checked(member: tarfile.TarInfo, length: int, where: str) -> str:
    """The name of a member that is a plain file in its place."""
    path, shown = PurePosixPath(member.name), repr(member.name[:200])
    if path.is_absolute() or ".." in path.parts or not path.parts or not member.name.isprintable():
        raise UserError(f"{shown} is no name of a file below this folder", where=where, remedy="Make the tar again.")
    if not member.isreg() or member.issparse():
        raise UserError(f"{shown} is a link or another special file", where=where, remedy="Pack the files themselves.")
    if member.size < 0 or member.offset_data + member.size > length:
        raise UserError(f"{shown} reaches beyond the tar's end", where=where, remedy="The copy was cut short: again.")
    return str(path)
