"""The offset index of tars: built once, kept as a text file beside the data (or in a cache folder), checked at use.

First line: JSON with the tars (name, bytes, time of change) and the digest of the rest. Then a line an image: number
of the tar, class, name, offset, bytes; tabs between them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ablation.errors import UserError
from ablation.image_folder.files import LARGEST, Entry
from ablation.image_folder.once import one_at_a_time
from ablation.image_folder.tar import Member
from ablation.run import write_bytes

VERSION = 1


@dataclass(frozen=True)
class Index:
    """Where every image of some tars lies."""

    classes: dict[str, list[Entry]]
    digest: str
    path: Path


def open_index(tars: Sequence[Path], beside: Path, read: Callable[[Path], Iterator[Member]]) -> Index:
    """The index of tars, read from `beside` or the cache folder, or built by `read` of each tar and kept there.

    One process of a node builds it, the others wait. Raises UserError where a tar is damaged.
    """
    places = [beside, _cache(beside)]
    about = {"index": VERSION, "tars": [_facts(tar) for tar in tars]}
    with one_at_a_time(beside):
        for place in places:
            if found := _load(place, tars, about):
                return found
        body = _build(tars, read)
        place = _keep(places, _head(about, body) + body)
        return _parse(body, tars, place)


def _build(tars: Sequence[Path], read: Callable[[Path], Iterator[Member]]) -> bytes:
    shown = tars[0] if len(tars) == 1 else f"{len(tars)} tars in {tars[0].parent}"
    print(f"reading the headers of {shown}, once", file=sys.stderr, flush=True)
    lines = []
    for number, tar in enumerate(tars):
        lines += [f"{number}\t{kind}\t{name}\t{offset}\t{size}\n" for kind, name, offset, size in read(tar)]
    return "".join(lines).encode()


def _keep(places: Sequence[Path], content: bytes) -> Path:
    """Write it to the first place that can be written."""
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(place, content)
            return place
        except OSError as error:
            failed = error
    raise UserError(
        f"can't keep the index of a tar: {failed.strerror}",
        where=str(places[-1]),
        remedy="Give XDG_CACHE_HOME a folder that can be written.",
    )


def _load(place: Path, tars: Sequence[Path], about: dict[str, Any]) -> Index | None:
    """The index that lies there; None where none does, it is damaged, or a tar has changed."""
    try:
        content = place.read_bytes()
        end = content.index(b"\n") + 1
        head, body = content[:end], content[end:]
        return _parse(body, tars, place) if head == _head(about, body) else None
    except (OSError, ValueError, IndexError):
        return None


def _head(about: dict[str, Any], body: bytes) -> bytes:
    return (json.dumps({**about, "sha256": hashlib.sha256(body).hexdigest()}) + "\n").encode()


def _parse(body: bytes, tars: Sequence[Path], place: Path) -> Index:
    """Raises ValueError where a line points out of its tar."""
    ends, classes = [tar.stat().st_size for tar in tars], dict[str, list[Entry]]()
    for line in body.decode().splitlines():
        number, kind, name, offset, size = line.split("\t")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(line)
        entry = Entry(name, tars[int(number)], int(offset), int(size))
        if not (entry.offset >= 0 and 0 <= entry.size <= LARGEST and entry.offset + entry.size <= ends[int(number)]):
            raise ValueError(line)
        classes.setdefault(kind, []).append(entry)
    for entries in classes.values():
        entries.sort(key=lambda entry: entry.name.split("/"))
    return Index(classes, hashlib.sha256(body).hexdigest()[:16], place)


def _facts(tar: Path) -> list[str | int]:
    about = tar.stat()
    return [tar.name, about.st_size, about.st_mtime_ns]


def _cache(beside: Path) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablation" / "tars"
    return root / f"{hashlib.sha256(str(beside.absolute()).encode()).hexdigest()[:16]}.index"
