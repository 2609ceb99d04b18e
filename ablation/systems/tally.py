"""Layers added up: what a closed form is made of."""

from __future__ import annotations

from dataclasses import dataclass

from ablation.errors import UserError

BIAS, NORM = 1, 2
"""Parameters for each output channel: of a bias, of a batch norm."""


@dataclass
class Tally:
    """Parameters, MACs and activations of one image; layers are added one after another."""

    params: int = 0
    macs: int = 0
    activations: int = 0

    def conv(self, inputs: int, outputs: int, taps: int, pixels: int, groups: int = 1, more: int = NORM) -> None:
        """A convolution of `taps` (9: 3x3) that writes a map of `pixels`; `more`: parameters of each output channel
        beside its weights, of a bias or of the batch norm that follows."""
        weights = taps * (inputs // groups) * outputs
        self.params += weights + more * outputs
        self.macs += weights * pixels
        self.activations += outputs * pixels

    def norm(self, channels: int) -> None:
        """A batch norm that stands alone."""
        self.params += NORM * channels

    def linear(self, inputs: int, outputs: int) -> None:
        """A linear layer with a bias."""
        self.conv(inputs, outputs, 1, 1, more=BIAS)

    @property
    def total(self) -> tuple[int, int, int]:
        """(params, macs, activations), as a family's `cost` gives them."""
        return self.params, self.macs, self.activations


def halved(side: int) -> int:
    """The side of a map after stride 2: a 3x3 padded by 1, or a 1x1."""
    return (side - 1) // 2 + 1


def stages_of(text: str | int, name: str = "blocks") -> tuple[int, ...]:
    """`3-4-6-3` as (3, 4, 6, 3). Raises UserError."""
    parts = str(text).split("-")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"{name} must be whole numbers, one for each stage; got {text!r}", remedy="Such as 3-4-6-3.")
    return tuple(map(int, parts))
