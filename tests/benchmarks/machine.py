"""What figures depend on besides the code: the machine, its load, the versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

IDLE = 0.5
OTHERS = 0.05
"""Cores that other processes may keep busy before the figures carry a note."""
LIBRARIES = (
    *("torch", "torchvision", "timm", "fvcore", "thop", "ptflops", "pandas", "seaborn", "numpy", "pillow", "typer"),
    "pydantic",
)


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


def others_seconds() -> float | None:
    """Core seconds since boot that are not of this process and its finished children; None where no /proc tells."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, *_ = map(int, stat.read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])
