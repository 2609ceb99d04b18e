"""How a run is trained, as far as that does not change its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """What a launch decides about a run, and its id does not digest."""

    gpus: int | None = None
    threads: int = 1
    checkpoint_minutes: float = 10
    data_dir: Path | None = None
    attempt: int = 1
    """How many workers have had the run, this one included; `attempts/` tells of each."""
    micro_batch: int | None = None
    """Images that pass through the network at a time; None: as many as fit."""
    kernels: str = "native"
    """`measured`: each grouped convolution in the way that is fastest here (`kernels.py`); native: as it is written."""
    hang_minutes: float = 30
    """So long nothing of the run may move before its process is ended; 0: for ever."""
    graph: bool = True
    """Whether a step may be replayed as a CUDA graph."""
    fastest: bool = False
    """Whether cuDNN may take kernels that give other bits each time."""
