"""Grouped convolutions in fewer, denser groups: the same sums, with zeros added, by faster kernels.

C groups of d channels are C/p groups of p·d whose weights are zero off the diagonal of p blocks. The parameter keeps
its grouped shape, and gets the gradient of its own blocks alone: nothing of a state dict changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablation.design import Design
from ablation.family import Architecture, FamilyDesign
from ablation.family.count import build, current
from ablation.network import Network


@dataclass(frozen=True)
class Layer:
    """A grouped convolution and the map that it sees: what its speed depends on."""

    groups: int
    inputs: int
    """Channels of a group."""
    outputs: int
    """Channels of a group."""
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    map: tuple[int, int]
    """Height and width of its input."""

    @classmethod
    def of(cls, conv: nn.Conv2d, size: tuple[int, int]) -> Layer:
        """A convolution whose input has that height and width."""
        groups, pad = conv.groups, conv.padding
        assert not isinstance(pad, str)
        channels = conv.in_channels // groups, conv.out_channels // groups
        kernel, stride, dilation = (_two(pair) for pair in (conv.kernel_size, conv.stride, conv.dilation))
        return cls(groups, *channels, kernel, stride, _two(pad), dilation, size)

    @property
    def name(self) -> str:
        """As the execution block spells it: `4 groups of 3, 3x3, stride 2, at 14x14`."""
        width = f"{self.inputs}" if self.inputs == self.outputs else f"{self.inputs} to {self.outputs}"
        words = [f"{self.groups} groups of {width}", _by(self.kernel)]
        words += [f"stride {_by(self.stride)}"] if self.stride != (1, 1) else []
        words += [f"padding {_by(self.padding)}"] if self.padding != (self.kernel[0] // 2, self.kernel[1] // 2) else []
        words += [f"dilation {_by(self.dilation)}"] if self.dilation != (1, 1) else []
        return ", ".join([*words, f"at {_by(self.map)}"])

    def way(self, packed: int) -> str:
        """How it is computed with `packed` groups in one, as the execution block spells it."""
        return f"{self.groups // packed} groups of {self.inputs * packed}"

    def packs(self, way: str) -> int:
        """How many groups `way` packs in one. Raises ValueError where it is no way of this layer."""
        for packed in divisors(self.groups):
            if self.way(packed) == way:
                return packed
        raise ValueError(f"{self.name} can't be computed in {way}")

    def build(self) -> PackedConv2d:
        """A convolution of this kind."""
        inputs, outputs = self.groups * self.inputs, self.groups * self.outputs
        conv = PackedConv2d(
            inputs, outputs, self.kernel, self.stride, self.padding, self.dilation, self.groups, bias=False
        )
        conv.packed = {}
        return conv


def _two(pair: tuple[int, ...]) -> tuple[int, int]:
    return pair[0], pair[1]


def _by(pair: tuple[int, int]) -> str:
    return f"{pair[0]}x{pair[1]}"


def divisors(number: int) -> list[int]:
    """All of them, rising."""
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def block_diagonal(weight: Tensor, groups: int, packed: int) -> Tensor:
    """The weight of a convolution with `groups` groups as that of one with `groups / packed`.

    weight: (groups·outputs, inputs, height, width) -> (groups·outputs, packed·inputs, height, width). The gradient is
    that of the blocks: what the zeros would get is dropped.
    """
    outputs, inputs, *kernel = weight.shape
    blocks = weight.view(groups // packed, packed, outputs // groups, inputs, *kernel).movedim(1, -1)
    return torch.diag_embed(blocks, dim1=1, dim2=3).reshape(outputs, packed * inputs, *kernel)


class PackedConv2d(nn.Conv2d):
    """A grouped convolution that packs its groups, by the size of the map that it sees."""

    packed: dict[tuple[int, int], int]
    """Height and width -> how many groups in one; 1 where a size is not named."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        packed = self.packed.get((input.shape[-2], input.shape[-1]), 1)
        if packed == 1:
            return super()._conv_forward(input, weight, bias)
        weight = block_diagonal(weight, self.groups, packed)
        padding: Any = self.padding
        return F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups // packed)


def can_pack(module: nn.Module) -> bool:
    """Whether it is a plain grouped convolution, padded with zeros; someone's own subclass may do anything else."""
    if not isinstance(module, nn.Conv2d) or type(module) not in (nn.Conv2d, PackedConv2d):
        return False
    return module.groups > 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def layers_of(network: nn.Module, images: Tensor) -> list[tuple[nn.Conv2d, Layer]]:
    """The plain grouped convolutions of a network, with what each of them sees of `images`; each once a map."""
    found: dict[tuple[int, Layer], tuple[nn.Conv2d, Layer]] = {}

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(module, nn.Conv2d)
        layer = Layer.of(module, tuple(inputs[0].shape[-2:]))
        found[id(module), layer] = module, layer

    hooks = [module.register_forward_pre_hook(look) for module in network.modules() if can_pack(module)]
    trains = network.training
    try:
        with torch.inference_mode():
            network.eval()(images)
    finally:
        network.train(trains)
        for hook in hooks:
            hook.remove()
    return list(found.values())


def layers_of_design(design: Architecture, resolution: int | None = None) -> list[Layer]:
    """The distinct grouped convolutions of a design that can be packed; `resolution`: where not its own."""
    if isinstance(design, Design) and (design.cardinality == 1 or design.form != "c"):
        return []
    side = resolution or design.resolution
    with torch.device("meta"):
        network = _built(design)
        if not any(map(can_pack, network.modules())):
            return []
        images = torch.empty(1, design.channels, side, side).to(memory_format=torch.channels_last)
        return list(dict.fromkeys(layer for _, layer in layers_of(network, images)))


def _built(design: Architecture) -> nn.Module:
    if isinstance(design, FamilyDesign):
        return build(current(design), design.knobs, design.image)
    return Network(design)


def pack(network: nn.Module, kernels: Mapping[str, str]) -> None:
    """Let every grouped convolution of a network be computed as `kernels` say: a layer's name -> its way.

    A layer or a map that is not named is computed as it is.
    """
    for module in network.modules() if kernels else ():
        if can_pack(module):
            _pack(module, kernels)  # type: ignore[arg-type]


def _pack(conv: nn.Conv2d, kernels: Mapping[str, str]) -> None:
    own = Layer.of(conv, (0, 0)).name.removesuffix("0x0")
    packed = {}
    for name, way in kernels.items():
        if name.startswith(own):
            height, width = map(int, name.removeprefix(own).split("x"))
            packed[height, width] = Layer.of(conv, (height, width)).packs(way)
    if packed:
        conv.__class__ = PackedConv2d  # in place, for others may hold it
        conv.packed = packed  # type: ignore[assignment]
