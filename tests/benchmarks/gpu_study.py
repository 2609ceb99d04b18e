"""Command: the study of sweeps/fashion_mnist_gpu.yaml on one GPU, within minutes; its run folders in one archive.

It stops in time with what it has; given its archive, it goes on. Nothing needs a network, a Slurm cluster or pandas.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import wheels

ROOT = Path(__file__).parents[2]
SWEEP = ROOT / "sweeps" / "fashion_mnist_gpu.yaml"
PACKING = 45
"""Seconds before the limit at which training is told to save: it then packs."""


def main() -> int:
    """Unpack, train until all is done or time is up, pack; the exit code is that of `ablation.launch`."""
    options = parse()
    environment = wheels.environment(options.wheels)
    runs = options.out / "runs"
    archive = options.out / "fashion_mnist_gpu_runs.tar.gz"
    if options.resume:
        unpack(options.resume, runs)
    code = launch(options, runs, environment)
    pack(runs, archive, weights=options.weights)
    finished = len(list(runs.glob("*/*/result.json")))
    print(f"{finished} runs finished in all; run folders: {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    return code


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python tests/benchmarks/gpu_study.py --seeds 0 1 2 3 4 --out study"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="seeds to run now (0 to 9)")
    parser.add_argument("--out", type=Path, required=True, help="a folder for run folders and their archive")
    parser.add_argument("--resume", type=Path, help="the archive of an earlier call, to go on from")
    parser.add_argument("--limit", type=float, default=530, help="seconds in all")
    parser.add_argument("--data", type=Path, help="where Fashion-MNIST lies; else as for a launch")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels for what is not installed here")
    parser.add_argument("--weights", action="store_true", help="pack the final weights of finished runs, too")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as `ablation.launch --set`")
    return parser.parse_args()


def launch(options: argparse.Namespace, runs: Path, environment: dict[str, str]) -> int:
    """`ablation.launch` on this machine; told to save and leave where the limit comes near."""
    mps = ["--set", "resources.mps=true"] if shutil.which("nvidia-cuda-mps-control") else []
    command = [sys.executable, "-m", "ablation.launch", str(SWEEP), "--on", "here", "--runs", str(runs), *mps]
    command += [part for change in options.set for part in ("--set", change)]
    command += [part for seed in options.seeds for part in ("--only", str(seed))]
    command += ["--data-dir", str(options.data.absolute())] if options.data else []
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment)
    try:
        return process.wait(max(1.0, options.limit - PACKING))
    except subprocess.TimeoutExpired:
        print("the limit comes near: the runs under way save and stop", flush=True)
        process.send_signal(signal.SIGTERM)
        return process.wait()


def pack(runs: Path, archive: Path, *, weights: bool) -> None:
    """All run folders, with the checkpoints of those that are not done, as one file; whole or not at all."""
    spare = archive.with_suffix(".part")
    with tarfile.open(spare, "w:gz", compresslevel=1) as tar:
        tar.add(runs, "runs", filter=lambda item: item if weights or not item.name.endswith("/weights.pt") else None)
    spare.rename(archive)


def unpack(archive: Path, runs: Path) -> None:
    """The run folders of an earlier call, where they are to go on."""
    if runs.exists():
        raise SystemExit(f"error: {runs} is there already\n  Give --out another folder, or leave out --resume.")
    runs.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        tar.extractall(runs.parent, filter="data")


if __name__ == "__main__":
    sys.exit(main())
