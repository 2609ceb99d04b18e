"""The GPU benchmarks, one function a section; each writes rows until it is done or its time is."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gpu_runs
import torch
from gpu_parts import Bench, Step, clear, eager, in_turn, ours, ratios, seconds
from torch import nn

from ablation.cost import cost
from ablation.design import Design, design_from_name

ROOT = Path(__file__).parents[2]
TFLOPS = {"H100": 989.4, "H200": 989.4, "A100": 312.0, "L40S": 362.0, "3090": 71.0, "4090": 165.2}
"""bf16 dense, of NVIDIA's data sheets (the H100's and H200's as SXM)."""
TABLE_2 = {1: "resnet50_1x64d", 2: "resnext50_2x40d", 4: "resnext50_4x24d", 8: "resnext50_8x14d", 32: "resnext50_32x4d"}
SMALL = {
    1: "resnet11_1x64d",
    2: "resnext11_2x44-88-177d",
    4: "resnext11_4x30-61-122d",
    8: "resnext11_8x20-40-84d",
    16: "resnext11_16x13-25-58d",
}
"""The ladder of sweeps/fashion_mnist_gpu.yaml."""


def network(bench: Bench) -> None:
    """ResNeXt-101 32x4d at 224: ours against torchvision's and timm's; share of the peak of arithmetic and memory."""
    design = design_from_name("resnext50_32x4d" if bench.quick else "resnext101_32x4d")
    design = replace(design, resolution=32, blocks=(1, 1, 1, 1)) if bench.quick else design
    batch, found = _batch_that_fits(bench, 2 if bench.quick else 128, lambda size: _against_peers(bench, design, size))
    best = [batch / second for second in found["ours"]]
    bench.row(
        f"{design.name} at {design.resolution}, ours", best, "img/s", f"batch {batch}, CUDA graph, whole-batch norm"
    )
    for peer in sorted(found.keys() - {"ours"}):
        bench.row(f"{design.name}, {peer}", [batch / second for second in found[peer]], "img/s", "eager AMP")
        bench.row(f"ours over {peer}", ratios(found[peer], found["ours"]), "times")
    clear()
    variants: dict[str, Callable[[], Step]] = {
        "batch norm over 32 images": lambda: ours(bench, design, batch, None if bench.quick else 32),
        "without CUDA graph": lambda: ours(bench, design, batch, graph=False),
        "cuDNN's fastest kernels": lambda: ours(bench, design, batch, fastest=True),
        "contiguous": lambda: ours(bench, design, batch, layout="contiguous"),
    }
    for name, make in variants.items():
        if bench.late:
            bench.say(f"{name}: no time")
            continue
        spent = in_turn(bench, {name: make()}, rounds=3)[name]
        bench.row(f"{design.name}, ours, {name}", [batch / second for second in spent], "img/s", f"batch {batch}")
        clear()
    _shares(bench, design, batch, min(found["ours"]))


def _batch_that_fits(bench: Bench, batch: int, measure: Callable[[int], dict]) -> tuple[int, dict[str, list[float]]]:
    while True:
        try:
            return batch, measure(batch)
        except torch.OutOfMemoryError:
            bench.say(f"a batch of {batch}: out of memory")
            if batch == 1:
                raise
            batch //= 2
        clear()


def _against_peers(bench: Bench, design: Design, batch: int) -> dict[str, list[float]]:
    from torchvision.models.resnet import Bottleneck, ResNet

    theirs = ResNet(Bottleneck, list(design.blocks), groups=design.cardinality, width_per_group=design.widths[0])
    steps = {"torchvision": eager(bench, theirs, design, batch)}
    try:
        import timm

        theirs = timm.create_model("resnext50_32x4d" if bench.quick else design.name)
        steps["timm"] = eager(bench, theirs, design, batch)
    except ImportError as error:
        bench.say(f"timm is not installed: {error}")
    steps["ours"] = ours(bench, design, batch)
    return in_turn(bench, steps, for_seconds=1.0)


