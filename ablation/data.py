"""Images: where they come from, how they are split, ordered and augmented. What they are is `dataset.py`'s.

Order and augmentation are functions of (seed, epoch, step) alone: the same for every arm, on every device, and after
a resume. Small data sets live in memory (the device's, if it is a GPU) and are augmented there, a batch at a time; the
draws are made on the CPU and sent an epoch at a time. Trees of image files are decoded by worker processes, each image
from its own stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ablation.dataset import Dataset
from ablation.errors import UserError, did_you_mean
from ablation.network import stream
from ablation.recipe import Recipe

EVALUATION_BATCH = 250
Batch = tuple[Tensor, Tensor]
"""Images (n, channels, height, width), float32 and normalised; labels (n,), int64. Of mixed images (see `augment.py`)
labels are (n, classes), float32: the part of each class."""
ALL = slice(None)


class Images(Protocol):
    """What training needs of a data set."""

    train_images: int
    evaluation_images: int
    digest: str
    """Of the images and labels, so that two studies can be seen to have read the same."""
    source: str
    warnings: list[str]
    """What is to be said of them in a run's log."""
    broken: set[str]
    """Names of the training images met so far that can't be decoded, and that others stood for."""
    subsets: dict[str, Subset]
    """The classes of those further evaluations that have their own."""

    def batches(self, seed: int, epoch: int, first: int, share: slice = ALL) -> Iterator[Batch]:
        """Training batches of an epoch (from 0), from step `first` on; of each batch the images `share`."""

    def evaluation(self, share: slice = ALL, resolution: int | None = None) -> Iterator[Batch]:
        """Every evaluation image once, in the data set's order; of its batches of `EVALUATION_BATCH` those `share`.

        `resolution`: pixels a side, where not the data set's own.
        """


@dataclass(frozen=True)
class Subset:
    """Some of the classes, and how many evaluation images show them."""

    classes: tuple[int, ...]
    """Their numbers, rising."""
    images: int

    @classmethod
    def of(cls, chosen: Sequence[str], names: Sequence[str], labels: Sequence[int], where: str) -> Subset:
        """The subset by the classes' names; `labels` are the evaluation images'. Raises UserError."""
        numbers = {name: number for number, name in enumerate(names)}
        if unknown := [name for name in chosen if name not in numbers]:
            remedy = did_you_mean(unknown[0], list(names)) if len(names) < 100 else None
            raise UserError(f"class {unknown[0]!r} is not among those trained on", where=where, remedy=remedy)
        wanted = {numbers[name] for name in chosen}
        images = sum(label in wanted for label in labels)
        if not images:
            raise UserError("no image shows any of its classes", where=where)
        return cls(tuple(sorted(wanted)), images)


def steps_an_epoch(images: Images, recipe: Recipe) -> int:
    """Optimiser steps an epoch. Raises UserError where not one batch can be filled."""
    steps = images.train_images // recipe.batch
    if not steps:
        raise UserError(
            f"a batch of {recipe.batch} is more than the {images.train_images} training images",
            remedy="Lower batch (and norm_batch) in the recipe.",
        )
    return steps


def describe(images: Images, dataset: Dataset) -> dict[str, Any]:
    """What `run.json` says of the images."""
    return {
        "name": dataset.name,
        "train_images": images.train_images,
        "evaluation_images": images.evaluation_images,
        "digest": images.digest,
        "source": images.source,
        **({"subsets": {key: _short(subset) for key, subset in images.subsets.items()}} if images.subsets else {}),
    }


def _short(subset: Subset) -> str:
    """Classes and images of a subset, so that two studies can be seen to have asked the same."""
    digest = hashlib.sha256(" ".join(map(str, subset.classes)).encode()).hexdigest()[:16]
    return f"{len(subset.classes)} classes, {subset.images} images, {digest}"


