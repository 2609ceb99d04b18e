"""What a recipe does to whole batches, on their device: erase rectangles, then mix images with each other.

All of it is a function of (seed, step). Every rank makes the draws of the whole batch and uses those of its share;
images are mixed within their `norm_batch` only, which no rank and no micro-batch splits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ablation.data import Batch, send
from ablation.network import stream
from ablation.recipe import Recipe

TRIES = 10
"""At a rectangle that fits; then the image stays whole."""
AREA, ASPECT = (0.02, 0.33), (0.3, 3.3)
"""Of an erased rectangle: its part of the image, its height over its width."""


@dataclass(frozen=True)
class BatchAugmentation:
    """Erasing and mixing, for the images `share` of each batch."""

    recipe: Recipe
    classes: int
    seed: int
    share: slice

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.recipe.erasing or self.recipe.mixup or self.recipe.cutmix)

    def __call__(self, batch: Batch, step: int) -> Batch:
        """The share of optimiser step `step` (from 0), augmented; labels of mixed images are (images, classes)."""
        images, labels = batch
        if self.recipe.erasing:
            images = self._erase(images, step)
        if self.recipe.mixup or self.recipe.cutmix:
            return self._mix(images, labels, step)
        return images, labels

    def _erase(self, images: Tensor, step: int) -> Tensor:
        random = stream(self.seed, "erase", step)
        erased = torch.rand(self.recipe.batch, generator=random) < self.recipe.erasing
        draws = torch.rand(self.recipe.batch, TRIES, 4, generator=random)
        boxes = rectangles(draws[self.share], *images.shape[2:]) * erased[self.share, None]
        inside = _inside(send(boxes, images.device), *images.shape[2:])
        return images.masked_fill(inside[:, None], 0.0)

    def _mix(self, images: Tensor, labels: Tensor, step: int) -> Batch:
        size = self.recipe.norm_batch
        own = slice(self.share.start // size, self.share.stop // size)
        shares, weights = (send(part[own], images.device) for part in self._weights(step, *images.shape[2:]))
        partner = (torch.arange(len(labels), device=labels.device).view(-1, size).roll(1, 1)).flatten()
        each = torch.arange(len(labels), device=labels.device) // size
        mixed = torch.lerp(images[partner], images, weights[each, None])
        truth = F.one_hot(labels, self.classes).to(shares.dtype)
        mixed = mixed.contiguous(memory_format=torch.channels_last)
        return mixed, torch.lerp(truth[partner], truth, shares[each, None])

    def _weights(self, step: int, height: int, width: int) -> tuple[Tensor, Tensor]:
        """For each `norm_batch`, how much of an image is its own: of the label, (groups,); of each pixel,
        (groups, height, width)."""
        recipe = self.recipe
        random = np.random.default_rng(stream(self.seed, "mix", step).initial_seed())
        shares, weights = [], []
        for _ in range(recipe.batch // recipe.norm_batch):
            pastes = random.random() < 0.5 if recipe.mixup and recipe.cutmix else bool(recipe.cutmix)
            strength = recipe.cutmix if pastes else recipe.mixup
            own, place = random.beta(strength, strength), random.random(2)
            weight = _box(own, place, height, width) if pastes else torch.full((height, width), own)
            shares.append(weight.mean())
            weights.append(weight)
        return torch.stack(shares), torch.stack(weights)


def augmentation(recipe: Recipe, classes: int, seed: int, share: slice) -> BatchAugmentation | None:
    """What a recipe does to whole batches; None where it is nothing."""
    found = BatchAugmentation(recipe, classes, seed, share)
    return found if found.needed else None


def rectangles(draws: Tensor, height: int, width: int) -> Tensor:
    """(images, 4): top, left, height, width of the first of an image's tries that fits; zeros where none does.

    `draws`: (images, tries, 4) in 0..1, for the area, the aspect (its logarithm is uniform), and the place.
    """
    area = height * width * (AREA[0] + draws[..., 0] * (AREA[1] - AREA[0]))
    low, high = (math.log(bound) for bound in ASPECT)
    aspect = torch.exp(low + draws[..., 1] * (high - low))
    h, w = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    top, left = (draws[..., 2] * (height - h + 1)).long(), (draws[..., 3] * (width - w + 1)).long()
    fits = (h < height) & (w < width)
    first = fits.int().argmax(1)
    boxes = torch.stack([top, left, h, w], dim=2)[torch.arange(len(draws)), first]
    return boxes * fits.any(1)[:, None]


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """(images, height, width): which pixels lie in each image's box (top, left, height, width)."""
    top, left, h, w = boxes[:, :, None].unbind(1)
    rows, columns = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    down, across = (rows >= top) & (rows < top + h), (columns >= left) & (columns < left + w)
    return down[:, :, None] & across[:, None, :]


def _box(own: float, place: np.ndarray, height: int, width: int) -> Tensor:
    """(height, width): 0 in a box of about 1 - `own` of the area, centred at `place` and cut at the edges; else 1."""
    half = 0.5 * (1 - own) ** 0.5
    weight = torch.ones(height, width)
    spans = []
    for side, at in zip((height, width), place, strict=True):
        centre, reach = int(at * side), int(half * side)
        spans.append(slice(max(centre - reach, 0), min(centre + reach, side)))
    weight[spans[0], spans[1]] = 0.0
    return weight
