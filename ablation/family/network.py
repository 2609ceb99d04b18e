"""A family's network, ready to be trained as a design's is: same batch norm, same streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablation.errors import UserError
from ablation.family.count import build, current
from ablation.family.design import FamilyDesign

if TYPE_CHECKING:
    from torch import nn

    from ablation.network import BatchNorm


def member(design: FamilyDesign, seed: int) -> nn.Module:
    """The network of a design, on the CPU, as the family's own function initialises it.

    That function draws from torch's global generator, seeded from (seed, "initialise"): equal seeds give equal
    networks. (A design's parameters are drawn one by one, by name; a family's function decides its own order.) Its
    batch norms become ours, which see groups of `norm_batch` images; parameters and keys of the state dict stay.
    Raises UserError where it can't be built, has a batch norm that we can't replace, or its source has changed.
    """
    import torch

    from ablation.network import stream

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "initialise").initial_seed())
        network = build(current(design), design.knobs, design.image)
    return _ours(network, design)


def seed_step(seed: int, step: int | str) -> None:
    """Make what a network draws in an optimiser step (dropout) a function of (seed, step), so that a resume draws it
    too; on every device."""
    import torch

    from ablation.network import stream

    torch.manual_seed(stream(seed, "step", step).initial_seed())


def _ours(network: nn.Module, design: FamilyDesign) -> nn.Module:
    """The network with every batch norm replaced; one that stands in two places stays one."""
    from torch.nn.modules.batchnorm import _BatchNorm

    from ablation.network import BatchNorm

    made: dict[int, BatchNorm] = {}
    if isinstance(network, _BatchNorm):
        raise UserError(f"{design.family} is nothing but a batch norm", remedy="Return a network.")
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):  # named_children leaves out what stands twice
            if isinstance(child, _BatchNorm) and not isinstance(child, BatchNorm):
                made.setdefault(id(child), _replacement(child, design))
                setattr(parent, name, made[id(child)])
    return network


def _replacement(norm: nn.Module, design: FamilyDesign) -> BatchNorm:
    from torch import nn

    from ablation.network import BatchNorm

    plain = type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    if not plain or norm.momentum is None or not norm.track_running_stats:
        raise UserError(
            f"{design.family} has a batch norm that can't see norm_batch images at a time: {norm!r}",
            remedy="Use nn.BatchNorm1d, 2d or 3d with a momentum and running statistics, or another norm.",
        )
    ours = BatchNorm(norm.num_features)  # type: ignore[arg-type]
    ours.eps, ours.momentum, ours.affine = norm.eps, norm.momentum, norm.affine  # type: ignore[assignment]
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(ours, name, getattr(norm, name))
    return ours.train(norm.training)
