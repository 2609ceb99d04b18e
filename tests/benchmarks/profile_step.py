"""Command: where a training step's time goes, layer kind by layer kind, beside what the machine could do.

Each distinct layer of a design is timed alone, forward and backward, on tensors like those that reach it in training.
Its floor is the longer of two times: its FLOPs at the rate of a large matrix product, its bytes at the rate of a large
copy, both measured first, at the same precision and number of threads. The share is floor over time. It can pass 100%
where tensors stay in a cache, which the large copy does not.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor, nn

from ablation.dataset import Dataset
from ablation.design import design_from_name
from ablation.execution import Execution, choose_execution, device_name
from ablation.kernels import measure
from ablation.packing import PackedConv2d, layers_of_design
from ablation.stopwatch import Timer

LONG_ENOUGH, REPEATS = 0.03, 5
"""Seconds of one timing; timings, of which the median counts."""
SIDE, COPIED = 1_024, 1 << 27
"""Of the matrices; bytes of the copy."""


@dataclass(frozen=True)
class Shape:
    """What makes two layers the same work."""

    kind: str
    module: str
    image: tuple[int, ...]


@dataclass
class Row:
    """A kind of layer in one training step."""

    layers: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    moved: float = 0.0
    """Bytes."""
    floor: float = 0.0
    """Seconds at the machine's rates."""


def main() -> None:
    """Measure the machine, then the layers, then print the table."""
    options = parse()
    execution = choose_execution(options.precision, options.threads, None if options.device == "cuda" else 0)
    execution.apply()
    design = Dataset.model_validate(options.dataset).fit(design_from_name(options.design))
    if options.kernels == "measured":
        found = ((layer, measure(layer, execution, options.batch)["chosen"]) for layer in layers_of_design(design))
        execution = replace(execution, kernels=tuple((layer.name, way) for layer, way in found if way != layer.way(1)))
    clock = Clock(execution)
    peak, bandwidth = clock.peak(), clock.bandwidth()
    print(f"{device_name(execution.device)}, {options.precision}, {options.threads} threads, batch {options.batch}")
    print(f"matrix product {peak / 1e9:,.0f} GFLOP/s, copy {bandwidth / 1e9:,.1f} GB/s (read and written)")
    timer = Timer(design, execution, options.batch)
    timer.seconds(2)
    whole = median(timer.seconds(1) for _ in range(2 * REPEATS + 1))
    rows: dict[str, Row] = defaultdict(Row)
    for (shape, module, like), count in layers(timer).items():
        add(rows[shape.kind], count, clock.layer(module, like), work(module, like), peak, bandwidth)
    print(table(design.name, rows, whole))


def parse() -> argparse.Namespace:
    """What was asked for."""
    example = "Example: python tests/benchmarks/profile_step.py resnext11_4x3d --threads 2"
    parser = argparse.ArgumentParser(description=__doc__, epilog=example)
    parser.add_argument("design", help="a design's name, such as resnext50_32x4d")
    parser.add_argument("--dataset", default="fashion_mnist", help="whose images: fashion_mnist, cifar10, imagenet")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", default="measured", choices=("measured", "native"), help="as in a sweep")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    return parser.parse_args()


