"""Costs counted again on the network itself, by two counters that know nothing of the closed form."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablation.cost import cost
from ablation.design import Design

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Counts:
    """One design's costs, each by every method that can count it."""

    name: str
    params: dict[str, int]
    macs: dict[str, int]
    activations: dict[str, int]

    @property
    def equal(self) -> bool:
        """Whether all methods agree, to the integer."""
        return all(len(set(counts.values())) == 1 for counts in (self.params, self.macs, self.activations))

    @property
    def mark(self) -> str:
        """What a table says of that."""
        return "yes" if self.equal else "NO"


def verify(design: Design) -> Counts:
    """Count `design` in closed form; and the network built of it with torch and with fvcore."""
    import torch

    from ablation.network import Network

    price, images = cost(design), torch.zeros(1, design.channels, design.resolution, design.resolution)
    network = Network(design)
    with _one_thread():
        params, torch_macs = count_with_torch(network, images)
        fvcore_macs, activations = count_with_fvcore(network, images)
    return Counts(
        name=design.name,
        params={"closed form": price.params, "built": params},
        macs={"closed form": price.macs, "FlopCounterMode / 2": torch_macs, "fvcore": fvcore_macs},
        activations={"closed form": price.activations, "fvcore": activations},
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Where the cores are busy, threads that wait for each other made this take five times as long."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def count_with_torch(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """Parameters, and the MACs of one forward pass: torch counts a multiplication and an addition as two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(images)
    flops = counter.get_total_flops()
    if flops % 2:
        raise ArithmeticError(f"an odd number of operations: {flops}")
    return sum(parameter.numel() for parameter in network.parameters()), flops // 2


def count_with_fvcore(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """MACs and activations of convolutions and linear layers, by fvcore's own handles for them, from one trace.

    Its two analyses would trace twice; and they count batch norm and pooling too.
    """
    with warnings.catch_warnings():
        # fvcore decorates two functions with it at import; it still works
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        from fvcore.nn.jit_analysis import JitModelAnalysis
        from fvcore.nn.jit_handles import conv_flop_jit, linear_flop_jit

    analysis = JitModelAnalysis(network.eval(), images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::_convolution", _handle(conv_flop_jit), "aten::linear", _handle(linear_flop_jit))
    found = analysis.by_operator()
    return int(found["macs"]), int(found["activations"])


def _handle(flops: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Counter[str]]:
    """One of fvcore's counts of multiply-adds, and beside it what the operator writes."""
    from fvcore.nn.jit_handles import generic_activation_jit

    written = generic_activation_jit()

    def both(inputs: Any, outputs: Any) -> Counter[str]:
        macs = flops(inputs, outputs)  # a convolution's are a Counter of one entry, a linear layer's a number
        return Counter(
            macs=int(sum(macs.values()) if isinstance(macs, Counter) else macs), activations=written([], outputs)
        )

    return both


def differences(counts: Counts) -> Iterator[str]:
    """A line for each measure on which the methods disagree."""
    for measure in ("params", "macs", "activations"):
        found: dict[str, int] = getattr(counts, measure)
        if len(set(found.values())) > 1:
            yield f"{measure} of {counts.name} differ: " + ", ".join(f"{how} {n:,}" for how, n in found.items())


def show_counts(counts: Sequence[Counts]) -> None:
    """Print a row for each design: what every method counts."""
    from rich.table import Table

    from ablation.plan.table import print_table

    table = Table(title="Counted again on the networks themselves", title_justify="left")
    table.add_column("design")
    for measure, name in (("params", "params"), ("macs", "MACs"), ("activations", "activations")):
        for how in getattr(counts[0], measure):
            table.add_column(f"{name}:\n{how}", justify="right")
    table.add_column("equal")
    for row in counts:
        found = [*row.params.values(), *row.macs.values(), *row.activations.values()]
        table.add_row(row.name, *(f"{n:,}" for n in found), row.mark)
    print_table(table)
