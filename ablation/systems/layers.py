"""Layers that several systems share, and how their networks start."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


@torch.no_grad()
def he(network: Net) -> Net:
    """Draw a network's first weights (He et al. 2015) from torch's global generator.

    Convolutions: normal, variance 2 / (kernel height · width · output channels), as the paper's code and as designs
    (groups do not enter); bias 0. Linear layers but the last: normal, variance 2 / inputs; bias 0. The last: torch's
    own uniform within 1/sqrt(inputs). Batch norms: 1 and 0, the last of a block included: none starts at zero.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _normal(module, module.out_channels * module.kernel_size[0] * module.kernel_size[1])
        elif isinstance(module, nn.Linear) and module is not linear[-1]:
            _normal(module, module.in_features)
    return network


def _normal(layer: nn.Conv2d | nn.Linear, fan: int) -> None:
    layer.weight.normal_(0, (2 / fan) ** 0.5)
    if layer.bias is not None:
        layer.bias.zero_()


class PreActivation(nn.Module):
    """A basic block of a wide ResNet: batch norm and ReLU before each of two 3x3; its shortcut is a 1x1 of what the
    first of those gives where shapes change, else the identity (Zagoruyko and Komodakis 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.relu, self.dropout = nn.ReLU(inplace=True), nn.Dropout(dropout)
        reshapes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if reshapes else None

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, inputs, height, width) -> (images, outputs, ...)."""
        y = self.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        return skip + self.conv2(self.dropout(self.relu(self.bn2(self.conv1(y)))))


def spatial(kind: str, width: int, groups: int, stride: int) -> nn.Module:
    """A 3x3 of `width` channels in some number of groups, or one that is made of factors, in its place."""

    def conv(height: int, across: int, strides: tuple[int, int], groups: int = 1) -> nn.Conv2d:
        padding = (height // 2, across // 2)
        return nn.Conv2d(width, width, (height, across), strides, padding, groups=groups, bias=False)

    if kind == "low-rank":
        return nn.Sequential(conv(3, 1, (stride, 1)), conv(1, 3, (1, stride)))
    whole = conv(3, 3, (stride, stride), groups if kind == "groups" else width)
    return nn.Sequential(whole, conv(1, 1, (1, 1))) if kind == "separable" else whole


class Ensemble(nn.Module):
    """Networks that see the same images and know nothing of each other."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, channels, height, width) -> in training the members' own logits, (images, classes, members),
        each to be held against the labels by itself; else (images, classes): the log of the mean probability."""
        logits = torch.stack([member(x) for member in self.members], dim=-1)
        if self.training:
            return logits
        return logits.log_softmax(1).logsumexp(-1) - math.log(len(self.members))
