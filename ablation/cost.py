"""Closed-form cost of a design: parameters, MACs and activations, to the integer.

Plain arithmetic on purpose: the same lines count one design on Python integers (microseconds) and a million on
NumPy arrays. A MAC is one multiply-add of a convolution or of the classifier; bias and batch norm are not counted
(as in the paper, torchvision and pycls, which call it a FLOP).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ablation.design import Design


@dataclass(frozen=True)
class Cost:
    """What a design costs. Fields are integers, or integer arrays where arrays were given."""

    params: Any
    """Trainable parameters, batch norm and the classifier's bias included."""
    macs: Any
    """Multiply-adds of one forward pass of one image."""
    activations: Any
    """Output elements of every convolution and of the classifier, one image."""
    block_params: Any
    """C(out·d + k²·d² + d·out), k = 3 by default: convolution weights of a first-stage block with `out` channels in and
    out (Table 2)."""

    @property
    def memory(self) -> Any:
        """Bytes of a training step of `BATCH` images (see `memory`)."""
        return memory(self.params, self.activations)


class _Count(NamedTuple):
    params: Any
    macs: Any
    activations: Any


def _stem(design: Design) -> tuple[_Count, int]:
    """The stem's cost, and the side of the map that leaves it."""
    channels, width, side = design.channels, design.stem_width, design.resolution
    kernel = 3
    if design.stem == "imagenet":
        kernel, side = 7, (side - 1) // 2 + 1
    elif design.stem == "small":
        channels, side = 4 * channels, side // 2
    weights = kernel * kernel * channels * width
    count = _Count(weights + 2 * width, side * side * weights, side * side * width)
    return count, (side - 1) // 2 + 1 if design.stem == "imagenet" else side


def _stage(design: Design, stage: int, side: int, blocks: Any, paths: Any, width: Any) -> tuple[_Count, int]:
    """One stage's cost, and the side of the map that leaves it.

    A block: C(in·d + k²·d² + d·out) weights and 2(2C·d + out) of batch norm; its first 1x1 sees the larger map.
    """
    stride = 1 if stage == 0 else 2
    inputs = design.stem_width if stage == 0 else design.outputs[stage - 1]
    outputs, group = design.outputs[stage], paths * width
    small = (side - 1) // stride + 1
    tail = group * (design.kernel**2 * width + outputs)
    norm = 2 * (2 * group + outputs)
    written = outputs * (paths if design.form == "a" else 1)
    projects = design.shortcut.startswith("projection") and (stride != 1 or inputs != outputs)
    shortcut = inputs * outputs if projects else 0
    more = blocks - 1
    return _Count(
        params=inputs * group + more * outputs * group + blocks * (tail + norm) + shortcut + 2 * outputs * projects,
        macs=side * side * inputs * group + small * small * (more * outputs * group + blocks * tail + shortcut),
        activations=side * side * group
        + small * small * (more * group + blocks * (group + written) + outputs * projects),
    ), small


def cost(
    design: Design, *, blocks: Sequence[Any] | None = None, cardinality: Any = None, widths: Sequence[Any] | None = None
) -> Cost:
    """The cost of `design`, or of many designs that differ from it in blocks, cardinality or widths.

    `blocks` and `widths` hold one entry for each stage, `cardinality` one value; an entry is an integer or an
    array, and arrays broadcast: widths of shape (stages, n) give costs of shape (n,). Use int64.
    """
    blocks = design.blocks if blocks is None else blocks
    paths = design.cardinality if cardinality is None else cardinality
    widths = design.widths if widths is None else widths
    count, side = _stem(design)
    params, macs, activations = count
    for stage in range(len(design.blocks)):
        count, side = _stage(design, stage, side, blocks[stage], paths, widths[stage])
        params, macs, activations = params + count.params, macs + count.macs, activations + count.activations
    classifier = design.outputs[-1] * design.classes
    return Cost(
        params=params + classifier + design.classes,
        macs=macs + classifier,
        activations=activations + design.classes,
        block_params=paths * widths[0] * (2 * design.outputs[0] + design.kernel**2 * widths[0]),
    )


KEPT = 2
"""Copies of an activation that training keeps: a convolution's output for its batch norm, and that one's for the next
convolution. Autograd kept 1.99 to 2.01 for ResNet-50 and ResNeXt-50, 1.73 to 1.84 for the CIFAR and the demo's nets."""


BATCH = 32
"""Images of a step where memory is counted: what each GPU of the paper held."""


def memory(params: Any, activations: Any, batch: int = BATCH, number: int = 4) -> Any:
    """Bytes of a training step: weights, gradients, SGD's momentum, and what autograd keeps of `batch` images.

    `number` is the bytes of one number (4: fp32). Not counted: images, workspaces, the running statistics.
    """
    return number * (3 * params + KEPT * batch * activations)


def basic_cost(blocks: Sequence[int], resolution: int = 224, classes: int = 1000, channels: int = 3) -> Cost:
    """ResNet-18's and 34's cost: blocks of two 3x3 convolutions of 64, 128, 256, 512 channels (He et al. 2016).

    `block_params` is None: paths of such a block are no narrower block (paper, section 3.3).
    """
    side = (resolution - 1) // 2 + 1
    convs = [(49 * channels, 64, side, 1)]
    side, inputs = (side - 1) // 2 + 1, 64
    for stage, count in enumerate(blocks):
        outputs, stride = 64 << stage, 2 if stage else 1
        side = (side - 1) // stride + 1
        convs += [(9 * inputs, outputs, side, 1), (9 * outputs, outputs, side, 2 * count - 1)]
        convs += [(inputs, outputs, side, 1)] if stage else []
        inputs = outputs
    classifier = inputs * classes
    return Cost(
        params=sum(n * width * (fan + 2) for fan, width, _, n in convs) + classifier + classes,
        macs=sum(n * width * fan * map_side**2 for fan, width, map_side, n in convs) + classifier,
        activations=sum(n * width * map_side**2 for _, width, map_side, n in convs) + classes,
        block_params=None,
    )
