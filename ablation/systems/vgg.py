"""VGG (Simonyan and Zisserman 2015): one block shape, repeated; no shortcuts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ablation.errors import UserError
from ablation.family import family
from ablation.systems.tally import BIAS, NORM, Tally

if TYPE_CHECKING:
    from torch import nn

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each stage, by depth."""
TIMES = (1, 2, 4, 8, 8)
"""Channels of each stage, over the first one's."""


def cost(
    width: int,
    depth: int = 16,
    batch_norm: bool = False,
    hidden: int = 4096,
    pool: int = 7,
    dropout: float = 0.5,
    channels: int = 3,
    resolution: int = 224,
    classes: int = 1000,
) -> tuple[int, int, int]:
    """(params, macs, activations): 3x3 convolutions with a bias, then the classifier's linear layers."""
    tally, inputs, side = Tally(), channels, resolution
    for outputs, convs in _stages(width, depth):
        for _ in range(convs):
            tally.conv(inputs, outputs, 9, side * side, more=BIAS + (NORM if batch_norm else 0))
            inputs = outputs
        side = max(1, side // 2)
    sizes = [inputs * pool * pool, *[hidden] * (2 if hidden else 0), classes]
    for one, two in pairwise(sizes):
        tally.linear(one, two)
    return tally.total


@family(solve="width", axes=["depth", "batch_norm"], widths=("hidden",), cost=cost)
def vgg(
    width: int,
    depth: int = 16,
    batch_norm: bool = False,
    hidden: int = 4096,
    pool: int = 7,
    dropout: float = 0.5,
    channels: int = 3,
    resolution: int = 224,
    classes: int = 1000,
) -> nn.Module:
    """VGG-11, 13, 16 or 19 (`depth`) with `width` channels in the first stage: 64 is the original, with torchvision's
    names. The last map is averaged to `pool` x `pool`; the classifier has two layers of `hidden` units, or none (0).

    A map of one pixel is not halved again, so that 28 pixels pass through five stages.
    """
    from torch import nn

    from ablation.systems.initial import he

    layers: list[nn.Module] = []
    inputs, side = channels, resolution
    for outputs, convs in _stages(width, depth):
        for _ in range(convs):
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
            layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            inputs = outputs
        layers.append(nn.MaxPool2d(2) if side > 1 else nn.Identity())
        side = max(1, side // 2)
    network = nn.Sequential()
    network.add_module("features", nn.Sequential(*layers))
    network.add_module("avgpool", nn.AdaptiveAvgPool2d(pool))
    network.add_module("flatten", nn.Flatten())
    network.add_module("classifier", _classifier(inputs * pool * pool, hidden, dropout, classes))
    return he(network)


def _classifier(inputs: int, hidden: int, dropout: float, classes: int) -> nn.Module:
    from torch import nn

    sizes = [inputs, *[hidden] * (2 if hidden else 0)]
    layers: list[nn.Module] = []
    for one, two in pairwise(sizes):
        layers += [nn.Linear(one, two), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


def _stages(width: int, depth: Any) -> Iterator[tuple[int, int]]:
    """(channels, convolutions) of each stage. Raises UserError where there is no such depth."""
    if depth not in STAGES:
        raise UserError(f"there is no VGG-{depth}", remedy=f"Choose from: {', '.join(map(str, STAGES))}.")
    return zip((width * times for times in TIMES), STAGES[depth], strict=True)
