"""timm's batch norm, which holds its ReLU too, as one that sees groups of images."""

from __future__ import annotations

from typing import TypeVar

from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from ablation.network import BatchNorm

Net = TypeVar("Net", bound=nn.Module)


class NormAct(BatchNorm):
    """Batch norm over groups of `norm_batch` images, then an activation; timm's parameters, under its names."""

    def __init__(self, norm: BatchNormAct2d) -> None:
        super().__init__(norm.num_features)
        assert norm.momentum is not None  # 0.1 in all of timm's Inceptions
        self.eps, self.momentum, self.act = norm.eps, norm.momentum, norm.act
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(norm, name))

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, channels, height, width)."""
        return self.act(super().forward(x))


def apart(network: Net) -> Net:
    """The network with timm's batch norms replaced."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, BatchNormAct2d):
                setattr(parent, name, NormAct(child))
    return network
