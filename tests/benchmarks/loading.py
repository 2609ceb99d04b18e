"""Image files decoded and augmented: our folders and tars against torchvision's ImageFolder in a DataLoader."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch
from measure import Comparison, alternate, figure
from pictures import CLASSES, HEIGHT, QUALITY, WIDTH, write_pictures
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ablation.data import open_images
from ablation.dataset import Dataset
from ablation.recipe import Recipe, recipe_fields

sys.path.append(str(Path(__file__).parents[1]))
from jpegs import pack_train, pack_val

BATCH, SIDE = 32, 224
PLAIN = ("resized-crop", "flip")
PAPER = (*PLAIN, "jitter", "lighting")
SPEEDS = (1_700, 3_400, 8 * 1_700)
"""Images a second that a node's GPUs train on."""
WAITING = 0.02
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Rate = Callable[[], float]
"""Images a second."""


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    images, repeats = (96, 1) if quick else (480, 3)
    with tempfile.TemporaryDirectory(prefix="loading.") as name, two_cores():
        tree = write_pictures(Path(name) / "tree", images, len(CLASSES))
        tars = pack_val(tree, pack_train(tree, Path(name) / "tars"))
        return [
            _row("trees, pil", ours(tree, "pil", PLAIN), "v1", repeats, tree, PLAIN),
            _row("trees, pil", ours(tree, "pil", PLAIN), "v2", repeats, tree, PLAIN),
            _row("tars, pil", ours(tars, "pil", PLAIN), "v1", repeats, tree, PLAIN),
            _row("trees, decoder: torchvision", ours(tree, "torchvision", PLAIN), "v1", repeats, tree, PLAIN),
            _row("trees, pil", ours(tree, "pil", PAPER), "v1", repeats, tree, PAPER),
            _row("trees, decoder: torchvision", ours(tree, "torchvision", PAPER), "v1", repeats, tree, PAPER),
        ]


def _row(what: str, rate: Rate, kind: str, repeats: int, tree: Path, augment: tuple[str, ...]) -> Comparison:
    rival = torchvisions(tree, kind, augment)
    rate(), rival()  # files in the page cache
    other = f"torchvision's ImageFolder, {kind} transforms, DataLoader"
    if augment == PAPER:
        other += " (jitter of PIL images, no lighting)"
    name = f"one worker decodes {WIDTH}x{HEIGHT} JPEGs for {SIDE} px, {', '.join(augment)}"
    return Comparison(name, what, other, "img/s", alternate(rate, rival, repeats), more_is_better=True)


def ours(root: Path, decoder: str, augment: tuple[str, ...]) -> Rate:
    """Of an epoch as a run on the CPU reads it, normalised batches included."""
    fields = {"name": "folder", "path": root.name, "classes": len(CLASSES), "resolution": SIDE, "validation": 4}
    recipe = recipe_fields({"base": "imagenet-paper", "batch": BATCH, "norm_batch": BATCH, "augment": augment})
    images = open_images(
        Dataset.model_validate({**fields, "decoder": decoder}), Recipe.model_validate(recipe), "cpu", root.parent
    )
    return lambda: _rate(images.batches(0, 0, 0))


def torchvisions(tree: Path, kind: str, augment: tuple[str, ...]) -> Rate:
    """Of an epoch of the reference script's loader, with one worker."""
    images = ImageFolder(str(tree / "train"), transform=_transform(kind, augment))
    loader = DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=1, drop_last=True)
    return lambda: _rate(loader)


def _transform(kind: str, augment: tuple[str, ...]) -> Callable:
    """The presets of torchvision's reference script for classification, PIL backend, written anew."""
    jitter = {"jitter": (0.4, 0.4, 0.4)} if "jitter" in augment else {}
    if kind == "v1":
        steps = [v1.RandomResizedCrop(SIDE, antialias=True), v1.RandomHorizontalFlip()]
        steps += [v1.ColorJitter(*value) for value in jitter.values()]
        last = [v1.PILToTensor(), v1.ConvertImageDtype(torch.float), v1.Normalize(MEAN, STD)]
        return v1.Compose([*steps, *last])
    steps = [v2.RandomResizedCrop(SIDE, antialias=True), v2.RandomHorizontalFlip()]
    steps += [v2.ColorJitter(*value) for value in jitter.values()]
    last = [v2.PILToTensor(), v2.ToDtype(torch.float, scale=True), v2.Normalize(MEAN, STD), v2.ToPureTensor()]
    return v2.Compose([*steps, *last])


def _rate(batches: Iterable) -> float:
    """Images a second, from the first batch's arrival on."""
    arrived = _arrivals(batches)
    return BATCH * (len(arrived) - 1) / (arrived[-1] - arrived[0])


def _arrivals(batches: Iterable) -> list[float]:
    return [time.perf_counter() for _ in batches]


@contextmanager
def two_cores() -> Iterator[None]:
    """One core for the worker, which is what our loader then takes, and one for whoever asks."""
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, sorted(before)[:2])
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def remarks(comparisons: list[Comparison]) -> list[str]:
    """Cores that keep a GPU waiting for less than 2% of its step, computed from the measured rates."""
    rates = {
        "our tars or folders, `pil`": _median(comparisons[0], 0),
        "our folders, `decoder: torchvision`": _median(comparisons[3], 0),
        "torchvision's loader, v1": median(comparisons[0].side(1) + comparisons[3].side(1)),
        "ours with the paper's jitter and lighting, `pil`": _median(comparisons[4], 0),
        "ours with the paper's jitter and lighting, `decoder: torchvision`": _median(comparisons[5], 0),
    }
    lines = [f"| worker | img/s of one | {' | '.join(f'{speed:,} img/s' for speed in SPEEDS)} |"]
    lines.append("|---|---|" + "---|" * len(SPEEDS))
    for name, rate in rates.items():
        needed = (str(math.ceil(speed * (1 - WAITING) / rate)) for speed in SPEEDS)
        lines.append(f"| {name} | {figure(rate)} | {' | '.join(needed)} |")
    return [
        f"Workers, a core each, that keep GPUs of so many images a second waiting for less than {WAITING:.0%} of a "
        f"step ({SPEEDS[0]:,} img/s: the goal for one H100; the last column a node of eight). Computed: speed times "
        f"{1 - WAITING:.2f} over the measured rate of one worker; not measured with so many, which share memory and "
        f"disk. JPEGs: {WIDTH}x{HEIGHT}, quality {QUALITY}, 4:2:0, made by `tests/benchmarks/pictures.py`.\n\n"
        + "\n".join(lines)
    ]


def _median(comparison: Comparison, side: int) -> float:
    return median(comparison.side(side))
