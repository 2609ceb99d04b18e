"""A real Slurm cluster on this machine: two nodes of four CPUs, with two GPUs each that are none (/dev/null)."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SIZES = {"SL_NODES": "2", "SL_CPUS": "4", "SL_MEM": "4000", "SL_GPUS": "2"}


def sh(*command: object, seconds: float = 300, **environment: str) -> str:
    """Standard output of a command that must succeed, without our caller's own Slurm variables."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
    done = subprocess.run(
        [str(part) for part in command], env=clean | environment, capture_output=True, text=True, timeout=seconds
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@pytest.fixture(scope="session")
def slurm(unavailable) -> Iterator[Path]:
    """The cluster's slurm.conf, with $SLURM_CONF set to it; all gone at the end."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        unavailable("Slurm needs root on Debian or Ubuntu")
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a short path: munge's socket lies in it
    try:
        try:
            sh(HERE / "install.sh")
            sh(HERE / "up.sh", folder, **SIZES)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            unavailable(f"Slurm did not come up: {error}")
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
                patch.delenv(name)
            patch.setenv("SLURM_CONF", str(folder / "etc" / "slurm.conf"))
            yield folder / "etc" / "slurm.conf"
    finally:
        if (folder / "etc" / "slurm.conf").exists():
            sh(HERE / "down.sh", folder, "--purge")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mend(slurm) -> Callable[[], object]:
    """Start again whatever of the cluster is not running."""
    return lambda: sh(HERE / "up.sh", slurm.parent.parent, **SIZES)