def _shares(bench: Bench, design: Design, batch: int, second: float) -> None:
    """How much of what the device can do a step used: of measured peaks, and of the data sheet's."""
    side, dtype = (256 if bench.quick else 8192), torch.bfloat16
    a, b = (torch.randn(side, side, device=bench.device).to(dtype) for _ in range(2))
    peak = 2 * side**3 / min(in_turn(bench, {"matmul": lambda: a @ b}, 0.2)["matmul"])
    x, y = (torch.empty(side * side, device=bench.device) for _ in range(2))
    bandwidth = 2 * x.nbytes / min(in_turn(bench, {"copy": lambda: y.copy_(x)}, 0.2)["copy"])
    price = cost(design)
    flops, moved = 6 * price.macs * batch / second, 12 * 2 * price.activations * batch / second
    bench.row("matrix product, measured peak", peak / 1e12, "TFLOP/s", f"bf16, {side}x{side}")
    bench.row("memory, measured peak", bandwidth / 1e9, "GB/s", "copy, read and written")
    bench.row("MFU of the measured peak", 100 * flops / peak, "%", "6 FLOP a MAC: forward and backward")
    name = torch.cuda.get_device_name() if bench.device == "cuda" else ""
    sheet = next((figure for key, figure in TFLOPS.items() if key in name), None)
    if sheet:
        bench.row("MFU of the data sheet's", 100 * flops / (sheet * 1e12), "%", f"{sheet} TFLOP/s")
    note = "estimated: each conv output passes memory 12 times a step, in bf16"
    bench.row("memory share of the measured peak", 100 * moved / bandwidth, "%", note)


def convs(bench: Bench) -> None:
    """Each (C, d) of Table 2's 3x3 convolutions, forward and backward: both layouts, and groups packed."""
    for stage, (side, factor) in enumerate([(56, 1), (28, 2), (14, 4), (7, 8)]):
        for paths, name in TABLE_2.items():
            if bench.late or (bench.quick and (stage or paths not in (1, 32))):
                continue
            width = design_from_name(name).widths[0] * factor
            _conv(bench, paths, width, 8 if bench.quick else side, 2 if bench.quick else 64)
    _packed(bench)


def _conv(bench: Bench, paths: int, width: int, side: int, batch: int) -> None:
    steps = {}
    for layout in (torch.channels_last, torch.contiguous_format):
        conv = nn.Conv2d(paths * width, paths * width, 3, padding=1, groups=paths, bias=False)
        conv = conv.to(bench.device, torch.bfloat16).to(memory_format=layout)
        x = torch.randn(batch, paths * width, side, side).to(bench.device, torch.bfloat16).to(memory_format=layout)
        x.requires_grad_()
        steps[str(layout).removeprefix("torch.")] = lambda conv=conv, x=x: conv(x).backward(x.detach())
    found = in_turn(bench, steps, 0.05, rounds=3)
    for name, spent in found.items():
        tflops = 6 * 9 * paths * width**2 * side**2 * batch / min(spent) / 1e12
        what = f"{paths}x{width}d at {side}x{side}, {name.removesuffix('_format')}"
        bench.row(what, [1e3 * one for one in spent], "ms", f"{tflops:.3g} TFLOP/s, batch {batch}")


def kernels_of(bench: Bench, design: Design, batch: int) -> tuple[tuple[str, str], ...]:
    """The ways of a design's grouped convolutions that are faster than native; none where packing is not built."""
    if not importlib.util.find_spec("ablation.kernels"):
        return ()
    from ablation import kernels, packing

    ways = {}
    for layer in packing.layers_of_design(design, None):
        if bench.late:
            break
        found = kernels.measure(layer, bench.execution(), batch)
        if found["chosen"] != found["native"]:
            ways[layer.name] = found["chosen"]
    return tuple(ways.items())


