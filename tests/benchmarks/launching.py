"""A thousand runs: dry run, status and (where this machine can bring up a Slurm cluster) submission, as processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collecting import make
from measure import Comparison, alternate
from planning import NOTHING, wall_time

SLURM = Path(__file__).parents[1] / "slurm"
SHAPE = (20, 50)
"""Arms, seeds."""
SIZES = {"SL_NODES": "2", "SL_CPUS": "4", "SL_MEM": "4000", "SL_GPUS": "0"}


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    repeats = 1 if quick else 5
    with tempfile.TemporaryDirectory(prefix="launching.") as name:
        folder = Path(name)
        sweep = make(folder, *SHAPE)
        half = sorted((folder / "runs" / sweep.name).glob("*-s[0-9]-*")) + sorted((folder / "runs").glob("*/*-s1?-*"))
        for run in half:
            shutil.rmtree(run)
        where = (str(sweep.path), "--runs", str(folder / "runs"))
        commands = [("-m", "ablation.launch", *where, "--on", "local", "--dry-run"), ("-m", "ablation.status", *where)]
        found = [_beside(command, repeats) for command in commands]
        if os.geteuid() == 0 and shutil.which("slurmctld"):
            with _cluster():
                found.append(_submission(sweep.path, folder, repeats))
    return found


def _beside(command: tuple[str, ...], repeats: int) -> Comparison:
    wall_time(command)
    pairs = alternate(lambda: wall_time(command), lambda: wall_time(NOTHING), repeats)
    words = command[1].removeprefix("ablation.") + (" --dry-run" if "--dry-run" in command else "")
    return Comparison(f"`{words}`, 1,000 runs", "the command", "`python -c pass`", "s", pairs, floor=True)


def _submission(sweep: Path, folder: Path, repeats: int) -> Comparison:
    """Each time into an empty folder; the jobs are cancelled after it."""

    def submit() -> float:
        runs = Path(tempfile.mkdtemp(prefix="runs.", dir=folder))
        taken = wall_time(("-m", "ablation.launch", str(sweep), "--runs", str(runs), "--on", "slurm"))
        subprocess.run(["scancel", "--me"], check=True)
        return taken

    pairs = alternate(submit, lambda: wall_time(NOTHING), repeats)
    return Comparison("`launch --on slurm`, 1,000 runs", "the command", "`python -c pass`", "s", pairs, floor=True)


@contextmanager
def _cluster() -> Iterator[None]:
    """The tests' Slurm cluster, for a while."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    try:
        subprocess.run([SLURM / "up.sh", folder], env=os.environ | SIZES, check=True, capture_output=True)
        os.environ["SLURM_CONF"] = str(folder / "etc" / "slurm.conf")
        yield
    finally:
        os.environ.pop("SLURM_CONF", None)
        subprocess.run([SLURM / "down.sh", folder, "--purge"], check=False, capture_output=True)


if __name__ == "__main__":
    sys.exit("run tests/benchmarks/run.py launching")
