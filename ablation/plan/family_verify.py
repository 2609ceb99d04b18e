"""A family's costs counted again by fvcore, which knows nothing of torch's own counter: on real tensors."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ablation.errors import UserError, first_line
from ablation.family import Family
from ablation.family.count import build, closed_form
from ablation.family.search import FamilySolution
from ablation.plan.verify import Counts, count_with_fvcore, differences

if TYPE_CHECKING:
    from torch import Tensor, nn

TORCH, FVCORE = "FlopCounterMode / 2", "fvcore"
PRODUCTS = ("matmul", "mm", "bmm", "baddbmm", "addmm", "einsum", "scaled_dot_product_attention")
"""Operators that multiply and add but are no layer: fvcore's `conv` and `linear` don't have them."""

PLAIN = {"matmul", "mm", "addmm", "einsum"}
"""Those that may be one product of two matrices, as a linear layer's is: torch's count can't tell them apart."""


@dataclass(frozen=True)
class FamilyCounts(Counts):
    """One network's costs; what fvcore does not count, by design, is told apart from a difference."""

    products: tuple[str, ...] = ()
    """Which of `PRODUCTS` the network has."""
    unseen: dict[str, int] = field(default_factory=dict)
    """By measure, how much more torch counts in such a network."""

    @property
    def equal(self) -> bool:
        """Whether all methods agree, to the integer, on what both of them count."""
        return not list(family_differences(self))

    @property
    def mark(self) -> str:
        """What a table says of that."""
        return "layers: yes" if self.equal and self.unseen else super().mark


def verify_family(family: Family, row: FamilySolution) -> FamilyCounts:
    """Hold what torch counted on the meta device against the network built in earnest, fvcore, and the closed form.

    Raises UserError where fvcore can't trace the network.
    """
    import torch

    design, said = row.design, closed_form(family, row.design.knobs, row.design.image)
    network = build(family, design.knobs, design.image).eval().to(memory_format=torch.channels_last)
    images = torch.zeros(1, design.channels, design.resolution, design.resolution)
    macs, activations, products = _by_fvcore(design.name, network, images.to(memory_format=torch.channels_last))
    built = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    found = {"params": {"built": built}, "macs": {FVCORE: macs}, "activations": {FVCORE: activations}}
    counts = {}
    for measure, others in found.items():
        stated = getattr(said, measure) if said else None
        form = {"closed form": stated} if stated is not None else {}
        counts[measure] = form | {TORCH if measure == "macs" else "meta device": getattr(row.cost, measure)} | others
    unseen = _unseen(row, macs, activations, products, _layers(family, row)) if products else {}
    return FamilyCounts(design.name, counts["params"], counts["macs"], counts["activations"], products, unseen)


def _unseen(row: FamilySolution, macs: int, activations: int, products: tuple[str, ...], layers: int) -> dict[str, int]:
    """What torch counts beyond fvcore's `macs` and `activations` because of the products; `layers`: its MACs of
    convolutions and plain matrix products, which are fvcore's own unless some of those are no linear layer."""
    plain = bool(set(products) & PLAIN)
    more = {"macs": row.cost.macs - macs} if macs == layers or (plain and macs < layers) else {}
    written = row.cost.activations - activations
    return more | ({"activations": written} if plain and written > 0 else {})


def _layers(family: Family, row: FamilySolution) -> int:
    """torch's MACs of the operators that layers become."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    design, aten = row.design, torch.ops.aten
    with torch.device("meta"):
        network = build(family, design.knobs, design.image).eval().to(memory_format=torch.channels_last)
        images = torch.zeros(1, design.channels, design.resolution, design.resolution)
        with FlopCounterMode(display=False) as counter:
            network(images.to(memory_format=torch.channels_last))
    found: dict[object, int] = dict(counter.get_flop_counts().get("Global", {}))
    return sum(found.get(operator, 0) for operator in (aten.convolution, aten.addmm, aten.mm)) // 2


def _by_fvcore(name: str, network: nn.Module, images: Tensor) -> tuple[int, int, tuple[str, ...]]:
    """MACs and activations of convolutions and linear layers, and which products the network has beside them."""
    try:
        macs, activations = count_with_fvcore(network, images)
        return macs, activations, _products(network, images)
    except Exception as error:
        raise UserError(
            f"fvcore can't count {name}: {type(error).__name__}: {first_line(error)}",
            remedy="It traces the network (torch.jit.trace); leave out --verify where that can't be done.",
        ) from None


def _products(network: nn.Module, images: Tensor) -> tuple[str, ...]:
    with warnings.catch_warnings():
        # fvcore decorates two functions with it at import; it still works
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        from fvcore.nn.jit_analysis import JitModelAnalysis

    analysis = JitModelAnalysis(network, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.total()
    found = {operator.removeprefix("aten::") for operator in analysis.unsupported_ops()}
    return tuple(name for name in PRODUCTS if name in found)


def family_differences(counts: FamilyCounts) -> Iterator[str]:
    """A line for each measure on which the methods disagree about what all of them count."""
    rest = {
        measure: {**getattr(counts, measure), FVCORE: getattr(counts, measure)[FVCORE] + counts.unseen.get(measure, 0)}
        for measure in ("macs", "activations")
    }
    return differences(Counts(counts.name, counts.params, **rest))


def unseen_lines(counts: list[FamilyCounts]) -> Iterator[str]:
    """What fvcore does not count, in words, for each network that has such operators."""
    words = {"macs": "MACs", "activations": "activations"}
    for row in counts:
        if row.unseen:
            much = " and ".join(f"{value:,} {words[measure]}" for measure, value in row.unseen.items())
            what = ", ".join(row.products)
            yield f"{row.name}: fvcore's conv and linear do not count {what}: {much}, which only torch counts."
