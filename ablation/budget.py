"""A budget: the cost that every design of a ladder has to meet."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from ablation.cost import basic_cost, cost, memory
from ablation.design import Design, design_from_name
from ablation.errors import UserError, did_you_mean

NAMED = {
    "resnet50": "resnet50_1x64d",
    "resnet101": "resnet101_1x64d",
    "resnet152": "resnet152_1x64d",
    "resnet200": "resnet200_1x64d",
    "wide_resnet50_2": "resnet50_1x128d",
    "wide_resnet101_2": "resnet101_1x128d",
    "resnext50_32x4d": "resnext50_32x4d",
    "resnext101_32x8d": "resnext101_32x8d",
    "resnext101_64x4d": "resnext101_64x4d",
    "resnet29": "resnext29_1x64d",
    "resnext29_8x64d": "resnext29_8x64d",
    "resnext29_16x64d": "resnext29_16x64d",
    "fashion": "resnet11_1x8d",
}
"""Budgets by name: the cost of a design. Any design's own name is a budget too."""

BASIC = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Costs without designs: blocks of two 3x3 convolutions, which have no paths to count (paper, section 3.3)."""

USUAL_BASE = "resnet50"
"""Whose shape designs have at a budget of bare numbers."""

UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
STATED = ("params", "macs", "activations")
_SCALED = re.compile(r"(?P<scale>\d+(?:\.\d+)?)\*(?P<name>[^*]+)")
_NUMBER = re.compile(r"(?P<number>[-+]?\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?P<unit>[kmg]?)", re.IGNORECASE)


@dataclass(frozen=True)
class Budget:
    """A target cost, and the design whose blocks, outputs and stem a ladder keeps."""

    name: str
    base: Design
    params: int | None
    """None where the budget doesn't say; so are the others."""
    macs: int | None
    activations: int | None
    block_params: int | None
    """Parameters of one block (Table 2); None where the budget is not the cost of one design."""
    of: Any = None
    """The design whose cost this is, `scale` times; None for bare numbers and basic nets."""
    scale: float = 1.0

    @property
    def default_match(self) -> str:
        """`block`, the paper's rule, where the budget is one design; else `both`, or the one measure that it states."""
        if self.block_params is not None:
            return "block"
        stated = [measure for measure in STATED if getattr(self, measure) is not None]
        return "both" if {"params", "macs"} <= set(stated) else stated[0]

    @property
    def memory(self) -> int | None:
        """Bytes of a training step of `BATCH` images at this budget, as `ablation.cost.memory` counts them."""
        return None if self.params is None or self.activations is None else memory(self.params, self.activations)


def parse_budget(text: str, base: Design | None = None) -> Budget:
    """A Budget from its name.

    `resnet50`; `2*resnet101`; a design's name such as `resnext29_8x64d`; numbers, `params=25M,macs=4.1G` (and
    `activations=11M`; any of them). After any of these, `,base=resnet101` names the design whose shape a ladder
    keeps; `resnet18` and `resnet34` need one. `base` replaces the named design where resolution, classes or channels
    are a data set's own. Raises UserError where the text can't be read or a number is not positive.
    """
    head, _ = _split(text)
    design = base or budget_design(text)
    if "=" in head:
        stated = _numbers(text, head)
        return Budget(text, design, stated["params"], stated["macs"], stated["activations"], block_params=None)
    scale, name = _scale(text, head)
    own = None if name in BASIC else _own(name, design, asked=text.replace(" ", "") == head)
    price = cost(own) if own else basic_cost(BASIC[name], **_images(design))
    return Budget(
        name=text,
        base=design,
        params=round(scale * price.params),
        macs=round(scale * price.macs),
        activations=round(scale * price.activations),
        block_params=price.block_params if scale == 1 else None,
        of=own,
        scale=scale,
    )


def scaled(budget: Budget, scale: float) -> Budget:
    """The budget `scale` times as large, under a name that `parse_budget` reads."""
    if scale == 1:
        return budget
    if not (math.isfinite(scale) and scale > 0):
        raise UserError(f"scale must be above 0; got {scale:g}", remedy="1 is the budget itself, 2 twice as much.")
    targets = {measure: getattr(budget, measure) for measure in STATED if getattr(budget, measure) is not None}
    targets = {measure: round(scale * value) for measure, value in targets.items()}
    head, shape = _split(budget.name)
    if "=" in head:
        name = ",".join(f"{measure}={value}" for measure, value in targets.items())
    else:
        times, plain = _scale(budget.name, head)
        name = f"{scale * times:.12g}*{plain}"
    times = scale * budget.scale
    return replace(budget, name=name + (f",base={shape}" if shape else ""), **targets, block_params=None, scale=times)


def budget_design(text: str) -> Design:
    """The design that a budget's name stands for, without its scale; the one after `base=` where that is given."""
    head, shape = _split(text)
    if shape:
        return _named(shape)
    if "=" in head:
        return _named(USUAL_BASE)
    name = _scale(text, head)[1]
    if name in BASIC:
        raise UserError(
            f"{name} has blocks of two layers: split into paths they are one wide, dense block (paper, section 3.3), "
            "so no cardinality can be solved for",
            remedy=f"To spend its cost on bottleneck blocks, name their shape: {head},base=resnet50 (or --base).",
        )
    return _named(name, text)


def _split(text: str) -> tuple[str, str]:
    """The budget proper, and the name after `,base=` (or nothing); without spaces."""
    head, _, base = text.replace(" ", "").partition(",base=")
    return head, base


def _scale(text: str, head: str) -> tuple[float, str]:
    match = _SCALED.fullmatch(head)
    scale = float(match["scale"]) if match else 1.0
    if scale <= 0:
        raise UserError(f"budget {text!r}: the scale must be positive")
    return scale, match["name"] if match else head


def _own(name: str, base: Design, asked: bool) -> Design:
    """The design that is named, for the images and classes of `base`; which it is itself where no other was asked."""
    return base if asked else replace(_named(name), **_images(base))


def _images(base: Design) -> dict[str, Any]:
    return {"resolution": base.resolution, "classes": base.classes, "channels": base.channels}


def _named(name: str, text: str | None = None) -> Design:
    if name in NAMED:
        return design_from_name(NAMED[name])
    try:
        return design_from_name(name)
    except UserError as error:
        remedy = did_you_mean(name, [*NAMED, *BASIC])
        raise UserError(
            f"unknown budget {text or name!r}",
            remedy=f"{remedy} A design's name is a budget too: resnext50_32x4d; or params=25M,macs=4.1G.",
        ) from error


def _numbers(text: str, head: str) -> dict[str, int | None]:
    found: dict[str, int | None] = dict.fromkeys(STATED)
    for item in head.split(","):
        measure, _, value = item.partition("=")
        if measure not in STATED:
            raise UserError(f"budget {text!r} states {measure!r}", remedy=did_you_mean(measure, [*STATED, "base"]))
        if found[measure] is not None:
            raise UserError(f"budget {text!r} states {measure} twice", remedy="State it once.")
        found[measure] = _whole(text, measure, value)
    return found


def _whole(text: str, measure: str, value: str) -> int:
    match = _NUMBER.fullmatch(value)
    if not match:
        raise UserError(f"budget {text!r}: {measure} {value!r} is no number", remedy="Write it like 25M, 4.1G or 25e6.")
    number = round(float(match["number"]) * UNITS[match["unit"].lower()])
    if number < 1:
        raise UserError(
            f"budget {text!r}: {measure} must be positive, got {value}", remedy="Write it like 25M or 4.1G."
        )
    return number
