"""The execution block: what a run's numbers depend on besides its identity. Frozen at first start, kept at a resume."""

from __future__ import annotations

import contextlib
import ctypes
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ablation.errors import UserError
from ablation.run import RunPaths, read_json, write_json
from ablation.seal import with_digest

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""glibc's names for what `keep_memory` sets."""
SLOW = 1.1
"""bf16 that takes so many times fp32's time is worth a warning."""


@dataclass(frozen=True)
class Execution:
    """Device, precision and threads of a run."""

    device: str
    """cpu or cuda."""
    precision: str
    """fp32, tf32, bf16 (autocast) or fp64."""
    threads: int
    kernels: tuple[tuple[str, str], ...] = ()
    """Layers that are not computed as they are written, by name, and how (`packing.py`, chosen by `kernels.py`)."""
    layout: str = "channels_last"
    """Of images and weights in memory; or contiguous."""
    graph: bool = False
    """Whether a step is replayed as a CUDA graph (`graphs.py`)."""
    fastest: bool = False
    """Whether cuDNN times its kernels and takes the fastest, instead of those that give the same bits each time."""

    def block(self, ranks: int = 1) -> dict[str, Any]:
        """What `run.json` holds: bit-for-bit claims hold where these are equal. Several ranks are named."""
        versions: dict[str, Any] = {"torch": torch.__version__}
        if self.device == "cuda":
            versions |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        return {
            "device": self.device,
            "device_name": device_name(self.device),
            "dtype": self.precision,
            "threads": self.threads,
            "layout": self.layout,
            "kernels": dict(self.kernels) or "native",
            "deterministic": self.device == "cpu",
            "versions": versions,
            **({"step": "graph"} if self.graph else {}),
            **({"cudnn": "fastest"} if self.fastest else {}),
            **({"ranks": ranks} if ranks > 1 else {}),
        }

    def apply(self) -> None:
        """Set this process up so."""
        keep_memory()
        torch.set_num_threads(self.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = not self.fastest, self.fastest

    @property
    def dtype(self) -> torch.dtype:
        """Of parameters and images: bf16 is autocast's business."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        """Of a network's weights."""
        return torch.contiguous_format if self.layout == "contiguous" else torch.channels_last

    def ready(self, images: Tensor) -> Tensor:
        """Images, (n, channels, height, width) with channels last in memory, as a network is to see them."""
        images = images.to(self.dtype)
        return images.contiguous() if self.layout == "contiguous" else images

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context for a forward pass."""
        if self.precision == "bf16":
            return torch.autocast(self.device, dtype=torch.bfloat16)
        return contextlib.nullcontext()


def choose_execution(precision: str, threads: int, gpus: int | None) -> Execution:
    """The execution that a sweep asks for. Raises UserError where it asks for a GPU and there is none."""
    if gpus and not torch.cuda.is_available():
        raise UserError(
            "the sweep asks for a GPU, and torch sees none here", remedy="Set resources.gpus=0 for the CPU."
        )
    return Execution("cuda" if gpus != 0 and torch.cuda.is_available() else "cpu", precision, threads)


def keep_memory() -> None:
    """Tell glibc not to give memory back between steps: on a CPU, large batches spend half of their time on that."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def device_name(device: str) -> str:
    """The GPU's or the processor's model."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({torch.backends.cpu.get_cpu_capability()})"
    return f"{platform.processor() or platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"


def freeze(paths: RunPaths, block: dict[str, Any], data: dict[str, Any]) -> str | None:
    """Write the execution block and the data's digest into `run.json`, or hold them against what it says.

    Another number of ranks than before is allowed and written down (`2 then 4`), with the warning that is returned: it
    is the same arithmetic in another order. Raises UserError where a run with a checkpoint was started on anything else
    that differs.
    """
    fields, warning = read_json(paths.run_json), None
    if paths.resumes:
        then = fields.get("execution") or {}
        ranks, warning = _ranks_so_far(then.get("ranks", 1), block.get("ranks", 1))
        then, block = ({**each, **({"ranks": ranks} if ranks != 1 else {})} for each in (then, block))
        _hold(paths, "execution", then, block)
        _hold(paths, "data", fields.get("data") or {}, data)
    if (fields.get("execution"), fields.get("data")) != (block, data):
        write_json(paths.run_json, with_digest({**fields, "execution": block, "data": data}))
    return warning


def _hold(paths: RunPaths, name: str, then: dict[str, Any], here: dict[str, Any]) -> None:
    if then != here:
        raise UserError(
            f"this run was started with another {name} ({_differences(then, here)})",
            where=str(paths.folder),
            remedy="Go on where it was started, or remove its checkpoint.pt to start it again here.",
        )


def _ranks_so_far(then: int | str, here: int) -> tuple[int | str, str | None]:
    """Numbers of ranks that a run has had, and a warning where there is a new one."""
    if str(then).rpartition(" ")[2] == str(here):
        return then, None
    return f"{then} then {here}", (
        f"this run goes on with another number of processes ({then} then {here}): the same sums in another order, so "
        "its numbers agree with an undisturbed run's to rounding, not bit for bit"
    )


def compare_ranks(ranks: list[tuple[dict[str, Any], dict[str, Any]]]) -> str | None:
    """A warning where the ranks of a run have different hardware, from each one's (execution block, data).

    Raises UserError where they have different data or versions.
    """
    (block, data), warning = ranks[0], None
    for rank, (other, its) in enumerate(ranks):
        for here, there in ((data, {**its, "source": data["source"]}), (block["versions"], other["versions"])):
            if there != here:
                raise UserError(
                    f"process {rank} of this run differs from the first ({_differences(here, there)})",
                    remedy="Give every node the same data and the same environment.",
                )
        if other != block:
            warning = f"process {rank} of this run has other hardware than the first ({_differences(block, other)})"
    return warning


def _differences(then: dict[str, Any], here: dict[str, Any]) -> str:
    changed = [key for key in here if key != "source" and then.get(key) != here[key]]
    return "; ".join(f"{key}: {then.get(key)} then, {here[key]} here" for key in changed or ["source"])


def bf16_factor() -> float:
    """How many times longer a bf16 convolution takes here than an fp32 one, forward and backward."""
    return _convolution_seconds(torch.bfloat16) / _convolution_seconds(torch.float32)


def _convolution_seconds(dtype: torch.dtype) -> float:
    x = torch.ones(32, 64, 14, 14, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.ones(64, 64, 3, 3, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        F.conv2d(x, weight, padding=1).sum().backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def slow_precision(execution: Execution) -> str | None:
    """A warning where the precision is slower here than fp32, with the measured factor and what to set."""
    if execution.precision != "bf16" or execution.device != "cpu":
        return None
    factor = bf16_factor()
    if factor < SLOW:
        return None
    return f"bf16 takes {factor:.1f} times as long as fp32 on this processor; `--set precision=fp32` makes other runs"
