"""CIFAR's wide ResNet (Zagoruyko and Komodakis 2016): few layers, many channels; WRN-28-10 is width 160."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablation.errors import UserError
from ablation.family import family
from ablation.systems.tally import NORM, Tally, halved

if TYPE_CHECKING:
    from torch import nn


def cost(
    width: int,
    depth: int = 28,
    dropout: float = 0.0,
    stem: int = 16,
    channels: int = 3,
    resolution: int = 32,
    classes: int = 10,
) -> tuple[int, int, int]:
    """(params, macs, activations): a 3x3, three stages of blocks of two 3x3, the classifier."""
    tally, inputs, side = Tally(), stem, resolution
    tally.conv(channels, stem, 9, side * side, more=0)
    for stage in range(3):
        outputs, side = width << stage, halved(side) if stage else side
        for index in range(_blocks(depth)):
            tally.norm(inputs)
            tally.conv(inputs, outputs, 9, side * side, more=NORM)
            tally.conv(outputs, outputs, 9, side * side, more=0)
            if inputs != outputs or (stage and not index):
                tally.conv(inputs, outputs, 1, side * side, more=0)
            inputs = outputs
    tally.norm(inputs)
    tally.linear(inputs, classes)
    return tally.total


@family(solve="width", axes=["depth"], widths=("stem",), cost=cost)
def wrn(
    width: int,
    depth: int = 28,
    dropout: float = 0.0,
    stem: int = 16,
    channels: int = 3,
    resolution: int = 32,
    classes: int = 10,
) -> nn.Module:
    """A wide ResNet of `depth` (6n + 4) layers with `width` channels in its first stage, 16 times the widening factor
    of its name; twice and four times as many in the other two. `dropout` stands between the convolutions of a block.
    """
    from torch import nn

    from ablation.systems.initial import he
    from ablation.systems.pre_activation import PreActivation

    layers: list[nn.Module] = [nn.Conv2d(channels, stem, 3, padding=1, bias=False)]
    inputs = stem
    for stage in range(3):
        outputs = width << stage
        for index in range(_blocks(depth)):
            layers.append(PreActivation(inputs, outputs, 2 if stage and not index else 1, dropout))
            inputs = outputs
    layers += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return he(nn.Sequential(*layers, nn.Linear(inputs, classes)))


def _blocks(depth: int) -> int:
    """Blocks of each stage. Raises UserError where there is no such depth."""
    if depth < 10 or depth % 6 != 4:
        raise UserError(f"there is no wide ResNet of depth {depth}", remedy="Depths are 6n + 4: 10, 16, 22, 28, 40.")
    return (depth - 4) // 6
