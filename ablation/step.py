"""One optimiser step: what training repeats and a stopwatch times."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablation.data import Batch
from ablation.execution import Execution
from ablation.family import Architecture, FamilyDesign
from ablation.family.network import member
from ablation.network import Network, commit, initialise, set_norm_batch
from ablation.recipe import Recipe


def step(
    network: nn.Module, optimiser: torch.optim.Optimizer, execution: Execution, batch: Batch, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """One optimiser step; the loss and the logits, (images, classes), in fp32 or better."""
    images, labels = batch
    with execution.autocast():
        logits = network(images.to(execution.dtype))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    commit(network)
    return loss, logits


def first_network(design: Architecture, seed: int, execution: Execution, norm_batch: int | None) -> nn.Module:
    """A design's network before its first step, on its device."""
    network = member(design, seed) if isinstance(design, FamilyDesign) else initialise(Network(design), seed)
    set_norm_batch(network, norm_batch)
    return network.to(execution.device, execution.dtype).to(memory_format=torch.channels_last)


def optimiser_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser for a network."""
    return torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