def evaluation_batches(images: Images) -> int:
    """Batches in which the evaluation images come."""
    return -(-images.evaluation_images // EVALUATION_BATCH)


def order(images: int, seed: int, epoch: int) -> Tensor:
    """The order of an epoch's images: (images,), a permutation."""
    return torch.randperm(images, generator=stream(seed, "order", epoch))


def sequence(images: int, recipe: Recipe, seed: int, epoch: int) -> Tensor:
    """Which image stands at each place of an epoch: (images,), their order; or (places of its steps,) where a recipe
    repeats images: a batch then holds batch / repeats of them, all of them, then all of them again.
    """
    found = order(images, seed, epoch)
    if recipe.repeats == 1:
        return found
    steps, distinct = images // recipe.batch, recipe.batch // recipe.repeats
    return found[: steps * distinct].view(steps, distinct).repeat(1, recipe.repeats).flatten()


def split(images: int, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The fixed split of a train set: sorted indices to train on, and to validate on.

    Raises UserError where validation would take all images.
    """
    if dataset.validation >= images:
        raise UserError(
            f"{dataset.name} has {images} training images: {dataset.validation} can't be set aside",
            remedy="Lower dataset.validation.",
        )
    shuffled = torch.randperm(images, generator=stream(dataset.name, "split"))
    return shuffled[dataset.validation :].sort().values, shuffled[: dataset.validation].sort().values


@dataclass(frozen=True)
class Pixels:
    """A data set in memory: uint8 (images, height, width, channels), labels (images,)."""

    images: Tensor
    labels: Tensor

    def pick(self, indices: Tensor) -> Pixels:
        """Some of the images."""
        return Pixels(self.images[indices], self.labels[indices])


class ImagesInMemory:
    """A small data set, on the device, augmented in batches: one gather crops, flips and keeps channels last."""

    def __init__(self, train: Pixels, evaluation: Pixels, dataset: Dataset, recipe: Recipe, device: str, source: str):
        self.train_images, self.evaluation_images = len(train.labels), len(evaluation.labels)
        self.digest, self.source, self.recipe = _digest(train, evaluation), source, recipe
        self.warnings: list[str] = []
        self.broken: set[str] = set()
        names, labels = [str(label) for label in range(dataset.classes)], evaluation.labels.tolist()
        self.subsets = {
            name: Subset.of(further.classes, names, labels, f"evaluation {name}")
            for name, further in dataset.evaluations.items()
            if further.classes is not None
        }
        side, pad = dataset.resolution, recipe.padding if "crop" in recipe.augment else 0
        self._rows, self._pad, self._device = torch.arange(side, device=device), pad, device
        framed = torch.nn.functional.pad(train.images, (0, 0, pad, pad, pad, pad))
        self._train = Pixels(framed.to(device), train.labels.to(device))
        self._evaluation = Pixels(evaluation.images.to(device), evaluation.labels.to(device))
        self._mean = torch.tensor(dataset.facts.mean, device=device) * 255
        self._std = torch.tensor(dataset.facts.std, device=device) * 255

    def batches(self, seed: int, epoch: int, first: int, share: slice = ALL) -> Iterator[Batch]:
        """Training batches of an epoch (from 0), from step `first` on; of each batch the images `share`."""
        steps = range(first, self.train_images // self.recipe.batch)
        chosen, down, right, flips = send(self._draws(seed, epoch, steps, share), self._device).unbind(1)
        for step, *draws in zip(steps, chosen, down, right, flips.bool(), strict=True):
            pixels = self._change(self._crop(*draws), (seed, "trivial", epoch, step), share)
            yield self._float(pixels), self._train.labels[draws[0]]

    def _draws(self, seed: int, epoch: int, steps: range, share: slice) -> Tensor:
        """(steps, 4, images of a share), int64: which image, how far down and right it is cropped, whether it is
        flipped. On the CPU, whatever the device; every image's draw is made, whoever needs it.
        """
        size = self.recipe.batch
        indices = sequence(self.train_images, self.recipe, seed, epoch)
        found = [torch.empty(0, 4, size, dtype=torch.int64)]
        for step in steps:
            random = stream(seed, "augment", epoch, step)
            shifts = [torch.randint(2 * self._pad + 1, (size, 1), generator=random)[:, 0] for _ in range(2)]
            flips = torch.randint(2, (size, 1), generator=random)[:, 0]
            found.append(torch.stack([indices[step * size : (step + 1) * size], *shifts, flips])[None])
        return torch.cat(found)[:, :, share].contiguous()

    def _crop(self, chosen: Tensor, down: Tensor, right: Tensor, flips: Tensor) -> Tensor:
        """The chosen images, uint8, from so far down and right in their frame, and flipped."""
        rows, columns = self._rows.expand(len(chosen), -1), self._rows.expand(len(chosen), -1)
        if "flip" in self.recipe.augment:
            columns = torch.where(flips[:, None], columns.flip(1), columns)
        rows, columns = rows + down[:, None], columns + right[:, None]
        return self._train.images[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _change(self, pixels: Tensor, key: tuple[object, ...], share: slice) -> Tensor:
        if "trivial" not in self.recipe.augment:
            return pixels
        from ablation.trivial import changed  # torchvision takes its time to import

        return changed(pixels, *key, share=share, batch=self.recipe.batch)

    def evaluation(self, share: slice = ALL, resolution: int | None = None) -> Iterator[Batch]:
        """Every evaluation image once, in the data set's order; of its batches of `EVALUATION_BATCH` those `share`.

        `resolution`: the whole image is resized to that many pixels a side.
        """
        images, labels = (
            self._evaluation.images.split(EVALUATION_BATCH),
            self._evaluation.labels.split(EVALUATION_BATCH),
        )
        for pixels, truth in zip(images[share], labels[share], strict=True):
            yield _resized(self._float(pixels), resolution), truth

    def _float(self, pixels: Tensor) -> Tensor:
        """Normalised, (n, channels, height, width) with channels last in memory."""
        return ((pixels.float() - self._mean) / self._std).permute(0, 3, 1, 2)


def send(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A CPU tensor on a device, with nobody waiting: a GPU fetches it from pinned memory when its turn comes."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _resized(images: Tensor, resolution: int | None) -> Tensor:
    if resolution in (None, images.shape[-1]):
        return images
    size = (resolution, resolution)
    return torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def _digest(*parts: Pixels) -> str:
    digest = hashlib.sha256()
    for part in parts:
        for tensor in (part.images, part.labels):
            digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def open_images(dataset: Dataset, recipe: Recipe, device: str, data_dir: Path | None) -> Images:
    """The images of a data set, split as it says, for a recipe, on a device.

    Raises UserError where they can't be found or are not what the data set says.
    """
    if dataset.facts.folder:
        from ablation.image_folder import ImageFolders

        return ImageFolders(dataset, recipe, device, data_dir)
    from ablation.sources import read_small

    unfit = set(recipe.augment) - {"crop", "flip", "trivial"}
    if unfit:
        what = f"{dataset.name} can't be augmented by {', '.join(sorted(unfit))}: only crop, flip and trivial"
        raise UserError(what, remedy="Leave it out of the recipe.")
    if recipe.train_resolution not in (None, dataset.resolution):
        what = f"{dataset.name} can't be trained on at {recipe.train_resolution} pixels: its images are not resized"
        raise UserError(what, remedy="Leave train_resolution out of the recipe.")
    train, test, source = read_small(dataset.name, data_dir)
    if dataset.evaluate == "validation":
        fit, held_out = split(len(train.labels), dataset)
        train, test = train.pick(fit), train.pick(held_out)
    return ImagesInMemory(train, test, dataset, recipe, device, source)
