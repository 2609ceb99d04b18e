"""What figures depend on besides the code: the machine, its load, the versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

IDLE = 0.5
LIBRARIES = ("torch", "torchvision", "fvcore", "numpy", "typer", "pydantic")


def describe() -> dict[str, str]:
    """Machine and versions, as the table and the terminal show them."""
    from ablation.execution import device_name

    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return {
        "processor": f"{device_name('cpu')}, {cores()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "versions": f"Python {platform.python_version()}, {libraries}",
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float:
    """Processes that wanted a core over the last minute, on average."""
    return os.getloadavg()[0]
