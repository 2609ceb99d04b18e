"""Where training steps spend their time, by layer kind: tables of profile_step.py for the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measure import Comparison

PROFILES = {
    "resnet11_1x8d": (),
    "resnext11_4x3d": (),
    "resnext50_32x4d": ("--batch", "32"),
}
"""Designs, on Fashion-MNIST's images, one thread, fp32; with further options."""
_tables: list[str] = []


def compare(quick: bool) -> list[Comparison]:
    """Nothing is compared: see `remarks`."""
    names = list(PROFILES)[:1] if quick else list(PROFILES)
    _tables[:] = [_profile(name, ("--batch", "16") if quick else PROFILES[name]) for name in names]
    return []


def remarks(comparisons: list[Comparison]) -> list[str]:
    """A table a design."""
    return [
        "Training steps by layer kind, each layer timed alone, forward and backward, beside a large matrix product"
        " and a large copy (`python tests/benchmarks/profile_step.py DESIGN`; what it means: docs/speed.md).",
        *_tables,
    ]


def _profile(name: str, options: tuple[str, ...]) -> str:
    script = str(Path(__file__).with_name("profile_step.py"))
    done = subprocess.run([sys.executable, script, name, *options], check=True, stdout=subprocess.PIPE, text=True)
    machine, rates, table = done.stdout.strip().split("\n", 2)
    return f"{machine}; {rates}:\n\n{table}"
