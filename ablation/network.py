"""Design -> torch.nn.Module, in the three equal forms of the paper's figure 3, with torchvision's parameter names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablation.design import Design

State = dict[str, Tensor]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over groups of `norm_batch` images inside a batch of any size.

    One GPU with 256 images and eight with 32 then do the same arithmetic. Running statistics move once per
    optimiser step, from the mean over all groups seen since the step before: call `commit` after the step.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm_batch: int | None = None
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, channels, height, width)."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        groups = x.split(self.norm_batch) if self.norm_batch else (x,)
        outputs = [self._group(group) for group in groups]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _group(self, x: Tensor) -> Tensor:
        mean, variance = torch.zeros_like(self.running_mean), torch.ones_like(self.running_var)
        self._seen.append((mean, variance))
        return F.batch_norm(x, mean, variance, self.weight, self.bias, True, 1.0, self.eps)

    @property
    def seen(self) -> int:
        """Groups seen since the last commit."""
        return len(self._seen)

    @torch.no_grad()
    def sums(self) -> Tensor:
        """Sums over the groups seen of their means and variances, and the number of groups: (2·channels + 1,)."""
        means, variances = (torch.stack(seen).sum(0) for seen in zip(*self._seen, strict=True))
        return torch.cat([means, variances, means.new_tensor([len(self._seen)])])

    @torch.no_grad()
    def commit_sums(self, sums: Tensor) -> None:
        """`commit` with the `sums` of all ranks added up."""
        channels = self.num_features
        for running, seen in zip((self.running_mean, self.running_var), sums[:-1].split(channels), strict=True):
            running.lerp_(seen / sums[-1], self.momentum)
        self.num_batches_tracked.add_(1)
        self._seen = []

    def forget(self) -> None:
        """Drop the groups seen since the last commit."""
        self._seen = []

    @torch.no_grad()
    def commit(self) -> None:
        """Move the running statistics towards the mean over the groups seen, and forget those."""
        for running, seen in zip((self.running_mean, self.running_var), zip(*self._seen, strict=True), strict=False):
            running.lerp_(seen[0] if len(seen) == 1 else torch.stack(seen).mean(0), self.momentum)
        if self._seen:
            self.num_batches_tracked.add_(1)
        self._seen = []


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the map's size at stride 1, without bias."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class Block(nn.Module):
    """A bottleneck block in form c: 1x1 to C·d channels, one 3x3 (or `kernel`) with C groups, 1x1 back; plus its
    shortcut."""

    def __init__(self, design: Design, stage: int, inputs: int, stride: int) -> None:
        super().__init__()
        self.outputs, self.stride, self.kind = design.outputs[stage], stride, design.shortcut
        self.kernel = design.kernel
        self.reshapes = stride != 1 or inputs != self.outputs
        self.relu = nn.ReLU(inplace=True)
        self.build(inputs, design.cardinality, design.widths[stage])
        self.bn3 = BatchNorm(self.outputs)
        self.downsample: nn.Module | None = None
        if self.reshapes and self.kind.startswith("projection"):
            self.downsample = nn.Sequential(conv(inputs, self.outputs, stride=stride), BatchNorm(self.outputs))

    def build(self, inputs: int, paths: int, width: int) -> None:
        """Make the layers before the last batch norm."""
        group = paths * width
        self.conv1, self.bn1 = conv(inputs, group), BatchNorm(group)
        self.conv2, self.bn2 = conv(group, group, self.kernel, self.stride, paths), BatchNorm(group)
        self.conv3 = conv(group, self.outputs)

    def transform(self, x: Tensor) -> Tensor:
        """The sum over paths, before the last batch norm."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.conv3(self.relu(self.bn2(self.conv2(x))))

    def skip(self, x: Tensor) -> Tensor | None:
        """What is added to the transformation; None where there is no shortcut."""
        if self.downsample is not None:
            return self.downsample(x)
        if self.kind == "none" or (self.kind == "projection-only" and not self.reshapes):
            return None
        if not self.reshapes:
            return x
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.outputs - x.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, inputs, height, width) -> (images, outputs, ...)."""
        y, skip = self.bn3(self.transform(x)), self.skip(x)
        return self.relu(y if skip is None else y.add_(skip))


class Path(nn.Module):
    """One of the C paths of forms a and b: 1x1 to d channels, 3x3 or `kernel`; in form a also the 1x1 back."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, outputs: int | None) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.conv1, self.bn1 = conv(inputs, width), BatchNorm(width)
        self.conv2, self.bn2 = conv(width, width, kernel, stride), BatchNorm(width)
        self.conv3 = conv(width, outputs) if outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, inputs, height, width) -> (images, outputs or d, ...)."""
        x = self.relu(self.bn1(self.conv1(x)))
        return self.conv3(self.relu(self.bn2(self.conv2(x))))


class ConcatenatedBlock(Block):
    """Form b: paths concatenated, then one 1x1."""

    def build(self, inputs: int, paths: int, width: int) -> None:
        """Make the layers before the last batch norm."""
        self.paths = nn.ModuleList(Path(inputs, width, self.kernel, self.stride, None) for _ in range(paths))
        self.conv3 = conv(paths * width, self.outputs)

    def transform(self, x: Tensor) -> Tensor:
        """The sum over paths, before the last batch norm."""
        return self.conv3(torch.cat([path(x) for path in self.paths], dim=1))


class SummedBlock(Block):
    """Form a: whole paths, summed; one batch norm after the sum (the paper's footnote 6)."""

    def build(self, inputs: int, paths: int, width: int) -> None:
        """Make the layers before the last batch norm."""
        self.paths = nn.ModuleList(Path(inputs, width, self.kernel, self.stride, self.outputs) for _ in range(paths))

    def transform(self, x: Tensor) -> Tensor:
        """The sum over paths, before the last batch norm."""
        return torch.stack([path(x) for path in self.paths]).sum(0)


BLOCKS = {"a": SummedBlock, "b": ConcatenatedBlock, "c": Block}


class Network(nn.Module):
    """A design as a network; `state_dict` has torchvision's keys and shapes in form c."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        channels = design.channels * (4 if design.stem == "small" else 1)
        imagenet = design.stem == "imagenet"
        self.conv1 = conv(channels, design.stem_width, *((7, 2) if imagenet else (3, 1)))
        self.bn1 = BatchNorm(design.stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.fold = nn.PixelUnshuffle(2) if design.stem == "small" else nn.Identity()
        self.maxpool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        inputs = design.stem_width
        for stage, count in enumerate(design.blocks):
            layer = nn.Sequential()
            for index in range(count):
                stride = 2 if stage and not index else 1
                layer.append(BLOCKS[design.form](design, stage, inputs, stride))
                inputs = design.outputs[stage]
            self.add_module(f"layer{stage + 1}", layer)
        self.fc = nn.Linear(inputs, design.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, channels, resolution, resolution) -> logits (images, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.fold(x)))))
        for stage in range(len(self.design.blocks)):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.fc(pooled(x))


def pooled(x: Tensor) -> Tensor:
    """The mean over a map: (images, channels, height, width) -> (images, channels).

    Of a map with channels last, the gradient has them last too (`x.mean((2, 3))` would give it another layout, and
    what follows would have to turn it): the same bits, sooner.
    """
    last = x.is_contiguous(memory_format=torch.channels_last)
    return x.permute(0, 2, 3, 1).mean((1, 2)) if last else x.mean((2, 3))


def set_norm_batch(network: nn.Module, images: int | None) -> None:
    """Let every batch norm of a network see groups of that many images; None: the whole batch."""
    for norm in _norms(network):
        norm.norm_batch = images


def commit(network: nn.Module) -> None:
    """Update a network's running statistics; once per optimiser step."""
    for norm in _norms(network):
        norm.commit()


def commit_together(network: nn.Module, add: Callable[[Tensor], Tensor]) -> None:
    """`commit` with the groups of all ranks: `add` sums a vector over them, and is called once."""
    norms = [norm for norm in _norms(network) if norm.seen]
    if not norms:
        return
    sums = [norm.sums() for norm in norms]
    everyone = add(torch.cat(sums)).split([len(part) for part in sums])
    for norm, part in zip(norms, everyone, strict=True):
        norm.commit_sums(part)


def forget(network: nn.Module) -> None:
    """Drop what a network's batch norms have seen since the last commit, as if there had been no such pass."""
    for norm in _norms(network):
        norm.forget()


def batch_norm_buffers(network: nn.Module) -> set[str]:
    """Names of the buffers that `commit` updates."""
    names = ("running_mean", "running_var", "num_batches_tracked")
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in network.named_modules(remove_duplicate=False)
        if isinstance(module, BatchNorm)
        for name in names
    }


