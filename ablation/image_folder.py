"""Trees of image files, `train/<class>/` and `val/<class>/`: decoded and augmented by worker processes."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision.transforms.v2.functional as T
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from ablation import trivial
from ablation.data import ALL, EVALUATION_BATCH, Batch, sequence, split
from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.network import stream
from ablation.recipe import Recipe
from ablation.sources import data_root

CROP_RATIO = 256 / 224
"""Evaluation: the shorter side becomes this times the resolution, then the centre is cropped (paper, section 4)."""
EIGENVALUES = torch.tensor([0.2175, 0.0188, 0.0045])
EIGENVECTORS = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""Principal components of ImageNet's colours, as in fb.resnet.torch."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}

Sample = tuple[Path, int]


class ImageFolders:
    """An ImageFolder tree. Every training image draws its augmentation from (seed, epoch, its place in the epoch)."""

    def __init__(self, dataset: Dataset, recipe: Recipe, device: str, data_dir: Path | None) -> None:
        if "crop" in recipe.augment:
            raise UserError(f"{dataset.name} can't be augmented by crop", remedy="Use resized-crop.")
        root = _tree(dataset, data_root(data_dir))
        self.dataset, self.recipe, self.device, self.source = dataset, recipe, device, str(root)
        classes = _classes(root / "train", dataset)
        train = _samples(root / "train", classes)
        if dataset.evaluate == "validation":
            fit, held_out = split(len(train), dataset)
            self.train = [train[index] for index in fit.tolist()]
            self.held_out = [train[index] for index in held_out.tolist()]
        else:
            self.train, self.held_out = train, _samples(root / "val", classes)
        self.train_images, self.evaluation_images = len(self.train), len(self.held_out)
        self.digest = _digest(root, self.train + self.held_out)

    def batches(self, seed: int, epoch: int, first: int, share: slice = ALL) -> Iterator[Batch]:
        """Training batches of an epoch (from 0), from step `first` on; of each batch the images `share`, no others
        being decoded."""
        size = self.recipe.batch
        indices = sequence(self.train_images, self.recipe, seed, epoch).tolist()
        steps = [
            [(self.train[indices[at]], at) for at in range(step * size, (step + 1) * size)[share]]
            for step in range(first, self.train_images // size)
        ]
        return self._load(steps, _Train(self.dataset, self.recipe, seed, epoch))

    def evaluation(self, share: slice = ALL) -> Iterator[Batch]:
        """Every evaluation image once, in the data set's order; of its batches of `EVALUATION_BATCH` those `share`."""
        numbered = [(sample, at) for at, sample in enumerate(self.held_out)]
        size = EVALUATION_BATCH
        steps = [numbered[at : at + size] for at in range(0, len(numbered), size)][share]
        return self._load(steps, _Evaluate(self.dataset))

    def _load(self, steps: list[list[tuple[Sample, int]]], decode: _Train | _Evaluate) -> Iterator[Batch]:
        workers = max(1, len(os.sched_getaffinity(0)) - 1) if hasattr(os, "sched_getaffinity") else 2
        loader: DataLoader[Batch] = DataLoader(
            _Steps(steps, decode),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=min(workers, len(steps)),
            pin_memory=self.device != "cpu",
        )
        mean = torch.tensor(self.dataset.facts.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.dataset.facts.std, device=self.device).view(3, 1, 1)
        for images, labels in loader:
            images = images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
            yield (images - mean) / std, labels.to(self.device, non_blocking=True)


class _Steps:
    """A step's images, decoded together: what one worker does at a time."""

    def __init__(self, steps: list[list[tuple[Sample, int]]], decode: _Train | _Evaluate) -> None:
        self.steps, self.decode = steps, decode

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        images = [self.decode(_open(sample[0]), at) for sample, at in self.steps[index]]
        return torch.stack(images), torch.tensor([sample[1] for sample, _ in self.steps[index]])


class _Evaluate:
    """Shorter side to 256/224 of the resolution, centre crop."""

    def __init__(self, dataset: Dataset) -> None:
        self.side = dataset.resolution

    def __call__(self, image: Image.Image, at: int) -> Tensor:
        resized = T.resize(image, [round(self.side * CROP_RATIO)], antialias=True)
        return T.to_dtype(T.pil_to_tensor(T.center_crop(resized, [self.side])), torch.float32, scale=True)


