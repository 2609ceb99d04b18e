"""Digests: of a file that is finished, and inside a checkpoint, as the comment of its ZIP archive."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

PIECE = 1 << 20
END = b"PK\x05\x06"
"""With it the end of a ZIP archive begins: 22 bytes, the last two of them the length of a comment that follows."""
END_BYTES = 22
MARK = b"sha256:"
SEAL_BYTES = len(MARK) + 64


class Damaged(Exception):
    """A file is not what was written, in a few words."""


def seal(archive: memoryview) -> list[memoryview | bytes]:
    """A ZIP archive without a comment, as the parts of one whose comment is the digest of all before it."""
    assert archive[-END_BYTES:][:4] == END and archive[-2:] == b"\0\0"
    body = archive[:-2]
    return [body, struct.pack("<H", SEAL_BYTES), MARK + hashlib.sha256(body).hexdigest().encode()]


def check_seal(data: bytes) -> bool:
    """Whether an archive has a seal; those of earlier versions have none. Raises Damaged where it does not hold."""
    if data[-END_BYTES:][:4] == END and data[-2:] == b"\0\0":
        return False
    found = data[-SEAL_BYTES:]
    if not found.startswith(MARK) or data[-SEAL_BYTES - 2 : -SEAL_BYTES] != struct.pack("<H", SEAL_BYTES):
        raise Damaged("is cut off, or no checkpoint")
    body = memoryview(data)[: -SEAL_BYTES - 2]
    if found[len(MARK) :] != hashlib.sha256(body).hexdigest().encode():
        raise Damaged("does not match its digest")
    return True


def fingerprint(path: Path, size: int | None = None) -> dict[str, Any]:
    """`bytes` and `sha256` of a file, or of its first `size` bytes."""
    digest, read = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(PIECE if size is None else min(PIECE, size - read)):
            digest.update(piece)
            read += len(piece)
    return {"bytes": read, "sha256": digest.hexdigest()}


OWN = "sha256"


def with_digest(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a JSON file, and last among them their own digest."""
    return {**{key: value for key, value in fields.items() if key != OWN}, OWN: _digest(fields)}


def check_digest(fields: dict[str, Any]) -> None:
    """Hold the fields against their own digest; those of earlier versions have none. Raises Damaged."""
    if OWN in fields and fields[OWN] != _digest(fields):
        raise Damaged("does not match its own digest: it was changed by hand, or damaged")


def _digest(fields: dict[str, Any]) -> str:
    rest = {key: value for key, value in fields.items() if key != OWN}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
