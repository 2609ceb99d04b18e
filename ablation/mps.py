"""NVIDIA's MPS: kernels of several processes on one GPU at once, instead of turn by turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ablation.errors import UserError

DAEMON = "nvidia-cuda-mps-control"
VARIABLES = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
SECONDS = 30.0
"""To start or to stop."""


@contextmanager
def shared_gpu() -> Iterator[Path]:
    """A private MPS for the processes that are started meanwhile; the folder of its pipes and logs, gone afterwards.

    One that is there already (`$CUDA_MPS_PIPE_DIRECTORY`) is used, and left. Raises UserError where none can be
    started.
    """
    if there := os.environ.get(VARIABLES[0]):
        yield Path(there)
        return
    check()
    folder = Path(tempfile.mkdtemp(prefix="mps-"))  # a socket's path may have 107 characters: not in the run's folder
    try:
        os.environ |= dict.fromkeys(VARIABLES, str(folder))
        _start(folder)
        yield folder
    finally:
        _stop()
        for name in VARIABLES:
            os.environ.pop(name, None)
        shutil.rmtree(folder, ignore_errors=True)


def check() -> None:
    """Raises UserError where MPS can't be had."""
    if not os.environ.get(VARIABLES[0]) and not shutil.which(DAEMON):
        raise UserError(f"resources.mps: there is no {DAEMON} here", remedy="Set resources.mps=false.")


def _start(folder: Path) -> None:
    try:
        subprocess.run([DAEMON, "-d"], capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        what = f"resources.mps: {DAEMON} does not start: {said}"
        raise UserError(what, where=str(folder), remedy="Set resources.mps=false.") from None


def _stop() -> None:
    """It may never have been there, or hang with its GPU: nothing more can be done."""
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run([DAEMON], input="quit\n", capture_output=True, text=True, timeout=SECONDS)
