"""TrivialAugment, wide (Müller and Hutter, 2021): to each image one change, drawn from fourteen, at a drawn strength.

One image at a time it is torchvision's own; `changed` does the same to a batch in memory, on its device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as T
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import TrivialAugmentWide

from ablation.data import send
from ablation.network import stream

AnyImage = TypeVar("AnyImage", bound=Image.Image | Tensor)
_CHANGE = TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)
PARTS = torch.linspace(0, 1, 31)
"""Strengths of a change, as parts of its greatest."""
SHEAR, SHIFT, TURN, BLEND = 0.99, 32.0, math.radians(135), 0.99
"""The greatest of each: a slope, pixels (whatever the image's size), an angle, a part of what is blended."""


def change(image: AnyImage, *key: object) -> AnyImage:
    """An image, of Pillow or uint8 (channels, height, width), changed as a function of the key alone.

    torch's own stream of random numbers goes on undisturbed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream(*key).initial_seed())  # torch.manual_seed would seed GPUs too
        return _CHANGE(image)


def changed(pixels: Tensor, *key: object, share: slice, batch: int) -> Tensor:
    """The images `share` of a batch, each changed: uint8 (images, height, width, channels) in and out.

    The draws, all of the batch's, are a function of the key alone.
    """
    random = stream(*key)
    kinds = torch.randint(len(CHANGES), (batch,), generator=random)[share]
    bins = torch.randint(len(PARTS), (batch,), generator=random)[share]
    signs = 1 - 2 * torch.randint(2, (batch,), generator=random)[share]
    images, result = pixels.permute(0, 3, 1, 2), pixels.permute(0, 3, 1, 2).clone()
    order = kinds.argsort(stable=True)
    counts = kinds.bincount(minlength=len(CHANGES)).tolist()
    draws = torch.stack([order.double(), PARTS[bins[order]].double(), signs[order].double()])
    parts = send(draws, pixels.device).split(counts, dim=1)  # all at once: no kind waits for its own
    for kind, own in enumerate(parts):
        if counts[kind]:
            here, part, sign = own[0].long(), own[1].float(), own[2].long()
            result[here] = CHANGES[kind](images[here], part, sign)
    return result.permute(0, 2, 3, 1)


Change = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of images uint8 (n, channels, height, width), each by its part of the greatest strength (n,) and its sign (n,)."""


def _identity(images: Tensor, part: Tensor, sign: Tensor) -> Tensor:
    return images


def _shear(across: bool) -> Change:
    def shear(images: Tensor, part: Tensor, sign: Tensor) -> Tensor:
        slope, height, width = SHEAR * part * sign, *images.shape[2:]
        theta = _unmoved(part)
        row, column, longer = (0, 1, height / width) if across else (1, 0, width / height)
        theta[:, row, column] = theta[:, row, 2] = slope * longer  # about the upper left corner
        return _moved(images, theta)

    return shear


def _shift(across: bool) -> Change:
    def shift(images: Tensor, part: Tensor, sign: Tensor) -> Tensor:
        pixels, side = (SHIFT * part).floor() * sign, images.shape[3 if across else 2]
        theta = _unmoved(part)
        theta[:, 0 if across else 1, 2] = -2 * pixels / side
        return _moved(images, theta)

    return shift


def _turn(images: Tensor, part: Tensor, sign: Tensor) -> Tensor:
    angle, height, width = TURN * part * sign, *images.shape[2:]
    theta = _unmoved(part)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -angle.sin() * height / width, angle.sin() * width / height
    return _moved(images, theta)


def _unmoved(part: Tensor) -> Tensor:
    return torch.eye(2, 3, device=part.device).repeat(len(part), 1, 1)


def _moved(images: Tensor, theta: Tensor) -> Tensor:
    """Each pixel from where theta (n, 2, 3) sends its place, in -1..1; black where that is outside."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="bilinear", align_corners=False).round().to(torch.uint8)


def _blend(base: Callable[[Tensor], Tensor]) -> Change:
    def blend(images: Tensor, part: Tensor, sign: Tensor) -> Tensor:
        factor = (1 + BLEND * part * sign).view(-1, 1, 1, 1)
        other = base(images)
        return (other + factor * (images.float() - other)).clamp(0, 255).to(torch.uint8)

    return blend


def _black(images: Tensor) -> Tensor:
    return torch.zeros_like(images, dtype=torch.float32)


def _grey(images: Tensor) -> Tensor:
    return images.float() if images.shape[1] == 1 else T.rgb_to_grayscale(images, num_output_channels=3).float()


def _even(images: Tensor) -> Tensor:
    return _grey(images)[:, :1].mean((1, 2, 3), keepdim=True)


def _blurred(images: Tensor) -> Tensor:
    """Each pixel with its neighbours; the border as it is."""
    channels = images.shape[1]
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    smooth = images.float()
    inner = F.conv2d(smooth, (kernel / kernel.sum()).expand(channels, 1, 3, 3), groups=channels).round()
    return F.pad(torch.zeros_like(inner), (1, 1, 1, 1), value=1.0) * smooth + F.pad(inner, (1, 1, 1, 1))


def _posterize(images: Tensor, part: Tensor, sign: Tensor) -> Tensor:
    dropped = (6 * part).round().int().view(-1, 1, 1, 1)
    return ((images.int() >> dropped) << dropped).to(torch.uint8)


def _solarize(images: Tensor, part: Tensor, sign: Tensor) -> Tensor:
    threshold = (255 * (1 - part)).view(-1, 1, 1, 1)
    return torch.where(images >= threshold, 255 - images, images)


CHANGES: tuple[Change, ...] = (
    *(_identity, _shear(True), _shear(False), _shift(True), _shift(False), _turn),
    *(_blend(_black), _blend(_grey), _blend(_even), _blend(_blurred), _posterize, _solarize),
    *(lambda images, part, sign: T.autocontrast(images), lambda images, part, sign: T.equalize(images)),
)
