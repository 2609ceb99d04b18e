"""This machine: Python, torch, GPUs, CPU, and the sweep's data."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ablation.dataset import Dataset
from ablation.doctor.finding import Finding, Findings
from ablation.errors import UserError
from ablation.site import Site
from ablation.sweep import Sweep

QUERY_SECONDS = 20.0
OLDEST = {"torch": (2, 10), "torchvision": (0, 25), "submitit": (1, 5)}
"""What the toolkit needs; earlier loaders of weights can be made to run code."""


def check_machine(
    sweep: Sweep | None, site: Site, data_dir: Path | None, *, needs_gpu: bool, group: str = "this machine"
) -> list[Finding]:
    """What runs need of the machine that this process is on; `needs_gpu`: no GPU is a problem, not a note."""
    found = Findings(group)
    found.ok("python", f"{platform.python_version()} ({sys.executable})")
    missing = [name for name, oldest in OLDEST.items() if not _package(found, name, oldest)]
    if "torch" in missing:
        return found.all
    _gpus(found, sweep, needs_gpu)
    _cpu(found, sweep)
    if "torchvision" not in missing:
        for dataset in _datasets(sweep):
            _data(found, dataset, data_dir or _root(found, site, dataset))
    return found.all


def _package(found: Findings, name: str, oldest: tuple[int, int]) -> bool:
    try:
        own = version(name)
    except PackageNotFoundError:
        found.problem(name, "not installed", "Install the toolkit with its dependencies: pip install -e .")
        return False
    numbers = tuple(int(part) for part in own.split(".")[:2] if part.isdigit())
    if numbers < oldest:
        wanted = ".".join(map(str, oldest))
        found.problem(name, f"{own} is older than {wanted}", f'pip install "{name}>={wanted}"')
    else:
        found.ok(name, own)
    return True


def _gpus(found: Findings, sweep: Sweep | None, needs_gpu: bool) -> None:
    """The GPUs that the driver has, against those that torch sees."""
    import torch

    driver, listed = _nvidia_smi()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    build = f"torch built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch built without CUDA"
    asked = (sweep.resources.gpus or 0) if sweep else 0
    if seen >= max(1, asked):
        names = ", ".join(f"{index}: {torch.cuda.get_device_name(index)}" for index in range(seen))
        found.ok("GPUs", f"{names} (driver {driver or 'unknown'}, {build})")
    elif listed and not seen:
        hint = str(said[0].message).splitlines()[0] if said else build
        remedy = "Install a torch whose CUDA this driver runs (pytorch.org), or a newer driver."
        found.problem("GPUs", f"driver {driver} has {listed}, torch sees none: {hint}", remedy)
    elif seen or needs_gpu:
        remedy = "Ask for fewer: --set resources.gpus=..., or another partition in the site file."
        found.problem("GPUs", f"the sweep asks for {asked}, torch sees {seen} ({build})", remedy)
    elif asked:
        remedy = "Usual on a login node; `doctor --on slurm` looks at a compute node."
        found.note("GPUs", f"none here, and the sweep asks for {asked} ({build})", remedy)
    else:
        found.note("GPUs", f"none here: runs train on the CPU ({build})")


def _nvidia_smi() -> tuple[str | None, int]:
    """The driver's version and how many GPUs it lists."""
    if not shutil.which("nvidia-smi"):
        return None, 0
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None, 0
    lines = answer.stdout.split()
    return (lines[0] if lines else None), len(lines)


def _cpu(found: Findings, sweep: Sweep | None) -> None:
    """Cores, and whether bf16 is worth using on them."""
    from ablation.execution import SLOW, bf16_factor, device_name

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = sweep.resources.threads if sweep else 1
    says = f"{device_name('cpu')}, {cores} core{'s' * (cores != 1)}"
    if threads > cores:
        found.problem("CPU", f"{says}; a run is to use {threads} threads", "Set resources.threads to fewer.")
    else:
        found.ok("CPU", says)
    factor = bf16_factor()
    wanted = sweep is not None and sweep.precision == "bf16" and sweep.resources.gpus == 0
    says = f"takes {factor:.2f} times as long as fp32 in a convolution on this CPU"
    if factor < SLOW:
        found.ok("bf16", says)
    elif wanted:
        found.problem("bf16", f"{says}, and the sweep asks for it", "--set precision=fp32 makes other, faster runs.")
    else:
        found.note("bf16", says, "Choose precision: fp32 for runs on it.")


def _datasets(sweep: Sweep | None) -> list[tuple[Dataset, tuple[str, ...]]]:
    """Each data set of a sweep once, with the augmentations asked of it."""
    panels = sweep.panels if sweep else ()
    return list(dict.fromkeys((panel.dataset, panel.recipe.augment) for panel in panels))


def _root(found: Findings, site: Site, dataset: tuple[Dataset, tuple[str, ...]]) -> Path | None:
    try:
        return site.data_root(dataset[0].name)
    except UserError as error:
        found.mistake(f"data {dataset[0].name}", error)
        return None


def _data(found: Findings, asked: tuple[Dataset, tuple[str, ...]], root: Path | None) -> None:
    """Whether a data set is there and can be read."""
    dataset, _ = asked
    check = f"data {dataset.name}"
    try:
        if dataset.facts.folder:
            from ablation.image_folder import glance

            found.ok(check, glance(dataset, root))
            return
        from ablation.sources import read_small

        train, test, source = read_small(dataset.name, root)
    except UserError as error:
        found.mistake(check, error)
        return
    says = f"{len(train.labels):,} + {len(test.labels):,} images from {source}"
    if "download" in source:
        remedy = "Compute nodes may have no network: name a folder that all nodes see with data: in the site file."
        found.note(check, says, remedy)
    else:
        found.ok(check, says)
