"""Where small data sets come from, in order: the data directory, the system's packages, torchvision's download."""

from __future__ import annotations

import gzip
import math
import os
import socket
import zlib
from pathlib import Path

import numpy as np
import torch

from ablation.data import Pixels
from ablation.dataset import DEBIAN, KNOWN
from ablation.errors import UserError, first_line

IDX = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
TORCHVISION = {"fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
LARGEST = 256 << 20
"""Bytes; an IDX file that holds more, or unpacks to more, is none of these."""
AGAIN = "Install the data set again."
DOWNLOAD_SECONDS = 60.0
"""A server that says nothing for so long is given up."""


def data_root(data_dir: Path | None) -> Path | None:
    """`--data-dir`, else $ABLATION_DATA, else None. Raises UserError where it is named and is not a folder."""
    named = data_dir or (Path(os.environ["ABLATION_DATA"]) if os.environ.get("ABLATION_DATA") else None)
    if named and not named.is_dir():
        raise UserError(f"no data directory {named}", remedy="Mend --data-dir or $ABLATION_DATA.")
    return named


def read_small(name: str, data_dir: Path | None) -> tuple[Pixels, Pixels, str]:
    """Train set, test set and where they came from.

    Raises UserError that names the three ways where all of them fail.
    """
    root, tried = data_root(data_dir), []
    if root:
        if name == "fashion_mnist" and (folder := _idx_folder(root)):
            return _read_idx(folder, "train"), _read_idx(folder, "test"), str(folder)
        try:
            return *_torchvision(name, root, download=False), str(root)
        except (RuntimeError, OSError) as error:
            tried.append(f"{root}: {first_line(error)}")
    else:
        tried.append("no --data-dir and no $ABLATION_DATA")
    if name == "fashion_mnist" and (folder := _idx_folder(DEBIAN)):
        return _read_idx(folder, "train"), _read_idx(folder, "test"), f"Debian's dataset-fashion-mnist ({folder})"
    tried.append("no system package" if name != "fashion_mnist" else "Debian's dataset-fashion-mnist is not installed")
    in_job = "SLURM_JOB_ID" in os.environ  # many at once, often without a network: launch has downloaded for them
    try:
        return *_cached(name, download=not in_job), "torchvision's download"
    except (RuntimeError, OSError) as error:
        tried.append("a job does not download" if in_job else f"download: {first_line(error)}")
    raise _not_found(name, tried)


def _not_found(name: str, tried: list[str]) -> UserError:
    package = "`apt-get install dataset-fashion-mnist`, or " if name == "fashion_mnist" else ""
    return UserError(
        f"data set {name} not found ({'; '.join(tried)})",
        remedy=f"Give --data-dir (or $ABLATION_DATA) a folder with torchvision's {TORCHVISION[name]} files, or "
        f"{package}let torchvision download it where there is a network.",
    )


def _idx_folder(root: Path) -> Path | None:
    """The folder below `root` that holds all four IDX files, gzipped or not."""
    for folder in (root, root / "FashionMNIST" / "raw", root / "fashion-mnist"):
        names = [name for pair in IDX.values() for name in pair]
        if all((folder / name).exists() or (folder / f"{name}.gz").exists() for name in names):
            return folder
    return None


def _read_idx(folder: Path, part: str) -> Pixels:
    images, labels = (_idx(folder, name) for name in IDX[part])
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        what = f"images {list(images.shape)} and labels {list(labels.shape)} do not fit each other"
        raise UserError(f"damaged data files: {what}", where=str(folder), remedy=AGAIN)
    facts = KNOWN["fashion_mnist"]
    if images.shape[1:] != (facts.resolution, facts.resolution) or labels.max() >= facts.classes:
        what = f"images of {images.shape[1]}x{images.shape[2]} pixels in {int(labels.max()) + 1} classes"
        raise UserError(f"not Fashion-MNIST: {what}", where=str(folder), remedy=AGAIN)
    return Pixels(torch.from_numpy(images)[..., None], torch.from_numpy(labels).long())


def _idx(folder: Path, name: str) -> np.ndarray:
    """An IDX file: two zero bytes, a type (8 = unsigned byte), the number of axes, their sizes, the data."""
    path = folder / name
    try:
        with path.open("rb") if path.exists() else gzip.open(folder / f"{name}.gz") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise ValueError(f"more than {LARGEST >> 20} MiB")
        if raw[:3] != b"\0\0\x08":
            raise ValueError("not an IDX file of unsigned bytes")
        shape = np.frombuffer(raw, ">u4", count=raw[3], offset=4).tolist()
        if math.prod(shape) != len(raw) - 4 - 4 * raw[3]:
            raise ValueError(f"{len(raw) - 4 - 4 * raw[3]:,} bytes where its header says {' x '.join(map(str, shape))}")
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy()
    except (ValueError, IndexError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"damaged data file: {error}", where=str(path), remedy=AGAIN) from None


def _torchvision(name: str, root: Path, *, download: bool) -> tuple[Pixels, Pixels]:
    import torchvision.datasets

    kind = getattr(torchvision.datasets, TORCHVISION[name])
    return _pixels(kind(root, train=True, download=download)), _pixels(kind(root, train=False, download=download))


def _pixels(dataset: object) -> Pixels:
    images = torch.as_tensor(dataset.data)  # type: ignore[attr-defined]
    labels = torch.as_tensor(dataset.targets)  # type: ignore[attr-defined]
    return Pixels(images if images.ndim == 4 else images[..., None], labels.long())


def _cached(name: str, *, download: bool) -> tuple[Pixels, Pixels]:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ablation"
    root.mkdir(parents=True, exist_ok=True)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        return _torchvision(name, root, download=download)
    finally:
        socket.setdefaulttimeout(before)
