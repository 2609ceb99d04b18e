"""A budget: the cost that every design of a ladder has to meet."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ablation.cost import cost
from ablation.design import Design, design_from_name
from ablation.errors import UserError, did_you_mean

NAMED = {
    "resnet50": "resnet50_1x64d",
    "resnet101": "resnet101_1x64d",
    "resnet152": "resnet152_1x64d",
    "resnet200": "resnet200_1x64d",
    "wide_resnet50_2": "resnet50_1x128d",
    "wide_resnet101_2": "resnet101_1x128d",
    "resnet29": "resnext29_1x64d",
    "fashion": "resnet11_1x8d",
}
"""Budgets by name: the cost of a design. Any design's own name is a budget too."""

_SCALED = re.compile(r"(?P<scale>\d+(?:\.\d+)?)\*(?P<name>[^*]+)")


@dataclass(frozen=True)
class Budget:
    """A target cost, and the design whose blocks, outputs and stem a ladder keeps."""

    name: str
    base: Design
    params: int
    macs: int
    activations: int
    block_params: int | None
    """Parameters of one block (Table 2); None where the budget is not the cost of one design."""

    @property
    def default_match(self) -> str:
        """`block`, the paper's rule, where the budget is one design; else `both`."""
        return "both" if self.block_params is None else "block"


def parse_budget(text: str, base: Design | None = None) -> Budget:
    """`resnet50`, `2*resnet101`, or a design's name such as `resnext29_8x64d`, as a Budget.

    `base` replaces the named design where resolution, classes or channels are a data set's own.
    Raises UserError where the name is unknown or the scale is not positive.
    """
    scaled = _SCALED.fullmatch(text.replace(" ", ""))
    scale = float(scaled["scale"]) if scaled else 1.0
    if scale <= 0:
        raise UserError(f"budget {text!r}: the scale must be positive")
    design = base or budget_design(scaled["name"] if scaled else text)
    price = cost(design)
    return Budget(
        name=text,
        base=design,
        params=round(scale * price.params),
        macs=round(scale * price.macs),
        activations=round(scale * price.activations),
        block_params=price.block_params if scale == 1 else None,
    )


def budget_design(text: str) -> Design:
    """The design that a budget's name stands for, without its scale."""
    name = text.replace(" ", "")
    if scaled := _SCALED.fullmatch(name):
        name = scaled["name"]
    if name in NAMED:
        return design_from_name(NAMED[name])
    try:
        return design_from_name(name)
    except UserError as error:
        remedy = did_you_mean(name, list(NAMED))
        raise UserError(
            f"unknown budget {text!r}", remedy=f"{remedy} A design's name is a budget too: resnext50_32x4d."
        ) from error
