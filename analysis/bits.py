"""Which test images the final networks got right: the bits beside each result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Right = NDArray[np.bool_]


def read_right(path: Path, images: int) -> Right | None:
    """Shape (images,), in the data set's order; None where the file is absent, or has another length (`trouble`)."""
    if not path.exists() or trouble(path, images):
        return None
    return np.unpackbits(np.frombuffer(path.read_bytes(), dtype=np.uint8))[:images].astype(bool)


def trouble(path: Path, images: int) -> str:
    """What is wrong with a file of bits; empty where nothing is, or it is absent."""
    try:
        size = os.stat(path).st_size
    except FileNotFoundError:
        return ""
    whole = size == -(-images // 8)
    return "" if whole else f"{path} holds {8 * size:,} bits for {images:,} images: it was cut off and is left out"


def stack(rows: Sequence[Right | None]) -> Right | None:
    """Runs of one arm as (runs, images); None where any run has none."""
    found = [row for row in rows if row is not None]
    return np.stack(found) if found and len(found) == len(rows) else None
