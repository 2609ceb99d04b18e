"""What limits a training step on the CPU: each operation's time beside what arithmetic and memory would allow.

    python tests/benchmarks/roofline.py resnext11_4x3d --precision bf16

Peaks are measured here: a large matrix product, and a copy of a map as large as a layer's, which stays in the cache.
Of one thread the time that it had is counted, so that others on the machine don't enter.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[2]))

from ablation.design import design_from_name
from ablation.execution import Execution, device_name
from ablation.kernels import measure
from ablation.packing import layers_of_design
from ablation.stopwatch import Timer

STEPS = 5
FORWARD, BACKWARD = "aten.convolution.default", "aten.convolution_backward.default"


@dataclass
class Spent:
    """What the calls of one kind took in a step."""

    calls: float = 0.0
    seconds: float = 0.0
    macs: float = 0.0
    bytes: float = 0.0

    def add(self, calls: float, seconds: float, macs: float, size: float) -> None:
        """Count some more."""
        self.calls, self.seconds = self.calls + calls, self.seconds + seconds
        self.macs, self.bytes = self.macs + macs, self.bytes + size


class Watch(TorchDispatchMode):
    """Times every operation of `STEPS` steps."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.clock, self.spent = clock, collections.defaultdict[tuple[str, str], Spent](Spent)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        start = self.clock()
        result = func(*args, **(kwargs or {}))
        seconds = self.clock() - start
        outputs = [value for value in (result if isinstance(result, tuple) else (result,)) if isinstance(value, Tensor)]
        inputs = [value for value in args if isinstance(value, Tensor)]
        size = sum(value.numel() * value.element_size() for value in inputs + outputs)
        shapes = " ".join("x".join(map(str, value.shape)) for value in inputs if value.ndim == 4)
        part = 1 / STEPS
        self.spent[str(func), shapes].add(part, seconds * part, _macs(str(func), args, outputs) * part, size * part)
        return result


def _macs(name: str, args: Any, outputs: list[Tensor]) -> int:
    if name == FORWARD:
        return outputs[0].numel() * args[1][0].numel()
    if name == BACKWARD:
        wanted = sum(args[-1][:2])
        return wanted * args[0].numel() * args[2][0].numel()
    return 0


def peaks(dtype: torch.dtype, elements: int, clock: Callable[[], float]) -> tuple[float, float]:
    """MACs a second of a matrix product, and bytes a second of a copy of so many elements."""
    a, x = torch.ones(1024, 1024, dtype=dtype), torch.ones(elements, dtype=dtype)
    product = _fastest(lambda: a @ a, clock)
    copy = _fastest(lambda: x.clone(), clock)
    return 1024**3 / product, 2 * x.numel() * x.element_size() / copy


def _fastest(work: Callable[[], object], clock: Callable[[], float]) -> float:
    found = []
    for _ in range(20):
        start = clock()
        work()
        found.append(clock() - start)
    return statistics.median(found[5:])


def execution_of(name: str, precision: str, threads: int, batch: int, packed: bool) -> Execution:
    """Native, or with each grouped convolution in its fastest way."""
    execution = Execution("cpu", precision, threads)
    execution.apply()
    kernels = []
    for layer in layers_of_design(design_from_name(name)) if packed else ():
        way = measure(layer, execution, batch)["chosen"]
        kernels += [(layer.name, way)] if way != layer.way(1) else []
    return replace(execution, kernels=tuple(kernels))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("design")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--native", action="store_true", help="grouped convolutions as they are written")
    parser.add_argument("--rows", type=int, default=12)
    args = parser.parse_args()
    clock = time.process_time if args.threads == 1 else time.perf_counter
    execution = execution_of(args.design, args.precision, args.threads, args.batch, not args.native)
    timer = Timer(design_from_name(args.design), execution, args.batch)
    timer.seconds(3)
    with Watch(clock) as watch:
        timer.seconds(STEPS)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    peak = peaks(dtype, args.batch * 16 * 14 * 14, clock)
    print(f"{args.design}, batch {args.batch}, {args.precision}, {args.threads} threads, {device_name('cpu')}")
    print(f"peaks here: {peak[0] / 1e9:.0f} GMAC/s, {peak[1] / 1e9:.0f} GB/s; kernels {dict(execution.kernels)}")
    _print(watch.spent, peak, args.rows)


def _print(spent: dict[tuple[str, str], Spent], peak: tuple[float, float], rows: int) -> None:
    total = sum(one.seconds for one in spent.values())
    kinds = collections.defaultdict[str, Spent](Spent)
    for (name, _), one in spent.items():
        kinds[name].add(one.calls, one.seconds, one.macs, one.bytes)
    print(f"a step: {1e3 * total:.2f} ms")
    for title, table in (("kind", kinds), ("layer", {" ".join(key): one for key, one in spent.items()})):
        print(f"{'ms':>8} {'of step':>8} {'calls':>6} {'roofline':>9}  {title}")
        for name, one in sorted(table.items(), key=lambda item: -item[1].seconds)[:rows]:
            best = max(one.macs / peak[0], one.bytes / peak[1])
            share = f"{best / one.seconds:9.0%}" if one.seconds else " " * 9
            print(f"{1e3 * one.seconds:8.3f} {one.seconds / total:8.1%} {one.calls:6.0f} {share}  {name}")


if __name__ == "__main__":
    main()