class Clock:
    """Times work on a device."""

    def __init__(self, execution: Execution) -> None:
        self.execution, self.device = execution, execution.device
        self.dtype = torch.bfloat16 if execution.precision == "bf16" else torch.float32

    def seconds(self, work: Callable[[], object]) -> float:
        """Of one call: the median of several timings, each long enough."""
        work()
        times = max(1, int(LONG_ENOUGH / self._once(work, 1)))
        return median(self._once(work, times) / times for _ in range(REPEATS))

    def _once(self, work: Callable[[], object], times: int) -> float:
        self._wait()
        start = time.perf_counter()
        for _ in range(times):
            work()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def peak(self) -> float:
        """FLOP/s of a large matrix product."""
        side = SIDE * (8 if self.device == "cuda" else 1)
        a, b = (torch.randn(side, side, device=self.device, dtype=self.dtype) for _ in "ab")
        return 2 * side**3 / self.seconds(lambda: a @ b)

    def bandwidth(self) -> float:
        """Bytes/s of a large copy, those read and those written."""
        source = torch.zeros(COPIED, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        return 2 * COPIED / self.seconds(lambda: target.copy_(source))

    def layer(self, module: nn.Module, like: Tensor) -> float:
        """Seconds of a layer's forward and backward pass."""
        x = like.detach().clone().requires_grad_(like.requires_grad)

        def both() -> None:
            with self.execution.autocast():
                y = module(x)
            if y.requires_grad:
                y.backward(y.detach())

        return self.seconds(both)


def layers(timer: Timer) -> Counter[tuple[Shape, nn.Module, Tensor]]:
    """The distinct layers that one step goes through, and how often: each with a module of the kind and its input."""
    found: dict[Shape, tuple[nn.Module, Tensor]] = {}
    count: Counter[Shape] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        shape = Shape(kind_of(module), repr(module), tuple(inputs[0].shape))
        if shape not in found:
            found[shape] = module, inputs[0].detach().clone().requires_grad_(inputs[0].requires_grad)
        count[shape] += 1

    leaves = [module for module in timer.network.modules() if not list(module.children())]
    hooks = [module.register_forward_pre_hook(note) for module in leaves]
    timer.seconds(1)
    for hook in hooks:
        hook.remove()
    alone = {shape: (by_itself(module), like) for shape, (module, like) in found.items()}
    return Counter({(shape, *alone[shape]): number for shape, number in count.items()})


def by_itself(module: nn.Module) -> nn.Module:
    """A copy that leaves its input alone: autograd lets nothing change a leaf."""
    own = copy.deepcopy(module)
    if hasattr(own, "inplace"):
        own.inplace = False
    return own


def kind_of(module: nn.Module) -> str:
    """What a layer is called in the table."""
    if not isinstance(module, nn.Conv2d):
        return {"BatchNorm2d": "BatchNorm"}.get(type(module).__name__, type(module).__name__)
    side = "x".join(map(str, module.kernel_size))
    packed = ", packed" if isinstance(module, PackedConv2d) else ""
    return f"conv {side}" + (f", C={module.groups}{packed}" if module.groups > 1 else "")


def work(module: nn.Module, like: Tensor) -> list[tuple[float, float]]:
    """FLOPs and bytes of each pass of a layer: forward, gradient of the weights, of the input (images: none)."""
    with torch.no_grad():
        out = module.eval()(like.float())
    module.train()
    x, y = (tensor.numel() * like.element_size() for tensor in (like, out))
    w = sum(parameter.numel() for parameter in module.parameters()) * 4
    if isinstance(module, nn.Conv2d | nn.Linear):
        macs = out.numel() * module.weight[0].numel()
        return [(2 * macs, x + w + y)] * (3 if like.requires_grad else 2)
    return [(0, x + w + y), (0, x + y + x)][: 2 if like.requires_grad else 1]


def add(row: Row, count: int, seconds: float, passes: list[tuple[float, float]], peak: float, bandwidth: float) -> None:
    """So many layers of one shape."""
    row.layers += count
    row.seconds += count * seconds
    row.flops += count * sum(flops for flops, _ in passes)
    row.moved += count * sum(moved for _, moved in passes)
    row.floor += count * sum(max(flops / peak, moved / bandwidth) for flops, moved in passes)


def table(name: str, rows: dict[str, Row], whole: float) -> str:
    """Markdown: the kinds by their time, then what is left of a step."""
    head = ("layers", "number", "ms", "of the step", "GFLOP", "MB", "GFLOP/s", "share of the roofline")
    lines = [f"| {' | '.join(head)} |", "|---|---" + "|---:" * (len(head) - 2) + "|"]
    for kind, row in sorted(rows.items(), key=lambda pair: -pair[1].seconds):
        lines.append(
            f"| {kind} | {row.layers} | {1e3 * row.seconds:.2f} | {row.seconds / whole:.0%} | {row.flops / 1e9:.2f} | "
            f"{row.moved / 1e6:.1f} | {row.flops / row.seconds / 1e9:.1f} | {row.floor / row.seconds:.0%} |"
        )
    layers = sum(row.seconds for row in rows.values())
    flops, floor = (sum(getattr(row, key) for row in rows.values()) for key in ("flops", "floor"))
    rest = "sums, loss, optimiser, Python; less what layers gain from each other's caches"
    lines.append(f"| {rest} | | {1e3 * (whole - layers):.2f} | {1 - layers / whole:.0%} | | | | |")
    moved = sum(row.moved for row in rows.values())
    lines.append(
        f"| **a step of {name}** | | {1e3 * whole:.2f} | 100% | {flops / 1e9:.2f} | {moved / 1e6:.1f} | "
        f"{flops / whole / 1e9:.1f} | {floor / whole:.0%} |"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
