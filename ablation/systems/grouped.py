"""Other ways to cut the 3x3 of one bottleneck: uniform groups, groups that change with depth, a group a channel, and
factors of a 3x3. Everything else is a ResNet's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablation.cost import cost as cost_of_design
from ablation.design import Design
from ablation.errors import UserError
from ablation.family import family
from ablation.systems.tally import Tally, halved, stages_of

if TYPE_CHECKING:
    from torch import nn

KINDS = ("channel-wise", "separable", "low-rank")
HOW = f"Give groups (32), groups of each stage (8-4-2-1), root-8, or one of: {', '.join(KINDS)}."


@dataclass(frozen=True)
class Pattern:
    """How the 3x3 of each stage is cut."""

    kind: str
    """`groups`, or one of `KINDS`."""
    groups: tuple[int, ...]
    """Of each stage; 1 where the kind says all."""

    @classmethod
    def of(cls, text: str | int, stages: int) -> Pattern:
        """From a knob. `root-8`: 8 groups in the first stage, half as many in each next (Ioannou et al. 2017).

        Raises UserError.
        """
        word = str(text)
        if word in KINDS:
            return cls(word, (1,) * stages)
        root = word.startswith("root-")
        try:
            found = stages_of(word.removeprefix("root-"), "pattern")
        except UserError:
            raise UserError(f"unknown pattern {text!r}", remedy=HOW) from None
        if len(found) == 1:
            found = tuple(max(1, found[0] >> stage * root) for stage in range(stages))
        if len(found) != stages or (root and found[0] & (found[0] - 1)):
            raise UserError(f"pattern {text!r} does not fit {stages} stages", remedy=HOW)
        return cls("groups", found)


def multiple(knobs: dict[str, Any]) -> int:
    """What the width is a multiple of: each stage's groups divide its channels, which double from stage to stage."""
    stages = len(stages_of(knobs.get("blocks", "3-4-6-3")))
    groups = Pattern.of(knobs.get("pattern", 32), stages).groups
    return math.lcm(*(count // math.gcd(count, 1 << stage) for stage, count in enumerate(groups)))


def design_of(
    width: int,
    blocks: str,
    outputs: int,
    stem: str,
    stem_width: int,
    channels: int,
    resolution: int,
    classes: int,
) -> Design:
    """The ResNet whose 3x3 are then cut: `width` channels inside the first stage's blocks, `outputs` out of them."""
    counts = stages_of(blocks)
    return Design(
        blocks=counts,
        cardinality=1,
        widths=tuple(width << stage for stage in range(len(counts))),
        outputs=tuple(outputs << stage for stage in range(len(counts))),
        stem=stem,
        stem_width=stem_width,
        classes=classes,
        resolution=resolution,
        channels=channels,
    )


def cost(
    width: int,
    pattern: str | int = 32,
    blocks: str = "3-4-6-3",
    outputs: int = 256,
    stem: str = "imagenet",
    stem_width: int = 64,
    channels: int = 3,
    resolution: int = 224,
    classes: int = 1000,
) -> tuple[int, int, int]:
    """(params, macs, activations): the ResNet's, with each 3x3 replaced."""
    design = design_of(width, blocks, outputs, stem, stem_width, channels, resolution, classes)
    price, tally, side = cost_of_design(design), Tally(), _first_side(design)
    kind = Pattern.of(pattern, len(design.blocks))
    for stage, count in enumerate(design.blocks):
        for index in range(count):
            after = halved(side) if stage and not index else side
            _spatial_cost(tally, kind.kind, design.widths[stage], kind.groups[stage], side, after)
            _less_plain(tally, design.widths[stage], after)
            side = after
    return price.params + tally.params, price.macs + tally.macs, price.activations + tally.activations


def _first_side(design: Design) -> int:
    """The side of the map that enters the first stage."""
    side = design.resolution
    return halved(halved(side)) if design.stem == "imagenet" else side // 2 if design.stem == "small" else side


def _spatial_cost(tally: Tally, kind: str, width: int, groups: int, before: int, after: int) -> None:
    if kind == "low-rank":  # 3x1 halves the height, 1x3 then the width
        tally.conv(width, width, 3, after * before, more=0)
        tally.conv(width, width, 3, after * after, more=0)
    else:
        tally.conv(width, width, 9, after * after, groups if kind == "groups" else width, more=0)
    if kind == "separable":
        tally.conv(width, width, 1, after * after, more=0)


def _less_plain(tally: Tally, width: int, side: int) -> None:
    """Take away the 3x3 that the ResNet had."""
    weights = 9 * width * width
    tally.params -= weights
    tally.macs -= weights * side * side
    tally.activations -= width * side * side


@family(solve="width", axes=["pattern"], multiple=multiple, widths=("outputs", "stem_width"), cost=cost)
def grouped(
    width: int,
    pattern: str | int = 32,
    blocks: str = "3-4-6-3",
    outputs: int = 256,
    stem: str = "imagenet",
    stem_width: int = 64,
    channels: int = 3,
    resolution: int = 224,
    classes: int = 1000,
) -> nn.Module:
    """A ResNet of bottlenecks whose 3x3, of `width` channels in the first stage and twice as many in each next, is cut
    by `pattern`.

    A number: that many groups in every stage (32 and width 128 are ResNeXt-50 32x4d). `8-4-2-1`: groups of each stage.
    `root-8`: the same, halved from stage to stage. `channel-wise`: a group a channel. `separable`: that, then a 1x1.
    `low-rank`: a 3x1, then a 1x3. The two factors of a 3x3 have nothing between them: batch norm and ReLU follow both.
    """
    from ablation.network import Network
    from ablation.systems.initial import he

    design = design_of(width, blocks, outputs, stem, stem_width, channels, resolution, classes)
    kind, network = Pattern.of(pattern, len(design.blocks)), Network(design)
    for stage, groups in enumerate(kind.groups):
        for index, block in enumerate(network.get_submodule(f"layer{stage + 1}").children()):
            stride = 2 if stage and not index else 1
            block.conv2 = _spatial(kind.kind, design.widths[stage], groups, stride)
    return he(network)


def _spatial(kind: str, width: int, groups: int, stride: int) -> nn.Module:
    """A 3x3 of `width` channels in some number of groups, or one that is made of factors, in its place."""
    from torch import nn

    def conv(height: int, across: int, strides: tuple[int, int], groups: int = 1) -> nn.Conv2d:
        padding = (height // 2, across // 2)
        return nn.Conv2d(width, width, (height, across), strides, padding, groups=groups, bias=False)

    if kind == "low-rank":
        return nn.Sequential(conv(3, 1, (stride, 1)), conv(1, 3, (1, stride)))
    whole = conv(3, 3, (stride, stride), groups if kind == "groups" else width)
    return nn.Sequential(whole, conv(1, 1, (1, 1))) if kind == "separable" else whole
