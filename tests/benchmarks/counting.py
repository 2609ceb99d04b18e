"""Parameters and MACs: closed form against counters that build the network and run it."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from measure import Comparison, alternate, seconds
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnext50_32x4d

from ablation.cost import cost
from ablation.design import design_from_name

with warnings.catch_warnings():
    # fvcore decorates two functions with it at import; it still works
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    from fvcore.nn import FlopCountAnalysis

NAME = "resnext50_32x4d"
MANY, ONE_BY_ONE = 1_000_000, 20_000
Counts = tuple[int, int]
"""Parameters, MACs."""


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark."""
    repeats = 2 if quick else 9
    rivals = {
        "torchvision's network, built and counted by fvcore": by_fvcore,
        "torchvision's network, built and counted by FlopCounterMode, both on meta": by_flop_counter,
    }
    return [*(_one(other, rival, repeats) for other, rival in rivals.items()), _many(repeats)]


def _one(other: str, rival: object, repeats: int) -> Comparison:
    if rival() != closed_form():
        raise ArithmeticError(f"{other}: {rival()}; closed form: {closed_form()}")
    pairs = alternate(lambda: 1e3 * seconds(closed_form, 2_000), lambda: 1e3 * seconds(rival), repeats)
    return Comparison(f"count {NAME}", "its name read, closed form", other, "ms", pairs)


def closed_form() -> Counts:
    """From the name."""
    price = cost(design_from_name(NAME))
    return price.params, price.macs


def by_fvcore() -> Counts:
    """On real tensors: fvcore fails on meta. It counts batch norm and pooling too, so two operators are picked."""
    network = resnext50_32x4d().eval()
    counter = FlopCountAnalysis(network, torch.zeros(1, 3, 224, 224))
    operators = counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    return _parameters(network), int(operators["conv"] + operators["linear"])


def by_flop_counter() -> Counts:
    """On meta, where nothing is computed; torch counts a multiplication and an addition as two."""
    with torch.device("meta"):
        network, images = resnext50_32x4d().eval(), torch.zeros(1, 3, 224, 224)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    return _parameters(network), counter.get_total_flops() // 2


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _many(repeats: int) -> Comparison:
    """A million designs of random cardinality and widths."""
    base, random = design_from_name(NAME), np.random.default_rng(0)
    paths = random.integers(1, 65, MANY)
    widths = random.integers(1, 129, (len(base.blocks), MANY))
    singles = [(int(c), tuple(map(int, w))) for c, w in zip(paths, widths.T[:ONE_BY_ONE], strict=False)]

    def arrays() -> np.ndarray:
        return cost(base, cardinality=paths, widths=widths).macs

    def one_by_one() -> list[int]:
        return [cost(base, cardinality=c, widths=w).macs for c, w in singles]

    if arrays()[:ONE_BY_ONE].tolist() != one_by_one():
        raise ArithmeticError("arrays and integers give other costs")
    pairs = alternate(lambda: seconds(arrays), lambda: seconds(one_by_one) * MANY / ONE_BY_ONE, repeats)
    other = f"the same closed form, one design at a time ({ONE_BY_ONE:,} timed, scaled up)"
    return Comparison(f"count {MANY:,} designs", "one call on arrays", other, "s", pairs)
