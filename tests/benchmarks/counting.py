"""Parameters and MACs: closed form against counters that build the network and run it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from measure import Comparison, alternate, seconds
from ptflops import get_model_complexity_info
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from torchvision.models import resnext50_32x4d

from ablation.cost import cost
from ablation.design import design_from_name

with warnings.catch_warnings():
    # fvcore decorates two functions with it at import; it still works
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    from fvcore.nn import FlopCountAnalysis

    warnings.filterwarnings("ignore", "distutils Version classes", DeprecationWarning)  # thop, likewise
    import thop

NAME = "resnext50_32x4d"
MANY, ONE_BY_ONE = 1_000_000, 20_000
Counts = tuple[int, int]
"""Parameters, MACs."""
Counter = Callable[[], Counts]


def compare(quick: bool) -> list[Comparison]:
    """Every comparison of this benchmark. Raises ArithmeticError where a counter is not as far off as it is known to
    be."""
    repeats = 2 if quick else 7
    rivals: dict[str, tuple[Counter, bool]] = {
        "fvcore's conv and linear": (by_fvcore, True),
        "FlopCounterMode, network and images on meta,": (by_flop_counter, True),
        "thop": (by_thop, False),
        "ptflops": (lambda: by_ptflops("pytorch"), False),
        "ptflops, its aten backend": (lambda: by_ptflops("aten"), False),
    }
    counted = [_one(other, rival, right, repeats) for other, (rival, right) in rivals.items()]
    return [*counted, _training(repeats), _many(min(repeats, 3))]


def _one(other: str, rival: Counter, right: bool, repeats: int) -> Comparison:
    (params, macs), (true_params, true_macs) = rival(), closed_form()
    if params != true_params or right != (macs == true_macs):
        raise ArithmeticError(f"{other}: {params}, {macs}; closed form: {closed_form()}")
    pairs = alternate(lambda: 1e3 * seconds(closed_form, 2_000), lambda: 1e3 * seconds(rival), repeats)
    other = f"torchvision's network, built and counted by {other} {_told(macs, true_macs)}"
    return Comparison(f"count {NAME}", "its name read, closed form", other, "ms", pairs)


def _told(counted: int, true: int) -> str:
    """How far off a count is."""
    if counted == true:
        return "(the same integers)"
    return f"(MACs {abs(counted / true - 1):.2%} too {'high' if counted > true else 'low'}: {counted - true:+,})"


def _training(repeats: int) -> Comparison:
    """FLOPs of a training step, for one image."""
    true = training_flops()
    counted = by_flop_counter_in_training()
    pairs = alternate(
        lambda: 1e3 * seconds(training_flops, 2_000), lambda: 1e3 * seconds(by_flop_counter_in_training), repeats
    )
    other = f"FlopCounterMode, forward and backward on meta {_told(counted, true).replace('MACs', 'FLOPs')}"
    return Comparison(f"FLOPs of training {NAME}", "closed form", other, "ms", pairs)


def training_flops() -> int:
    """Two for a MAC; forward, weight gradients and input gradients, but for the images' own."""
    design = design_from_name(NAME)
    price = cost(design)
    stem = 7 * 7 * design.channels * design.stem_width * (design.resolution // 2) ** 2
    return 2 * (3 * price.macs - stem)


def by_flop_counter_in_training(name: str = NAME) -> int:
    """FLOPs of a forward and a backward pass of one image."""
    with torch.device("meta"):
        network, images = getattr(models, name)(), torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        network(images).sum().backward()
    return counter.get_total_flops()


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


def by_thop() -> Counts:
    """Hooks on modules: batch norm and pooling are counted as MACs, too."""
    macs, params = thop.profile(resnext50_32x4d().eval(), (torch.zeros(1, 3, 224, 224),), verbose=False)
    return int(params), int(macs)


def by_ptflops(backend: str) -> Counts:
    """Hooks on modules, or on the operators that they call (`aten`); the last layer's bias is counted by both."""
    macs, params = get_model_complexity_info(
        resnext50_32x4d().eval(),
        (3, 224, 224),
        as_strings=False,
        print_per_layer_stat=False,
        verbose=False,
        backend=backend,
    )
    return int(params), int(macs)


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
