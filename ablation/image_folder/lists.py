"""Lists that lie beside images: the classes to train on, and which class each validation image shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from ablation.errors import UserError

LABELS = "val.txt"
LARGEST = 64 << 20
"""Bytes: a line for each image of ImageNet-22K has less."""
ONE_EACH = "Write `FILENAME CLASS` on each line, or one CLASS a line in the order of the files' names."


def read_classes(path: Path) -> list[str]:
    """Class names from a file with one a line, sorted. Raises UserError, with the line, where it is anything else."""
    lines = _lines(path, "Write the names of the class folders, one a line.")
    first: dict[str, int] = {}
    for number, name in lines:
        if "/" in name or name in (".", "..") or not name.isprintable():
            raise UserError(f"{name!r} is no class name", where=f"{path}:{number}", remedy="Write one name a line.")
        if name in first:
            raise UserError(f"class {name!r} stands in line {first[name]} too", where=f"{path}:{number}")
        first[name] = number
    return sorted(first)


def read_labels(path: Path, files: Sequence[str], classes: Collection[str]) -> list[str]:
    """The class of each of `files`, which are sorted by name.

    Raises UserError, with the line, where the list names other files than these, or other classes than `classes`.
    """
    lines = _lines(path, ONE_EACH)
    pairs = [(number, *_pair(text, classes, f"{path}:{number}")) for number, text in lines]
    named = [name for _, name, _ in pairs if name is not None]
    if len(pairs) != len(files) or len(named) not in (0, len(pairs)):
        count = f"{len(pairs)} labels for {len(files)} images" if len(pairs) != len(files) else "two kinds of lines"
        raise UserError(count, where=str(path), remedy=ONE_EACH)
    if not named:
        return [kind for _, _, kind in pairs]
    found: dict[str, str] = {}
    known = set(files)
    for number, name, kind in pairs:
        if name not in known or name in found:
            what = "stands twice" if name in found else "is not among the images"
            raise UserError(f"{name!r} {what}", where=f"{path}:{number}", remedy=ONE_EACH)
        found[str(name)] = kind
    return [found[name] for name in files]


def _pair(text: str, classes: Collection[str], where: str) -> tuple[str | None, str]:
    name, _, kind = text.rpartition(" ")
    if kind not in classes:
        number = f"{kind} is a number, and kits number the classes differently"
        what = number if kind.isdigit() else f"{kind!r} is not among the training classes"
        remedy = "Write class names, such as n01440764; docs/images.md tells how to make this list from a kit's."
        raise UserError(f"class {what}", where=where, remedy=remedy)
    return name or None, kind


def _lines(path: Path, remedy: str) -> list[tuple[int, str]]:
    """Lines that are not blank, with their numbers; tabs count as blanks."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST or not path.is_file():
            raise UserError("no list: a device, or too large", where=str(path), remedy=remedy)
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise UserError("not a text file", where=str(path), remedy=remedy) from None
    except OSError as error:
        raise UserError(f"can't read this list: {error.strerror}", where=str(path), remedy=remedy) from None
    stripped = ((number, " ".join(line.split())) for number, line in enumerate(text.splitlines(), 1))
    found = [(number, line) for number, line in stripped if line]
    if not found:
        raise UserError("an empty list", where=str(path), remedy=remedy)
    return found
