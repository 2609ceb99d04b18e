"""Members of an ensemble as one network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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
