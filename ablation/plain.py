"""What a checkpoint holds, and the reading of one that nobody vouches for: no code, no more memory than is right."""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from ablation.errors import first_line
from ablation.seal import Damaged

NAMES = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict"}
KINDS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
NAMES |= {f"torch {kind}Storage" for kind in KINDS}
"""All that a checkpoint's pickle may name. Tensors and containers: nothing that runs, or fills memory, by itself."""
ROOM, TIMES = 64 * 2**20, 5
"""A checkpoint has weights, their average and the optimiser's state: at most so many times the network, and this."""


@dataclass
class Progress:
    """Where a run is, besides its weights: what a checkpoint holds of it."""

    step: int = 0
    """Optimiser steps done."""
    recorded: int = 0
    """Epochs whose record is written."""
    seconds: float = 0.0
    """Wall time of training and evaluation, over all attempts."""
    epoch_seconds: float = 0.0
    """Of the epoch under way: training, and with evaluation."""
    loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    wrong: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    """Sums over the epoch's images, on the device: no step waits for them."""
    broken: list[str] = field(default_factory=list)
    """Training images that can't be decoded, and that others stood for (a data set's `corrupt: skip`)."""

    def on(self, device: str) -> Progress:
        """The same, with its sums on a device."""
        return replace(self, loss=self.loss.to(device), wrong=self.wrong.to(device))

    def zero_sums(self) -> None:
        """Begin to sum anew."""
        self.loss.zero_()
        self.wrong.zero_()


@dataclass(frozen=True)
class Like:
    """What a run's checkpoint must look like."""

    network: dict[str, Tensor]
    """The network's state."""
    optimiser: torch.optim.Optimizer
    average: bool
    """Whether there is an average of the weights."""

    @property
    def most_bytes(self) -> int:
        """More than this no checkpoint of the network has."""
        return TIMES * sum(tensor.numel() * tensor.element_size() for tensor in self.network.values()) + ROOM


def load_plain(data: bytes, run: str, like: Like | None) -> dict[str, Any]:
    """The content of a run's checkpoint, on the CPU, held against what it must look like.

    It is read twice: first without memory for its tensors, so that no false size can ask for any. Raises Damaged.
    """
    _check_archive(data)
    outline = _load(data, "meta")
    if not isinstance(outline, dict) or outline.get("run") != run:
        raise Damaged(f"is not {run}'s")
    if like:
        _check(outline, like)
    return _load(data, "cpu")


def _load(data: bytes, device: str) -> Any:
    try:
        return torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "allocate" in str(error) and device == "cpu":  # its sizes are right: the machine has no memory left
            raise MemoryError(first_line(error)) from None
        raise Damaged(f"can't be read: {first_line(error)}") from None


def _check_archive(data: bytes) -> None:
    """Nothing is packed small to come out large, and nothing is named that a checkpoint does not need."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored or len(set(names)) < len(names) or sum(entry.file_size for entry in entries) > len(data):
                raise Damaged("is packed as no checkpoint is")
            pickles = [name for name in names if name.endswith(".pkl")]
            if len(pickles) != 1:
                raise Damaged("is no checkpoint")
            _check_names(archive.read(pickles[0]))
    except Damaged:
        raise
    except Exception as error:
        raise Damaged(f"is no checkpoint: {first_line(error)}") from None


def _check_names(pickle: bytes) -> None:
    for code, argument, _ in pickletools.genops(pickle):
        named = code.name in ("GLOBAL", "INST")
        if (named and argument not in NAMES) or code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
            raise Damaged(f"names {argument or code.name}, which no checkpoint does")


def _check(content: dict[str, Any], like: Like) -> None:
    parts = {"run", "progress", "network", "optimiser"} | ({"average"} if like.average else set())
    if content.keys() - {"log"} != parts:
        raise Damaged(f"has {', '.join(sorted(map(str, content)))}, not {', '.join(sorted(parts))}")
    for part in sorted(parts & {"network", "average"}):
        _check_tensors(content[part], like.network, part)
    _check_progress(content["progress"])
    _check_log(content.get("log", {"bytes": 0, "sha256": ""}))
    _check_optimiser(content["optimiser"], like.optimiser.state_dict(), _parameters(like.optimiser))


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


def _check_tensors(found: Any, wanted: dict[str, Tensor], where: str) -> None:
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        raise Damaged(f"has another {where}'s parameters")
    for name, tensor in wanted.items():
        _check_tensor(found[name], tensor, f"{where}.{name}")


def _check_tensor(found: Any, wanted: Tensor, where: str) -> None:
    if not isinstance(found, Tensor) or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        says = f"{list(found.shape)} {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        raise Damaged(f"has {where} as {says}, not {list(wanted.shape)} {wanted.dtype}")


def _check_progress(found: Any) -> None:
    new = Progress()
    if not isinstance(found, dict) or found.keys() != {field.name for field in fields(new)}:
        raise Damaged("does not say where the run is")
    for name, value in found.items():
        wanted = getattr(new, name)
        if isinstance(wanted, Tensor):
            _check_tensor(value, wanted, f"progress.{name}")
        elif type(value) is not type(wanted) or (isinstance(value, int | float) and not 0 <= value < math.inf):
            raise Damaged(f"has progress.{name} as {value!r}"[:200])
    if not all(isinstance(name, str) for name in found["broken"]):
        raise Damaged("has progress.broken with what is no name")


def _check_log(found: Any) -> None:
    """The size and the digest of the log at the time; checkpoints of earlier versions have none."""
    kinds = {"bytes": int, "sha256": str}
    if not isinstance(found, dict) or {key: type(value) for key, value in found.items()} != kinds or found["bytes"] < 0:
        raise Damaged("does not say what the log was")


def _check_optimiser(found: Any, wanted: dict[str, Any], parameters: list[Tensor]) -> None:
    if not isinstance(found, dict) or found.keys() != wanted.keys() or not isinstance(found["state"], dict):
        raise Damaged("has another optimiser's state")
    groups = found["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(wanted["param_groups"]):
        raise Damaged("has another optimiser's groups")
    for group, own in zip(groups, wanted["param_groups"], strict=True):
        same = isinstance(group, dict) and group.keys() == own.keys()
        if not same or any(group[key] != own[key] for key in own if key not in ("lr", "initial_lr")):
            raise Damaged("has another optimiser's settings")
        if not isinstance(group["lr"], float) or not math.isfinite(group["lr"]):
            raise Damaged("has a learning rate that is no number")
    for index, state in found["state"].items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(state, dict):
            raise Damaged("has state of parameters that are not there")
        for name, value in state.items():
            if isinstance(value, Tensor):
                _check_tensor(value, parameters[index], f"optimiser.{index}.{name}")
            elif value is not None:
                raise Damaged(f"has optimiser.{index}.{name} as {type(value).__name__}")
