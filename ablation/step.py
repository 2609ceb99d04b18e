"""One optimiser step: what training repeats and a stopwatch times."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ablation.data import Batch
from ablation.errors import UserError
from ablation.execution import Execution
from ablation.family import Architecture, FamilyDesign
from ablation.family.network import member, seed_step
from ablation.loss import forward, told
from ablation.network import Block, Network, commit, initialise, set_norm_batch
from ablation.packing import pack
from ablation.recipe import Recipe

NORMALISATION = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)
"""Layers whose parameters `norm_weight_decay` is of."""


def step(
    network: nn.Module, optimiser: torch.optim.Optimizer, execution: Execution, batch: Batch, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """One optimiser step; the loss and the guesses, (images, classes), in fp32 or better."""
    loss, logits = forward(network, execution, *batch, label_smoothing)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    commit(network)
    return told(loss.detach(), logits.detach())


class WholeStep:
    """`step` on all images of each batch in one pass."""

    def __init__(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, execution: Execution, seed: int | None = None
    ) -> None:
        """`seed` is of someone else's network, which may draw random numbers."""
        self.network, self.optimiser, self.execution, self.seed = network, optimiser, execution, seed

    def __call__(self, batch: Batch, label_smoothing: float, at: int) -> tuple[Tensor, Tensor]:
        """Optimiser step `at` (from 0); see `step`."""
        if self.seed is not None:
            seed_step(self.seed, at)
        return step(self.network, self.optimiser, self.execution, batch, label_smoothing)

    def look(self) -> None:
        """See `PartedStep`: in one piece there is nothing to say."""


def first_network(
    design: Architecture, seed: int, execution: Execution, norm_batch: int | None, zero_gamma: bool = False
) -> nn.Module:
    """A design's network before its first step, on its device, its layers computed as the execution says.

    Raises UserError where `zero_gamma` is asked of someone else's network.
    """
    network = member(design, seed) if isinstance(design, FamilyDesign) else initialise(Network(design), seed)
    if zero_gamma:
        _zero_gamma(network, design)
    set_norm_batch(network, norm_batch)
    pack(network, dict(execution.kernels))
    return network.to(execution.device, execution.dtype).to(memory_format=execution.memory_format)


def _zero_gamma(network: nn.Module, design: Architecture) -> None:
    """Start every block as its shortcut. A block without one would pass nothing on, and never learn."""
    if isinstance(design, FamilyDesign) or design.shortcut in ("none", "projection-only"):
        what = f"{design.name} has no blocks of ours, each with a shortcut, to start at zero"
        raise UserError(what, remedy="Leave zero_gamma out of its recipe.")
    for block in network.modules():
        if isinstance(block, Block):
            nn.init.zeros_(block.bn3.weight)


def optimiser_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser for a network."""
    return torch.optim.SGD(
        network.parameters() if recipe.norm_weight_decay is None else _by_decay(network, recipe),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )


def _by_decay(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameters in two groups: those of normalisation layers, and all others, biases too."""
    norms = [module for module in network.modules() if isinstance(module, NORMALISATION)]
    own = {id(parameter) for norm in norms for parameter in norm.parameters(recurse=False)}
    groups = [
        {
            "params": [parameter for parameter in network.parameters() if (id(parameter) in own) == normalises],
            "weight_decay": recipe.norm_weight_decay if normalises else recipe.weight_decay,
        }
        for normalises in (True, False)
    ]
    return [group for group in groups if group["params"]]