def _norms(network: nn.Module) -> list[BatchNorm]:
    return [module for module in network.modules() if isinstance(module, BatchNorm)]


def stream(*key: object) -> torch.Generator:
    """A random stream that is a function of its key alone, such as (seed, "order", epoch); on the CPU."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@torch.no_grad()
def initialise(network: Network, seed: int) -> Network:
    """Draw every parameter from (seed, its name in form c), so that equal seeds give equal functions in every form.

    Convolutions: He et al., normal with variance 2 / (kernel² · output channels), as the paper's code (groups do not
    enter). Batch norm: 1 and 0, the last of a block included. Classifier: uniform within 1/sqrt(inputs).
    """
    shapes = Network(replace(network.design, form="c")).state_dict()
    drawn = {name: _draw(name, value, seed) for name, value in shapes.items()}
    network.load_state_dict(convert(drawn, network.design.cardinality, network.design.form))
    return network


def _draw(name: str, like: Tensor, seed: int) -> Tensor:
    generator = stream(seed, "initialise", name)
    if like.ndim == 4:
        deviation = (2 / (like.shape[0] * like.shape[2] * like.shape[3])) ** 0.5
        return torch.randn(like.shape, generator=generator) * deviation
    if name.startswith("fc."):
        bound = _fan_in(like)
        return torch.empty(like.shape).uniform_(-bound, bound, generator=generator)
    return like


def _fan_in(like: Tensor) -> float:
    return like.shape[-1] ** -0.5


def convert(state: State, cardinality: int, form: str) -> State:
    """A state dict of any form as one of another form: the same function, the same gradients.

    Raises KeyError where the state is not one of a `Network` with that cardinality.
    """
    grouped = _to_grouped(state, cardinality)
    return grouped if form == "c" else _from_grouped(grouped, cardinality, form)


def _split_axis(name: str) -> int:
    return 1 if name == "conv3.weight" else 0


def _to_grouped(state: State, cardinality: int) -> State:
    result: State = {}
    for key, value in state.items():
        block, paths, rest = key.partition(".paths.")
        if not paths:
            result[key] = value
        elif rest.startswith("0."):
            name = rest[2:]
            pieces = [state[f"{block}.paths.{path}.{name}"] for path in range(cardinality)]
            result[f"{block}.{name}"] = pieces[0] if value.ndim == 0 else torch.cat(pieces, _split_axis(name))
    return result


def _from_grouped(state: State, cardinality: int, form: str) -> State:
    split = ("conv1", "bn1", "conv2", "bn2") + (("conv3",) if form == "a" else ())
    result: State = {}
    for key, value in state.items():
        stage, _, rest = key.partition(".")
        index, _, name = rest.partition(".")
        if not (stage.startswith("layer") and name.split(".")[0] in split):
            result[key] = value
            continue
        pieces = [value] * cardinality if value.ndim == 0 else value.chunk(cardinality, _split_axis(name))
        result |= {f"{stage}.{index}.paths.{path}.{name}": piece.clone() for path, piece in enumerate(pieces)}
    return result
