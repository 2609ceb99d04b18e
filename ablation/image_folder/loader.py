"""Batches, decoded by worker processes; what they meet is told by the process that asked."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from ablation.data import Batch
from ablation.errors import UserError
from ablation.image_folder.decode import Corrupt, Picture, open_picture
from ablation.image_folder.files import File

Places = list[tuple[int, int]]
"""A step's images: the number of each in the data set, and its place in the epoch."""
Made = tuple[Tensor, Tensor, list[str], UserError | None]
"""Images, labels; the broken images that others stand for; or why there is nothing."""


class Loader:
    """Images of a data set, a step at a time, in the order asked for."""

    def __init__(self, files: Sequence[File], decoder: str, *, skip: bool, remedy: str) -> None:
        """`skip`: whether another image may stand for one that is broken; else `remedy` is what to do about it."""
        self.files, self.decoder, self.skip, self.remedy = files, decoder, skip, remedy
        self.broken: set[str] = set()
        """Names of the images that could not be decoded, of all steps that were handed out."""

    def batches(self, steps: list[Places], view: Callable[[Picture, int], Tensor], pin: bool) -> Iterator[Batch]:
        """Images as `view` gives them, (n, 3, side, side) in channels-last memory, and labels.

        Raises UserError where an image stops the run.
        """
        workers = max(1, len(os.sched_getaffinity(0)) - 1) if hasattr(os, "sched_getaffinity") else 2
        loader: DataLoader[Made] = DataLoader(
            Steps(self, steps, view),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=min(workers, len(steps)),
            pin_memory=pin,
        )
        for images, labels, broken, error in loader:
            if error:
                raise error
            self.broken.update(broken)
            yield images, labels

    def picture(self, index: int) -> tuple[Picture, list[str]]:
        """An image; where it is broken and may be skipped, the next one of its class that is not, and the broken ones'
        names."""
        broken: list[str] = []
        for file in self._and_others(index) if self.skip else [self.files[index]]:
            try:
                return open_picture(file, self.decoder), broken
            except Corrupt as error:
                if not self.skip:
                    raise Corrupt(error.message, where=error.where, remedy=self.remedy) from None
                broken.append(file.name)
        kind = self.files[index].name.rpartition("/")[0]
        raise UserError(f"no image of {kind} can be decoded", remedy="Copy the data again.")

    def _and_others(self, index: int) -> Iterator[File]:
        """An image, then the others of its class that come after it, then those before."""
        label = self.files[index].label
        first = bisect_left(self.files, label, key=lambda file: file.label)
        last = bisect_right(self.files, label, key=lambda file: file.label)
        yield from self.files[index:last]
        yield from self.files[first:index]


class Steps:
    """A step's images, decoded together: what one worker does at a time."""

    def __init__(self, loader: Loader, steps: list[Places], view: Callable[[Picture, int], Tensor]) -> None:
        self.loader, self.steps, self.view = loader, steps, view

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, step: int) -> Made:
        images, broken = [], []
        try:
            for index, at in self.steps[step]:
                picture, skipped = self.loader.picture(index)
                images.append(self.view(picture, at))
                broken += skipped
        except UserError as error:  # raised here, it would reach the user with a worker's traceback in it
            return torch.empty(0), torch.empty(0), [], error
        labels = torch.tensor([self.loader.files[index].label for index, _ in self.steps[step]])
        together = default_collate([image.permute(1, 2, 0) for image in images])  # in memory that processes share
        return together.permute(0, 3, 1, 2), labels, broken, None
