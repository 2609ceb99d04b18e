"""How the systems' networks start."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

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
