"""Commands as whole processes, beside a Python process that does nothing."""

from __future__ import annotations

import subprocess
import sys

from measure import Comparison, alternate, seconds

PLAN = ("-m", "ablation.plan", "--budget", "resnet50", "--tight", "0.5%")
SPACE = ("-m", "ablation.plan", "--space", "--widths", "1-42")
"""1,016,064 designs: counted, their front found and printed."""
MODULES = ("ablation.plan", "ablation.launch", "ablation.status", "analysis.report")
NOTHING = ("-c", "pass")


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    repeats = 1 if quick else 7
    return [_command(command, repeats) for command in (PLAN, SPACE, *(("-m", module, "--help") for module in MODULES))]


def _command(arguments: tuple[str, ...], repeats: int) -> Comparison:
    wall_time(arguments)  # files in the page cache, bytecode written
    pairs = alternate(lambda: wall_time(arguments), lambda: wall_time(NOTHING), repeats)
    name = f"`python {' '.join(arguments)}`"
    return Comparison(name, "the command", "`python -c pass`", "s", pairs, floor=True)


def wall_time(arguments: tuple[str, ...]) -> float:
    """Seconds from start to exit. Raises CalledProcessError where it fails."""
    return seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True))
