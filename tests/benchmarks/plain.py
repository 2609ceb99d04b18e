"""The plain way to train: the loop of torchvision's reference script, written anew, on torchvision's own parts."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import FashionMNIST
from torchvision.models.resnet import Bottleneck

from ablation.data import Pixels
from ablation.dataset import Dataset
from ablation.design import Design
from ablation.recipe import Recipe
from ablation.sources import IDX


class PlainNetwork(nn.Module):
    """A design in form c of torchvision's blocks; its state dict has the same keys and shapes as `Network`'s."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        if design.stem != "small" or not design.doubles or design.shortcut != "projection":
            raise ValueError(f"torchvision's blocks can't make {design.name}")
        self.fold = nn.PixelUnshuffle(2)
        self.conv1 = nn.Conv2d(4 * design.channels, design.stem_width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(design.stem_width)
        self.relu = nn.ReLU(inplace=True)
        stages, inputs = [], design.stem_width
        for stage, outputs in enumerate(design.outputs):
            stages.append(f"layer{stage + 1}")
            self.add_module(stages[-1], _layer(design, stage, inputs))
            inputs = outputs
        self.stages = stages
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, design.classes)

    def forward(self, x: Tensor) -> Tensor:
        """x: (images, channels, resolution, resolution) -> logits (images, classes)."""
        x = self.relu(self.bn1(self.conv1(self.fold(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def _layer(design: Design, stage: int, inputs: int) -> nn.Sequential:
    planes = design.outputs[stage] // Bottleneck.expansion
    shape = {"groups": design.cardinality, "base_width": 64 * design.widths[stage] / planes}
    stride, outputs = 2 if stage else 1, design.outputs[stage]
    project = None
    if stride != 1 or inputs != outputs:
        project = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    first = Bottleneck(inputs, planes, stride, project, **shape)
    return nn.Sequential(first, *(Bottleneck(outputs, planes, **shape) for _ in range(design.blocks[stage] - 1)))


def as_torchvision(train: Pixels, test: Pixels, root: Path) -> None:
    """Write the images where torchvision's FashionMNIST looks for them."""
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, pixels in (("train", train), ("test", test)):
        for name, tensor in zip(IDX[part], (pixels.images[..., 0], pixels.labels.to(torch.uint8)), strict=True):
            header = struct.pack(f">BBBB{tensor.ndim}I", 0, 0, 8, tensor.ndim, *tensor.shape)
            (folder / name).write_bytes(header + tensor.contiguous().numpy().tobytes())


def open_loader(root: Path, dataset: Dataset, recipe: Recipe, workers: int = 0, part: str = "train") -> DataLoader:
    """PIL images, transformed one at a time, by v1 transforms, in this process or in workers."""
    flip = [transforms.RandomHorizontalFlip()] if "flip" in recipe.augment and part == "train" else []
    to_floats = [transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float)]
    normal = transforms.Normalize(dataset.facts.mean, dataset.facts.std)
    images = FashionMNIST(root, train=part == "train", transform=transforms.Compose([*flip, *to_floats, normal]))
    return DataLoader(images, batch_size=recipe.batch, shuffle=part == "train", num_workers=workers)


def train(
    network: nn.Module,
    loader: DataLoader,
    recipe: Recipe,
    stop: Callable[[], object],
    rate: Callable[[int], float] | None = None,
) -> None:
    """fp32, contiguous, until `stop` says so; the meters of the reference script are kept.

    `rate`: the learning rate of each step (from 0); constant without it.
    """
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.lr / 2,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    criterion, meters = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing), []
    network.train()
    while True:
        for images, labels in loader:
            if rate:
                optimiser.param_groups[0]["lr"] = rate(len(meters))
            logits = network(images)
            loss = criterion(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            meters.append((loss.item(), *accuracy(logits, labels)))
            if stop():
                return


@torch.inference_mode()
def evaluate(network: nn.Module, loader: DataLoader) -> float:
    """Top-1 error, percent, over every image; running statistics."""
    network.eval()
    wrong = sum(int((network(images).argmax(1) != labels).sum()) for images, labels in loader)
    return 100 * wrong / len(loader.dataset)


@torch.inference_mode()
def accuracy(logits: Tensor, labels: Tensor) -> list[float]:
    """Percent of the batch within the first guess, and within five."""
    hits = logits.topk(5, 1).indices.t() == labels[None]
    return [hits[:k].flatten().sum(dtype=torch.float32).mul(100 / len(labels)).item() for k in (1, 5)]


def library_network(library: str, name: str, channels: int, classes: int) -> nn.Module:
    """torchvision's or timm's own network of this name, for so many channels and classes."""
    if library == "timm":
        return timm.create_model(name, in_chans=channels, num_classes=classes)
    network = getattr(models, name)(num_classes=classes)
    network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return network
