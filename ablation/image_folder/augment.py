"""Pixels as the network is shown them: the recipe's augmentation in training, a centre crop in evaluation."""

from __future__ import annotations

import math

import numpy as np
import torch
import torchvision.transforms.v2.functional as T
from PIL import Image
from torch import Tensor

from ablation import trivial
from ablation.image_folder.decode import Picture
from ablation.network import stream
from ablation.recipe import Recipe

CROP_RATIO = 256 / 224
"""Evaluation: the shorter side becomes this times the resolution, then the centre is cropped (paper, section 4)."""
EIGENVALUES = torch.tensor([0.2175, 0.0188, 0.0045])
EIGENVECTORS = torch.tensor([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""Principal components of ImageNet's colours, as in fb.resnet.torch."""


class Centre:
    """Shorter side to 256/224 of the resolution, centre crop."""

    def __init__(self, resolution: int) -> None:
        self.side = resolution

    def __call__(self, image: Picture, at: int) -> Tensor:
        """(3, resolution, resolution), uint8."""
        resized = T.resize(image, [round(self.side * CROP_RATIO)], antialias=True)
        return _tensor(T.center_crop(resized, [self.side]))


class Augment:
    """The recipe's augmentation of one image, from a stream of its own; every draw is made, used or not."""

    def __init__(self, resolution: int, recipe: Recipe, seed: int, epoch: int) -> None:
        self.side = recipe.train_resolution or resolution
        self.augment, self.key, self.trivial = recipe.augment, (seed, "augment", epoch), (seed, "trivial", epoch)
        self.colours = not {"jitter", "lighting"}.isdisjoint(recipe.augment)

    def __call__(self, image: Picture, at: int) -> Tensor:
        """The image at place `at` of the epoch: (3, resolution, resolution), uint8; float32 in 0..1 where the recipe
        changes its colours."""
        random = stream(*self.key, at)
        image = self._frame(image, random)
        flip = torch.rand((), generator=random) < 0.5
        if "flip" in self.augment and flip:
            image = T.horizontal_flip(image)
        if "trivial" in self.augment:
            image = trivial.change(image, *self.trivial, at)
        pixels = _tensor(image)
        if not self.colours:
            return pixels
        pixels = to_float(pixels)
        factors, turn = 1 + 0.4 * (2 * torch.rand(3, generator=random) - 1), torch.randperm(3, generator=random)
        if "jitter" in self.augment:
            pixels = _jitter(pixels, factors.tolist(), turn.tolist())
        noise = 0.1 * torch.randn(3, generator=random)
        if "lighting" in self.augment:
            pixels = pixels + (EIGENVECTORS @ (noise * EIGENVALUES)).view(3, 1, 1)
        return pixels

    def _frame(self, image: Picture, random: torch.Generator) -> Picture:
        height, width = T.get_size(image)
        box = _random_box(height, width, random)
        if "resized-crop" in self.augment:
            return T.resized_crop(image, *box, [self.side, self.side], antialias=True)
        resized = T.resize(image, [round(self.side * CROP_RATIO)], antialias=True)
        return T.center_crop(resized, [self.side])


def _tensor(image: Picture) -> Tensor:
    if isinstance(image, Image.Image):  # torchvision's own way copies the pixels once more
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return image


def to_float(pixels: Tensor) -> Tensor:
    """uint8 in 0..255 -> float32 in 0..1; float32 as it is."""
    return T.to_dtype(pixels, torch.float32, scale=True)


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