class _Train:
    """The recipe's augmentation of one image, from a stream of its own; every draw is made, used or not."""

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, epoch: int) -> None:
        self.side = recipe.train_resolution or dataset.resolution
        self.augment, self.key, self.trivial = recipe.augment, (seed, "augment", epoch), (seed, "trivial", epoch)

    def __call__(self, image: Image.Image, at: int) -> Tensor:
        random = stream(*self.key, at)
        image = self._frame(image, random)
        flip = torch.rand((), generator=random) < 0.5
        if "flip" in self.augment and flip:
            image = T.horizontal_flip(image)
        if "trivial" in self.augment:
            image = trivial.change(image, *self.trivial, at)
        pixels = T.to_dtype(T.pil_to_tensor(image), torch.float32, scale=True)
        factors, turn = 1 + 0.4 * (2 * torch.rand(3, generator=random) - 1), torch.randperm(3, generator=random)
        if "jitter" in self.augment:
            pixels = _jitter(pixels, factors.tolist(), turn.tolist())
        noise = 0.1 * torch.randn(3, generator=random)
        if "lighting" in self.augment:
            pixels = pixels + (EIGENVECTORS @ (noise * EIGENVALUES)).view(3, 1, 1)
        return pixels

    def _frame(self, image: Image.Image, random: torch.Generator) -> Image.Image:
        box = _random_box(image.height, image.width, random)
        if "resized-crop" in self.augment:
            return T.resized_crop(image, *box, [self.side, self.side], antialias=True)
        resized = T.resize(image, [round(self.side * CROP_RATIO)], antialias=True)
        return T.center_crop(resized, [self.side])


def _random_box(height: int, width: int, random: torch.Generator) -> tuple[int, int, int, int]:
    """Top, left, height, width: area 0.08 to 1 of the image, aspect 3/4 to 4/3; the whole where ten tries miss."""
    draws = torch.rand(10, 4, generator=random).tolist()
    for area, aspect, down, right in draws:
        ratio = math.exp(math.log(3 / 4) + aspect * (math.log(4 / 3) - math.log(3 / 4)))
        target = height * width * (0.08 + area * 0.92)
        w, h = round((target * ratio) ** 0.5), round((target / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            return int(down * (height - h + 1)), int(right * (width - w + 1)), h, w
    return 0, 0, height, width


def _jitter(pixels: Tensor, factors: list[float], turn: list[int]) -> Tensor:
    changes = (T.adjust_brightness, T.adjust_contrast, T.adjust_saturation)
    for kind in turn:
        pixels = changes[kind](pixels, factors[kind])
    return pixels


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"can't decode this image: {error}", where=str(path), remedy="Replace or remove it.") from None


def _tree(dataset: Dataset, root: Path | None) -> Path:
    if root is None:
        raise UserError(
            f"data set {dataset.name} not found: no --data-dir and no $ABLATION_DATA",
            remedy=f"Name the folder that holds {dataset.path}/train/<class>/ and {dataset.path}/val/<class>/.",
        )
    tree = root / dataset.path
    parts = ["train"] + (["val"] if dataset.evaluate == "test" else [])
    for part in parts:
        if not (tree / part).is_dir():
            raise UserError(f"data set {dataset.name} not found: no folder {tree / part}", remedy="Mend the data root.")
    return tree


def _classes(folder: Path, dataset: Dataset) -> dict[str, int]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if len(names) != dataset.classes:
        raise UserError(
            f"{len(names)} classes, not {dataset.classes}",
            where=str(folder),
            remedy="Mend the folder or dataset.classes.",
        )
    return {name: label for label, name in enumerate(names)}


def _samples(folder: Path, classes: dict[str, int]) -> list[Sample]:
    strays = {entry.name for entry in folder.iterdir() if entry.is_dir()} - classes.keys()
    if strays:
        raise UserError(f"class {sorted(strays)[0]!r} is not among the training classes", where=str(folder))
    samples: list[Sample] = []
    for name, label in classes.items():
        found = sorted(path for path in (folder / name).glob("**/*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise UserError("a class without images", where=str(folder / name))
        samples += [(path, label) for path in found]
    return samples


def _digest(root: Path, samples: list[Sample]) -> str:
    """Of names, sizes and labels: reading every pixel of ImageNet at each start would cost an hour."""
    digest = hashlib.sha256()
    for path, label in samples:
        digest.update(f"{path.relative_to(root)} {path.stat().st_size} {label}\n".encode())
    return digest.hexdigest()[:16]


def glance(dataset: Dataset, data_dir: Path | None) -> str:
    """Where a tree lies and what is in it, from its folders and a few images: reading all would take minutes.

    Raises UserError where it is not what the data set says.
    """
    root = _tree(dataset, data_root(data_dir))
    names = sorted(_classes(root / "train", dataset))
    for name in {names[0], names[len(names) // 2], names[-1]}:
        found = next((path for path in (root / "train" / name).rglob("*") if path.suffix.lower() in SUFFIXES), None)
        if found is None:
            raise UserError("a class without images", where=str(root / "train" / name))
        _open(found)
    return f"{len(names)} classes in {root}; the images looked at can be decoded"
