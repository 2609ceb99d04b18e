"""Which test images the final networks got right: the bits beside each result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablation.run import RunPaths, bits_name

Right = NDArray[np.bool_]


class BitFiles(Mapping[str, Path]):
    """Where the bits of runs should be, by run id; paths are made as they are asked for."""

    def __init__(self, folder: Path, evaluations: dict[str, str]) -> None:
        self.folder, self.evaluations = folder, evaluations

    def __getitem__(self, run: str) -> Path:
        return RunPaths(self.folder.parent, self.folder.name, run).bits(self.evaluations[run])

    def __iter__(self) -> Iterator[str]:
        return iter(self.evaluations)

    def __len__(self) -> int:
        return len(self.evaluations)

    def cut_off(self, images: dict[str, int]) -> list[str]:
        """The runs whose file is there and has another length than for so many images."""
        return [run for run, count in images.items() if self._size(run) not in (None, -(-count // 8))]

    def _size(self, run: str) -> int | None:
        try:
            return os.stat(f"{self.folder}/{run}/{bits_name(self.evaluations[run])}").st_size  # a Path takes longer
        except FileNotFoundError:
            return None


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
