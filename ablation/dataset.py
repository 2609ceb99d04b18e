"""A data set as data: which images, what is trained on, what is evaluated. Reading them is `data.py`'s job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from ablation.errors import UserError, did_you_mean
from ablation.family import Architecture
from ablation.stated import Stated

AnyDesign = TypeVar("AnyDesign", bound=Architecture)
Whole = Annotated[int, Field(strict=True, ge=1)]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Debian's `dataset-fashion-mnist`: four gzipped IDX files."""


@dataclass(frozen=True)
class Facts:
    """What a named data set brings with it."""

    channels: int
    classes: int
    resolution: int
    validation: int
    """Images set aside of train for choosing anything: learning rate, epochs, recipe."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Per channel, of pixels in 0..1."""
    folder: bool = False
    """A tree of `train/<class>/` and `val/<class>/` image files, decoded as they are read."""


_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "folder": True}
KNOWN = {
    "fashion_mnist": Facts(1, 10, 28, 5_000, (0.2860,), (0.3530,)),
    "cifar10": Facts(3, 10, 32, 5_000, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Facts(3, 100, 32, 5_000, (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": Facts(3, 1_000, 224, 10_000, **_IMAGENET),
    "folder": Facts(3, 1_000, 224, 10_000, **_IMAGENET),
}


class Dataset(Stated):
    """The data of a panel, as a sweep names them."""

    name: str
    """fashion_mnist, cifar10, cifar100, imagenet, or folder (any ImageFolder tree: give `path` and `classes`)."""
    resolution: Whole
    """Pixels a side that the network sees."""
    classes: Whole
    evaluate: Literal["test", "validation"] = "test"
    """test: train on all of train, read the test set. validation: train on train less the split, read the split."""
    validation: Whole
    """Images in the validation split."""
    path: str = ""
    """The tree below the data root; by default the data set's name."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, fields: Any) -> Any:
        fields = {"name": fields} if isinstance(fields, str) else fields
        if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
            return fields
        facts = KNOWN.get(fields["name"])
        if facts is None:
            raise ValueError(f"unknown data set {fields['name']!r}. {did_you_mean(fields['name'], list(KNOWN))}")
        if fields["name"] == "folder" and not {"path", "classes"} <= fields.keys():
            raise ValueError("a folder data set needs `path` (below the data root) and `classes`")
        usual = {"resolution": facts.resolution, "classes": facts.classes, "validation": facts.validation}
        return {**usual, "path": fields["name"], **fields}

    @model_validator(mode="after")
    def _check(self) -> Dataset:
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"path {self.path!r} must stay below the data root")
        fixed = {"classes": self.facts.classes, "resolution": self.facts.resolution}
        for field, value in fixed.items():
            if not self.facts.folder and getattr(self, field) != value:
                raise ValueError(f"{self.name} has {field} {value}, not {getattr(self, field)}")
        return self

    @property
    def facts(self) -> Facts:
        """What the named data set brings with it."""
        return KNOWN[self.name]

    def fit(self, design: AnyDesign) -> AnyDesign:
        """The design for these images: their resolution, channels and classes."""
        return replace(design, resolution=self.resolution, channels=self.facts.channels, classes=self.classes)


def dataset_from_dict(fields: dict[str, Any]) -> Dataset:
    """A Dataset from what `run.json` holds. Raises UserError where it is damaged."""
    try:
        return Dataset.model_validate(fields)
    except ValueError as error:
        raise UserError(f"damaged data set description: {error}") from None
