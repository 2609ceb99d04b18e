"""What a family's network costs: counted on the network itself, on the meta device, where nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ablation.cost import Cost
from ablation.errors import UserError, first_line
from ablation.family.declare import Family, Knobs, spelled
from ablation.family.design import FamilyDesign
from ablation.family.load import load_family, source_of

if TYPE_CHECKING:
    from torch import nn


def current(design: FamilyDesign) -> Family:
    """The family of a design. Raises UserError where its text (`source_of`) is no longer that of the design."""
    found = source_of(design.family)
    if found != design.source:
        raise UserError(
            f"the source of {design.family}, or of what it imports from beside it, has changed since this was planned "
            f"({design.source} then, {found} now)",
            remedy="It is another network: plan it again and launch that; or put the old text back.",
        )
    return load_family(design.family)


def build(family: Family, knobs: Knobs, image: dict[str, int]) -> nn.Module:
    """Call the family's function. Raises UserError, with its exception in one line, where that fails."""
    from torch import nn

    family.check(knobs)
    with _plainly(f"{family.name} fails to build at {spelled(knobs)}", "Mend it, or the knobs; see also multiple=."):
        network = family.function(**family.arguments(knobs, image))
    if not isinstance(network, nn.Module):
        raise UserError(
            f"{family.name} must return a torch.nn.Module; got {type(network).__name__}", remedy="Build it there."
        )
    return network


@contextmanager
def _plainly(what: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {type(error).__name__}: {first_line(error)}", remedy=remedy) from None


def count(family: Family, knobs: Knobs, image: dict[str, int]) -> Cost:
    """The cost of a network of the family, counted on the network.

    params: what is trained. macs: torch's FlopCounterMode forward, halved, of one image, attention included.
    activations: outputs of convolutions and linear layers. Raises UserError where it fails to build or to run, or
    does not give one row of `classes` logits for an image.
    """
    kinds = tuple((name, type(value).__name__, value) for name, value in sorted(knobs.items()))  # 1 is not 1.0 or True
    return _count(family, kinds, tuple(image.items()))


def price(family: Family, knobs: Knobs, image: dict[str, int]) -> Cost:
    """The cost by the family's own closed form where it gives one, else `count`."""
    return closed_form(family, knobs, image) or count(family, knobs, image)


def closed_form(family: Family, knobs: Knobs, image: dict[str, int]) -> Cost | None:
    """The cost that the family says itself; None where it doesn't. Raises UserError where that fails."""
    if family.cost is None:
        return None
    with _plainly(f"the closed form of {family.name} fails at {spelled(knobs)}", "Mend cost=, or leave it out."):
        said = family.cost(**family.arguments(knobs, image))
        if said is None:
            return None
        params, macs, *rest = said
        return Cost(params, macs, rest[0] if rest else None, None)


def checked(family: Family, knobs: Knobs, image: dict[str, int]) -> Cost:
    """The cost, counted; raises UserError where the family's closed form says another."""
    found, said = count(family, knobs, image), price(family, knobs, image)
    for measure in ("params", "macs", "activations"):
        stated, counted = getattr(said, measure), getattr(found, measure)
        if stated is not None and stated != counted:
            raise UserError(
                f"the closed form of {family.name} gives {stated} {measure} at {spelled(knobs)}; "
                f"its network has {counted}",
                remedy="Mend cost=, or leave it out: then the network is counted.",
            )
    return found


@lru_cache(maxsize=4096)
def _count(family: Family, knobs: tuple[tuple[str, str, Any], ...], image: tuple[tuple[str, int], ...]) -> Cost:
    import torch

    given, size = {name: value for name, _, value in knobs}, dict(image)
    what = f"{family.name} at {spelled(given)} fails on an image of {_shape(size)}"
    with torch.device("meta"):
        network = build(family, given, size).eval().to(memory_format=torch.channels_last)
        side = size["resolution"]
        images = torch.empty(1, size["channels"], side, side).to(memory_format=torch.channels_last)
        with _plainly(what, "Training gives channels-last images: reshape or flatten, don't view."):
            logits, flops, activations = _forward(network, images)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (1, size["classes"]):
        shown = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(
            f"{family.name} gives {shown} for one image; it must give [1, {size['classes']}]: one logit a class",
            remedy="Give the function a parameter `classes`, or declare @family(classes=...).",
        )
    params = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Cost(params, flops // 2, activations, None)


def check_resolution(design: FamilyDesign, resolution: int) -> None:
    """Raises UserError where the design's network, as built for its own images, can't see others of `resolution`."""
    import torch

    family = current(design)
    image = {**design.image, "resolution": resolution}
    what = f"{family.name}, built for {design.resolution} pixels, fails on an image of {_shape(image)}"
    with torch.device("meta"), torch.inference_mode():
        network = build(family, design.knobs, design.image).eval().to(memory_format=torch.channels_last)
        images = torch.empty(1, design.channels, resolution, resolution).to(memory_format=torch.channels_last)
        with _plainly(what, "Pool adaptively before the classifier, or leave that evaluation out."):
            network(images)


def _shape(image: dict[str, int]) -> str:
    return f"{image['channels']}x{image['resolution']}x{image['resolution']}"


def _forward(network: nn.Module, images: Any) -> tuple[Any, int, int]:
    """Logits, operations and written elements of one forward pass; gradients stay on: without them torch's attention
    takes a fused path that no counter sees."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    layers = {aten.convolution.default, aten.addmm.default, aten.mm.default}

    class Written(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            self.total += result.numel() if func in layers else 0
            return result

    with FlopCounterMode(display=False) as counter, Written() as written:
        logits = network(images)
    return logits, counter.get_total_flops(), written.total
