"""The block of a wide ResNet."""

from __future__ import annotations

from torch import Tensor, nn


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
