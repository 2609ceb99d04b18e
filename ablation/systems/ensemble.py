"""Independently trained small networks, averaged: what an aggregated transformation is not (paper, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ablation.cost import cost as cost_of_design
from ablation.design import Design
from ablation.errors import UserError
from ablation.family import family
from ablation.systems.tally import stages_of

if TYPE_CHECKING:
    from torch import nn


def member_of(width: int, blocks: str, stem: str, channels: int, resolution: int, classes: int) -> Design:
    """One member: a ResNet of bottlenecks, every part of which grows with `width` (64 and 3-4-6-3: ResNet-50)."""
    counts = stages_of(blocks)
    widths = tuple(width << stage for stage in range(len(counts)))
    return Design(
        blocks=counts,
        cardinality=1,
        widths=widths,
        outputs=tuple(4 * own for own in widths),
        stem=stem,
        stem_width=width,
        classes=classes,
        resolution=resolution,
        channels=channels,
    )


def cost(
    width: int,
    members: int = 2,
    blocks: str = "3-4-6-3",
    stem: str = "imagenet",
    channels: int = 3,
    resolution: int = 224,
    classes: int = 1000,
) -> tuple[int, int, int]:
    """(params, macs, activations): `members` times one member's."""
    one = cost_of_design(member_of(width, blocks, stem, channels, resolution, classes))
    return members * one.params, members * one.macs, members * one.activations


@family(solve="width", axes=["members"], cost=cost)
def ensemble(
    width: int,
    members: int = 2,
    blocks: str = "3-4-6-3",
    stem: str = "imagenet",
    channels: int = 3,
    resolution: int = 224,
    classes: int = 1000,
) -> nn.Module:
    """`members` ResNets with weights of their own, side by side in one run; their probabilities are averaged.

    In training it gives the members' logits, (images, classes, members), and each learns by its own cross-entropy; in
    evaluation (images, classes), the log of the mean probability.
    """
    from ablation.network import Network
    from ablation.systems.initial import he
    from ablation.systems.side_by_side import Ensemble

    if isinstance(members, bool) or not isinstance(members, int) or members < 1:
        raise UserError(f"members must be a whole number of at least 1; got {members!r}")
    design = member_of(width, blocks, stem, channels, resolution, classes)
    return Ensemble([he(Network(design)) for _ in range(members)])
