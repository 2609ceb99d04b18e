"""A member of a family: what an arm and a run hold in a Design's place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ablation.cost import Cost, cost
from ablation.design import Design
from ablation.errors import UserError
from ablation.family.declare import Knobs, spelled
from ablation.family.load import split_name


@dataclass(frozen=True)
class FamilyDesign:
    """One network of a family. Nothing of the family's module is run until it is counted or built."""

    family: str
    """`mylab.blocks:convnext` or `path/to/blocks.py:convnext`."""
    values: tuple[tuple[str, Any], ...]
    """The knobs that are given, by name; the others have the function's defaults."""
    source: str
    """Digest of the text of its module and of those beside it (`source_of`): another text is another network."""
    classes: int = 1000
    resolution: int = 224
    channels: int = 3

    @property
    def knobs(self) -> Knobs:
        """The knobs that are given."""
        return dict(self.values)

    @property
    def image(self) -> dict[str, int]:
        """Channels, resolution and classes."""
        return {"channels": self.channels, "resolution": self.resolution, "classes": self.classes}

    @property
    def name(self) -> str:
        """`convnext_expansion4_width40`: a folder's name too, so that only plain characters enter."""
        parts = [split_name(self.family)[1], *(f"{name}{value}" for name, value in self.values)]
        return "_".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part) for part in parts)

    @property
    def cardinality(self) -> None:
        """A family has no C of its own."""
        return None

    @property
    def width(self) -> str:
        """The knobs in words, where a table has a design's d."""
        return spelled(self.knobs)

    @property
    def group_widths(self) -> tuple[int, ...]:
        """None: a family has no paths."""
        return ()

    def at(self, knob: str, value: Any) -> FamilyDesign:
        """The design with another value of a knob."""
        return replace(self, values=tuple(sorted({**self.knobs, knob: value}.items())))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `run.json` holds them."""
        return {"family": self.family, "knobs": self.knobs, "source": self.source, **self.image}

    def identity(self) -> dict[str, Any]:
        """What a run's id digests: not where the module lies, but what it says."""
        return {**self.to_dict(), "family": split_name(self.family)[1]}


Architecture = Design | FamilyDesign


def family_design(family: str, knobs: Knobs, source: str, **image: int) -> FamilyDesign:
    """A FamilyDesign from plain values. Raises UserError where a knob is no plain value."""
    split_name(family)
    for name, value in knobs.items():
        if not isinstance(value, bool | int | float | str):
            raise UserError(f"knob {name} must be a number, a word or true or false; got {value!r}")
    return FamilyDesign(family, tuple(sorted(knobs.items())), source, **image)


def family_design_from_dict(fields: dict[str, Any]) -> FamilyDesign:
    """The inverse of `FamilyDesign.to_dict`."""
    return family_design(**fields)


def cost_of(design: Architecture) -> Cost:
    """In closed form, or counted on the network (which needs torch). Raises UserError where it can't be built."""
    if isinstance(design, Design):
        return cost(design)
    from ablation.family.count import count, current

    return count(current(design), design.knobs, design.image)
