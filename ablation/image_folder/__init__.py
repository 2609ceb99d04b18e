"""Data sets of image files, in folders or in tars: decoded and augmented by worker processes (docs/images.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ablation.data import ALL, EVALUATION_BATCH, Batch, Subset, sequence, split
from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.image_folder.augment import Augment, Centre, to_float
from ablation.image_folder.decode import Picture, open_picture
from ablation.image_folder.files import File
from ablation.image_folder.listing import class_names, train_files, train_listing, val_files
from ablation.image_folder.lists import read_classes
from ablation.image_folder.loader import Loader, Places
from ablation.image_folder.stage import staged
from ablation.recipe import Recipe
from ablation.sources import data_root

IN_TRAIN = "Replace it; `corrupt: skip` in the dataset trains on another image of its class instead."
IN_TEST = "Replace it: errors count every evaluation image, so that none of these is skipped."


class ImageFolders:
    """Image files. Every training image draws its augmentation from (seed, epoch, its place in the epoch)."""

    def __init__(self, dataset: Dataset, recipe: Recipe, device: str, data_dir: Path | None) -> None:
        if "crop" in recipe.augment:
            raise UserError(f"{dataset.name} can't be augmented by crop", remedy="Use resized-crop.")
        root = _root(dataset, data_root(data_dir))
        self.dataset, self.recipe, self.device, self.source = dataset, recipe, device, str(root)
        names, train = train_files(root, dataset)
        held_out = train
        if dataset.evaluate == "validation":
            fit, chosen = (indices.tolist() for indices in split(len(train), dataset))
            train, held_out = [train[index] for index in fit], [train[index] for index in chosen]
        else:
            held_out = val_files(root, dataset, names)
        self.digest = _digest(train + held_out)
        self.subsets = _subsets(root, dataset, names, [file.label for file in held_out])
        self.train, self.held_out, self.warnings = staged(train, held_out)
        self.train_images, self.evaluation_images = len(self.train), len(self.held_out)
        self._fit = Loader(self.train, dataset.decoder, skip=dataset.corrupt == "skip", remedy=IN_TRAIN)
        self.broken = self._fit.broken
        self._test = Loader(self.held_out, dataset.decoder, skip=False, remedy=IN_TEST)

    def batches(self, seed: int, epoch: int, first: int, share: slice = ALL) -> Iterator[Batch]:
        """Training batches of an epoch (from 0), from step `first` on; of each batch the images `share`, no others
        being decoded."""
        size = self.recipe.batch
        indices = sequence(self.train_images, self.recipe, seed, epoch).tolist()
        steps = [
            [(indices[at], at) for at in range(step * size, (step + 1) * size)[share]]
            for step in range(first, self.train_images // size)
        ]
        return self._load(self._fit, steps, Augment(self.dataset.resolution, self.recipe, seed, epoch))

    def evaluation(self, share: slice = ALL, resolution: int | None = None) -> Iterator[Batch]:
        """Every evaluation image once, in the data set's order; of its batches of `EVALUATION_BATCH` those `share`.

        `resolution`: pixels a side, where not the data set's own.
        """
        size, places = EVALUATION_BATCH, [(index, index) for index in range(self.evaluation_images)]
        steps = [places[at : at + size] for at in range(0, len(places), size)][share]
        return self._load(self._test, steps, Centre(resolution or self.dataset.resolution))

    def _load(self, loader: Loader, steps: list[Places], view: Callable[[Picture, int], Tensor]) -> Iterator[Batch]:
        mean = torch.tensor(self.dataset.facts.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.dataset.facts.std, device=self.device).view(3, 1, 1)
        for images, labels in loader.batches(steps, view, pin=self.device != "cpu"):
            images = to_float(images.to(self.device, non_blocking=True))
            yield images.sub_(mean).div_(std), labels.to(self.device, non_blocking=True)


def _root(dataset: Dataset, root: Path | None) -> Path:
    if root is None:
        raise UserError(
            f"data set {dataset.name} not found: no --data-dir and no $ABLATION_DATA",
            remedy=f"Name the folder that holds {dataset.path}/train/<class>/ and {dataset.path}/val/<class>/, or tars "
            "(docs/images.md).",
        )
    return root / dataset.path


def _digest(files: Sequence[File]) -> str:
    """Of names, sizes and labels: reading every pixel of ImageNet at each start would cost an hour."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.size} {file.label}\n".encode())
    return digest.hexdigest()[:16]


def _subsets(root: Path, dataset: Dataset, names: list[str], labels: list[int]) -> dict[str, Subset]:
    """The classes of each further evaluation that has its own."""
    found = {}
    for name, further in dataset.evaluations.items():
        if further.classes is not None:
            listed = isinstance(further.classes, str)
            chosen = read_classes(root / str(further.classes)) if listed else further.classes
            found[name] = Subset.of(chosen, names, labels, f"evaluation {name}")
    return found


def glance(dataset: Dataset, data_dir: Path | None) -> str:
    """Where a data set lies and what is in it, from its folders and a few images: reading all would take minutes.

    Raises UserError where it is not what the data set says.
    """
    root = _root(dataset, data_root(data_dir))
    listing = train_listing(root, dataset)
    names = class_names(root, dataset, listing)
    for name in {names[0], names[len(names) // 2], names[-1]}:
        found = listing.entries(name)
        if not found:
            raise UserError("a class without images", where=str(listing.where / name))
        open_picture(found[0].label("train", name, 0), dataset.decoder)
    return f"{len(names)} classes in {root}; the images looked at can be decoded"
