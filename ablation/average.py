"""A moving average of a network's weights: what is evaluated and kept where a recipe asks for it."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from ablation.recipe import Recipe


class Average:
    """A copy of a network whose weights and running statistics follow the network's, every `ema_steps` steps.

    Until warm-up is over, and at the first update after it, they are the network's own. All is a function of the
    step: besides the averaged values there is nothing to save.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, steps_an_epoch: int) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.rate, self.every, self.steps = recipe.average_rate, recipe.ema_steps, steps_an_epoch
        self.copies_until = math.ceil(recipe.warmup_epochs) * steps_an_epoch

    def update(self, network: nn.Module, step: int) -> None:
        """After optimiser step `step` (from 0): the first step of each epoch is one that counts."""
        if step % self.steps % self.every == 0:
            self._move(network, 1.0 if step <= self.copies_until else self.rate)

    @torch.no_grad()
    def _move(self, network: nn.Module, rate: float) -> None:
        now = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point() and rate < 1:
                average.lerp_(now[name], rate)
            else:
                average.copy_(now[name])

    def state_dict(self) -> dict[str, Any]:
        """The averaged values."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from saved values."""
        self.network.load_state_dict(state)
