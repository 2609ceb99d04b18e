"""A family: a function that builds a network from knobs, and which of them is solved for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablation.errors import UserError, did_you_mean

Knobs = dict[str, Any]
IMAGE = {"channels": 3, "resolution": 224, "classes": 1000}
"""What the images decide, and what is taken where neither the family nor the budget says it."""
HOW_MULTIPLE = "Declare @family(multiple=8), or a callable of the other knobs that gives such a number."
ATTRIBUTE = "__ablation_family__"


@dataclass(frozen=True)
class Family:
    """A function with knobs, and what its decorator says of it."""

    name: str
    """As it is named in YAML: `mylab.blocks:convnext` or `blocks.py:convnext`."""
    function: Callable[..., Any]
    solve: str | None
    """The knob that is solved for, a whole number that the cost grows with; None: it has one size."""
    axes: tuple[str, ...]
    multiple: int | Callable[[Knobs], int]
    """What the solved knob is a multiple of; a callable is given the other knobs."""
    cost: Callable[..., Any] | None
    """The closed form: called like the function, it gives (params, macs) or (params, macs, activations), or None where
    it does not say."""
    image: Mapping[str, int] = field(default_factory=dict, hash=False)
    """The image fields that the network is made for, where it is made for one size."""
    widths: tuple[str, ...] = ()
    """Other knobs that are widths: a small twin divides them."""

    @property
    def knobs(self) -> list[str]:
        """The function's parameters less those that the images decide, in its order."""
        return [name for name in inspect.signature(self.function).parameters if name not in IMAGE]

    def complete(self, knobs: Knobs) -> Knobs:
        """These knobs, and the function's defaults for those that are left out."""
        parameters = inspect.signature(self.function).parameters
        usual = {name: parameters[name].default for name in self.knobs}
        return {name: value for name, value in usual.items() if value is not inspect.Parameter.empty} | knobs

    def step(self, knobs: Knobs) -> int:
        """What the solved knob is a multiple of, beside these other knobs. Raises UserError."""
        try:
            step = self.multiple(dict(knobs)) if callable(self.multiple) else self.multiple
        except KeyError as error:
            raise UserError(
                f"multiple of {self.name} asks for the knob {error}, which is not given", remedy=f"Give {error}."
            ) from None
        if isinstance(step, bool) or not isinstance(step, int) or step < 1:
            raise UserError(
                f"multiple of {self.name} must be a whole number of at least 1; got {step!r}", remedy=HOW_MULTIPLE
            )
        return step

    def check(self, knobs: Knobs, *, free: bool = False) -> None:
        """Raises UserError where a knob is unknown or missing; `free`: where the solved one is yet to be found."""
        for knob in knobs:
            if knob in IMAGE:
                raise UserError(f"{knob} of {self.name} is no knob", remedy="The budget or the data set says it.")
            if knob not in self.knobs:
                raise UserError(f"{self.name} has no knob {knob!r}", remedy=did_you_mean(knob, self.knobs))
        if free and self.solve in knobs:
            raise UserError(f"{self.solve} of {self.name} is solved for", remedy=f"Leave out {self.solve}.")
        parameters = inspect.signature(self.function).parameters
        needed = [name for name in self.knobs if parameters[name].default is inspect.Parameter.empty]
        missing = [name for name in needed if name not in knobs and not (free and name == self.solve)]
        if missing:
            raise UserError(
                f"{self.name} needs a value of {', '.join(missing)}",
                remedy=f"Give it: --axis {missing[0]}=VALUE, or in a sweep knobs: {{{missing[0]}: VALUE}}.",
            )

    def images(self, given: Mapping[str, int]) -> dict[str, int]:
        """The image fields: what the decorator declares, else those given, else the function's defaults."""
        parameters = inspect.signature(self.function).parameters
        usual = {name: parameters[name].default for name in IMAGE if name in parameters}
        own = {name: value for name, value in usual.items() if isinstance(value, int)}
        return {**IMAGE, **own, **given, **self.image}

    def arguments(self, knobs: Knobs, image: Mapping[str, int]) -> Knobs:
        """What the function is called with: knobs, and the image fields that it has parameters for."""
        parameters = inspect.signature(self.function).parameters
        return {**knobs, **{name: value for name, value in image.items() if name in parameters}}


def family(
    solve: str | None = "width",
    axes: Sequence[str] = (),
    *,
    multiple: int | Callable[[Knobs], int] = 1,
    cost: Callable[..., Any] | None = None,
    channels: int | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    widths: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare that a function builds a network from knobs: `solve` is solved for (None: nothing is, the network has one
    size), `axes` are compared.

    The function's parameters are the knobs; those with a default may be left out. Parameters named `channels`,
    `resolution` and `classes` are given what the budget or the data set says. A network that is made for one kind of
    image says so here instead. `multiple`: the solved knob is a multiple of it (a number, or a callable of the other
    knobs, such as `lambda knobs: knobs["heads"]`). `cost`: a closed form, called with the function's own arguments,
    that gives (params, macs) or (params, macs, activations); without one, or where it gives None, the network is
    counted on the meta device. `widths`: knobs beside the solved one that a sweep's small twin divides (and a knob
    `stem` that is a word becomes `small`). Raises UserError where `solve`, an axis or a width is no parameter of the
    function. The function stays callable as it was.
    """
    given = {"channels": channels, "resolution": resolution, "classes": classes}
    image = {name: value for name, value in given.items() if value is not None}

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        own = Family(function.__name__, function, solve, tuple(axes), multiple, cost, image, tuple(widths))
        for kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
            if any(parameter.kind is kind for parameter in inspect.signature(function).parameters.values()):
                raise UserError(f"family {own.name}: every knob must have a name", remedy="Replace * and ** by names.")
        for knob in (*([] if solve is None else [solve]), *axes, *widths):
            if knob not in own.knobs:
                raise UserError(f"family {own.name} has no parameter {knob!r}", remedy=did_you_mean(knob, own.knobs))
        setattr(function, ATTRIBUTE, own)
        return function

    return declare


def spelled(knobs: Mapping[str, Any]) -> str:
    """Knobs in words: `width=40, expansion=4`."""
    return ", ".join(f"{name}={value}" for name, value in knobs.items())
