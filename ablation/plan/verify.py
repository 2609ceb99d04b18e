"""Costs counted again on the network itself, by two counters that know nothing of the closed form."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """Count `design` in closed form; with torch on the meta device; and with fvcore on real tensors."""
    import torch

    from ablation.network import Network

    price, shape = cost(design), (1, design.channels, design.resolution, design.resolution)
    with torch.device("meta"):
        params, torch_macs = count_with_torch(Network(design), torch.zeros(shape))
    with _one_thread():
        fvcore_macs, activations = count_with_fvcore(Network(design), torch.zeros(shape))
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
    """MACs and activations of convolutions and linear layers: fvcore counts batch norm and pooling too."""
    with warnings.catch_warnings():
        # fvcore decorates two functions with it at import; it still works
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    totals = []
    for analysis in (FlopCountAnalysis, ActivationCountAnalysis):
        counter = analysis(network.eval(), images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        operators = counter.by_operator()
        totals.append(int(operators["conv"] + operators["linear"]))
    return totals[0], totals[1]


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
