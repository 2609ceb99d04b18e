"""A recipe: how a network is trained, as data. Changing any field makes another arm."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablation.errors import did_you_mean
from ablation.stated import Stated

Whole = Annotated[int, Field(strict=True, ge=1)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Part = Annotated[float, Field(strict=True, ge=0, le=1)]
Augmentation = Literal["crop", "flip", "resized-crop", "jitter", "lighting", "trivial"]


class Recipe(Stated):
    """Optimiser, schedule and augmentation. Lengths are in epochs, rates per optimiser step."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"warmup_from", "norm_weight_decay", "mixup", "cutmix", "erasing", "ema_decay", "ema_steps"}
        | {"train_resolution", "repeats", "zero_gamma"}
    )

    name: str
    """The recipe it was made from; not part of what a run's id digests."""
    epochs: Whole
    batch: Whole
    """Images an optimiser step; what is left of an epoch below that is dropped."""
    norm_batch: Whole
    """Images that a batch norm sees: `batch` is computed in groups of that many."""
    lr: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
    """Peak learning rate, for SGD."""
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.9
    nesterov: Annotated[bool, Field(strict=True)] = True
    weight_decay: Number = 0.0
    """On all parameters, batch norm's too (as the paper's code)."""
    norm_weight_decay: Number | None = None
    """Another weight decay for the scales and shifts of normalisation layers."""
    schedule: Literal["constant", "steps", "cosine", "one-cycle"]
    milestones: tuple[Whole, ...] = ()
    """steps: epochs after which the rate is multiplied by `gamma`."""
    gamma: Number = 0.1
    rise: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.25
    """one-cycle: the part of training in which the rate climbs, linearly; then it falls linearly to zero."""
    warmup_epochs: Number = 0.0
    """Epochs in which the rate climbs linearly from `warmup_from`, before the schedule's own rate counts."""
    warmup_from: Part = 0.0
    """Where the rate starts to climb, as a part of the schedule's."""
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    augment: tuple[Augmentation, ...] = ()
    """crop: zero-pad and crop; flip: left-right, half of the time; resized-crop: random area 0.08..1 and aspect
    3/4..4/3; jitter: brightness, contrast, saturation by up to 0.4; lighting: PCA noise of 0.1; trivial: one change
    of TrivialAugment's wide set, at a random strength."""
    padding: Annotated[int, Field(strict=True, ge=0)] = 4
    """crop: pixels of zeros on each side."""
    erasing: Part = 0.0
    """Part of the images of which a random rectangle (2% to 33% of the area) becomes the mean colour."""
    mixup: Number = 0.0
    """Blend each image and its label with another's of its `norm_batch`, by a weight from Beta(mixup, mixup)."""
    cutmix: Number = 0.0
    """Paste a box of another image instead, of an area from Beta(cutmix, cutmix). With `mixup`: one of both, drawn for
    each `norm_batch` of images."""
    repeats: Whole = 1
    """Times that each image comes in a batch, augmented anew; an epoch then sees 1/repeats of the images."""
    train_resolution: Whole | None = None
    """Pixels a side while training; the data set's own where left out. Evaluation is at the data set's."""
    ema_decay: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    """Evaluate and keep a moving average of the weights, in place of the last ones; see `average_rate`. 0: do not."""
    ema_steps: Whole = 1
    """Optimiser steps between two updates of that average."""
    zero_gamma: Annotated[bool, Field(strict=True)] = False
    """Start the last batch norm of each block at zero, so that each block starts as its shortcut."""

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.batch % self.norm_batch:
            raise ValueError(f"batch {self.batch} must be a multiple of norm_batch {self.norm_batch}")
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError("milestones belong to schedule: steps, which needs them")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise; got {list(self.milestones)}")
        if self.batch % self.repeats:
            raise ValueError(f"batch {self.batch} must be a multiple of repeats {self.repeats}")
        if (self.mixup or self.cutmix) and self.norm_batch == 1:
            raise ValueError("mixup and cutmix mix the images of a norm_batch: one image has nothing to mix with")
        return self

    @property
    def average_rate(self) -> float:
        """How far an update moves the averaged weights: as torchvision's script, so that the average looks back over
        the same part of training, 1 / ((1 - ema_decay) x images of the data set), whatever epochs and batch are."""
        return min(1.0, (1 - self.ema_decay) * self.batch * self.ema_steps / self.epochs)

    def lr_at(self, step: int, steps_an_epoch: int) -> float:
        """The learning rate of optimiser step `step` (from 0): a function of the step alone."""
        warmup = self.warmup_epochs * steps_an_epoch
        climb = min(1.0, self.warmup_from + (1 - self.warmup_from) * ((step + 1) / warmup)) if warmup else 1.0
        return self.lr * climb * self._factor(step, steps_an_epoch)

    def _factor(self, step: int, steps_an_epoch: int) -> float:
        total = self.epochs * steps_an_epoch
        if self.schedule == "steps":
            return self.gamma ** sum(step >= epoch * steps_an_epoch for epoch in self.milestones)
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / total))
        if self.schedule == "one-cycle":
            top = self.rise * total
            return min((step + 1) / top, (total - step) / (total - top), 1.0)
        return 1.0