def _packed(bench: Bench) -> None:
    if not importlib.util.find_spec("ablation.kernels"):
        bench.say("packed groups: ablation.kernels is not there")
        return
    from ablation import kernels, packing

    for name in ("resnext50_32x4d",) if bench.quick else tuple(TABLE_2.values())[1:]:
        design = replace(design_from_name(name), resolution=32 if bench.quick else 224)
        for layer in packing.layers_of_design(design, None)[: 1 if bench.quick else None]:
            if bench.late:
                return
            found = kernels.measure(layer, bench.execution(), 2 if bench.quick else 64)
            for way, share in found["share_of_native_time"].items():
                bench.row(f"{layer.name}, {way}", share, "of native's time", "chosen" if way == found["chosen"] else "")


def ladder(bench: Bench) -> None:
    """Throughput of ladder arms at matched MACs, each beside C=1, in its fastest layout and kernels."""
    studies = {"Fashion-MNIST": (SMALL, 128, 28, 1, 10), "Table 2": (TABLE_2, 128, 224, 3, 1000)}
    if bench.quick:
        studies = {"Fashion-MNIST": ({key: SMALL[key] for key in (1, 4)}, 2, 28, 1, 10)}
    for study, (arms, batch, side, channels, classes) in studies.items():
        base = None
        for name in arms.values():
            if bench.late:
                bench.say(f"{study}: {name}: no time")
                continue
            design = replace(design_from_name(name), resolution=side, channels=channels, classes=classes)
            base = _arm(bench, study, design, batch, base)
        clear()


def _arm(bench: Bench, study: str, design: Design, batch: int, base: Step | None) -> Step | None:
    """An arm's fastest way, beside C=1's; the step of C=1."""
    ways = kernels_of(bench, design, batch) if design.cardinality > 1 else ()
    made = {layout: ours(bench, design, batch, layout=layout) for layout in ("channels_last", "contiguous")}
    if ways:
        made["packed"] = ours(bench, design, batch, kernels=ways)
    first = {name: seconds(bench, step, 1 if bench.quick else 10) for name, step in made.items()}
    best = min(first, key=lambda name: first[name])
    shown = ", ".join(f"{name} {1e3 * spent:.3g} ms" for name, spent in first.items())
    if base is None:
        spent = in_turn(bench, {"own": made[best]}, 0.3)["own"]
        bench.row(f"{study}: {design.name}", [batch / one for one in spent], "img/s", f"{best} ({shown})")
        return made[best]
    found = in_turn(bench, {"own": made[best], "base": base}, 0.3)
    bench.row(f"{study}: {design.name}", [batch / one for one in found["own"]], "img/s", f"{best} ({shown})")
    bench.row(f"{study}: {design.name} of C=1", ratios(found["base"], found["own"]), "of its throughput", best)
    return base


def runs(bench: Bench) -> None:
    """Fashion-MNIST runs side by side on the device, without and with MPS."""
    gpu_runs.compare(bench)


def tests(bench: Bench) -> None:
    """`pytest -m gpu` on the files that hold such tests; in quick mode they are only counted."""
    if not importlib.util.find_spec("pytest"):
        bench.say("pytest is not installed")
        return
    files = [str(path) for path in sorted((ROOT / "tests").glob("test_*.py")) if "mark.gpu" in path.read_text()]
    if bench.quick:
        bench.row("files with GPU tests", len(files), "")
        return
    environment = os.environ | ({"ABLATION_DATA": str(bench.data)} if bench.data else {})
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(done.stdout[-6000:], done.stderr[-2000:], flush=True)
    last = (done.stdout.strip().splitlines() or ["nothing"])[-1].strip("= ")
    bench.row("pytest -m gpu, exit code", done.returncode, "", last)


SECTIONS = {"tests": tests, "network": network, "ladder": ladder, "runs": runs, "convs": convs}
"""In the order in which they are measured: what matters most comes first."""
SHARES = {"tests": 0.15, "network": 0.25, "ladder": 0.25, "runs": 0.22, "convs": 0.13}
"""Of the time in all; what a section leaves goes to those after it."""