_SGD = {"momentum": 0.9, "nesterov": True}
_CIFAR: dict[str, Any] = {
    **_SGD,
    "epochs": 300,
    "batch": 128,
    "norm_batch": 16,
    "lr": 0.1,
    "weight_decay": 5e-4,
    "schedule": "steps",
    "augment": ("crop", "flip"),
}
RECIPES: dict[str, dict[str, Any]] = {
    "imagenet-paper": {
        **_SGD,
        "epochs": 100,
        "batch": 256,
        "norm_batch": 32,
        "lr": 0.1,
        "weight_decay": 1e-4,
        "schedule": "steps",
        "milestones": (30, 60, 90),
        "augment": ("resized-crop", "flip", "jitter", "lighting"),
    },
    "imagenet-modern": {
        "momentum": 0.9,
        "nesterov": False,
        "epochs": 600,
        "batch": 1024,
        "norm_batch": 128,
        "lr": 0.5,
        "weight_decay": 2e-5,
        "norm_weight_decay": 0.0,
        "schedule": "cosine",
        "warmup_epochs": 5,
        "warmup_from": 0.01,
        "label_smoothing": 0.1,
        "augment": ("resized-crop", "flip", "trivial"),
        "erasing": 0.1,
        "mixup": 0.2,
        "cutmix": 1.0,
        "repeats": 4,
        "train_resolution": 176,
        "ema_decay": 0.99998,
        "ema_steps": 32,
    },
    "cifar-paper": {**_CIFAR, "milestones": (150, 225)},
    "cifar-code": {**_CIFAR, "milestones": (148, 223)},
    "fashion": {
        **_SGD,
        "epochs": 2,
        "batch": 128,
        "norm_batch": 128,
        "lr": 0.4,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "augment": ("flip",),
    },
    "fashion-deep": {
        **_SGD,
        "epochs": 2,
        "batch": 128,
        "norm_batch": 128,
        "lr": 0.1,
        "weight_decay": 5e-4,
        "schedule": "one-cycle",
        "augment": ("flip",),
    },
    "fashion-modern": {
        "momentum": 0.9,
        "nesterov": False,
        "epochs": 6,
        "batch": 128,
        "norm_batch": 128,
        "lr": 0.8,
        "weight_decay": 1e-4,
        "norm_weight_decay": 0.0,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "warmup_from": 0.01,
        "label_smoothing": 0.1,
        "augment": ("flip",),
        "erasing": 0.1,
        "mixup": 0.2,
        "ema_decay": 0.99957,
        "ema_steps": 4,
    },
}


def recipe_fields(value: str | dict[str, Any]) -> dict[str, Any]:
    """All fields of a recipe given as a name, or as changes to one: `{base: imagenet-paper, epochs: 30}`.

    Raises ValueError where the base is not a known recipe. Fields are not checked here: that is `Recipe`'s job.
    """
    changes = {"base": value} if isinstance(value, str) else dict(value)
    base = changes.pop("base", None)
    if base is None:
        return {"name": "custom", **changes}
    if not isinstance(base, str) or base not in RECIPES:
        raise ValueError(f"unknown recipe {base!r}. {did_you_mean(str(base), list(RECIPES))}")
    if "schedule" in changes and changes["schedule"] != "steps":
        changes = {"milestones": (), **changes}
    return {"name": base, **RECIPES[base], **changes}
