"""A data set as data: which images, what is trained on, what is evaluated. Reading them is `data.py`'s job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ablation.design import Design
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
    """Image files in folders or in tars, decoded as they are read (docs/images.md)."""
    class_list: str = ""
    """The file that names its classes; none: all that are there."""


_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "folder": True}
KNOWN = {
    "fashion_mnist": Facts(1, 10, 28, 5_000, (0.2860,), (0.3530,)),
    "cifar10": Facts(3, 10, 32, 5_000, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": Facts(3, 100, 32, 5_000, (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": Facts(3, 1_000, 224, 10_000, **_IMAGENET),
    "imagenet5k": Facts(3, 5_000, 224, 50_000, **_IMAGENET, class_list="classes.txt"),
    "folder": Facts(3, 1_000, 224, 10_000, **_IMAGENET),
}
FOLDER_ONLY = ("class_list", "decoder", "corrupt")
"""Fields that say nothing of a data set in memory."""


class Further(Stated):
    """One more evaluation of the final network, on the same images as the usual one."""

    later: ClassVar[frozenset[str]] = frozenset({"resolution", "classes"})

    resolution: Whole | None = None
    """Pixels a side; the shorter side becomes 256/224 of it before the crop, as in the usual evaluation. None: the
    same."""
    classes: str | tuple[Annotated[str, BeforeValidator(str)], ...] | None = None
    """The network chooses among these classes alone, and only their images count: a file in the data set's folder, one
    name a line, or the names. None: among all."""

    @model_validator(mode="after")
    def _check(self) -> Further:
        if self.resolution is None and self.classes is None:
            raise ValueError("a further evaluation needs another resolution, or classes")
        if isinstance(self.classes, str):
            _stays_below(self.classes, "classes")
        return self


class Named(dict[str, Further]):
    """Further evaluations by name; never changed, so that a Dataset can be a key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def _stays_below(path: str, field: str) -> None:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"{field} {path!r} must stay below the data root")


EvaluationName = Annotated[
    str,
    BeforeValidator(lambda name: str(name) if isinstance(name, int) else name),
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$"),
]


class Dataset(Stated):
    """The data of a panel, as a sweep names them. Whether images lie in folders or in tars is not said: they are the
    same."""

    later: ClassVar[frozenset[str]] = frozenset({"class_list", "evaluations", "decoder", "corrupt"})

    name: str
    """fashion_mnist, cifar10, cifar100, imagenet, imagenet5k, or folder (any other: give `path` and `classes`)."""
    resolution: Whole
    """Pixels a side that the network sees."""
    classes: Whole
    evaluate: Literal["test", "validation"] = "test"
    """test: train on all of train, read the test set. validation: train on train less the split, read the split."""
    validation: Whole
    """Images in the validation split."""
    path: str = ""
    """The tree below the data root; by default the data set's name."""
    class_list: str = ""
    """A file in the data set's folder, one class a line: train on these only. Empty: on every class that is there."""
    evaluations: Annotated[dict[EvaluationName, Further], AfterValidator(Named)] = Named()
    """Further evaluations, of the final network only, by the name that they have in results."""
    decoder: Literal["pil", "torchvision"] = "pil"
    """torchvision: faster (docs/images.md), with resized pixels that differ by 1 of 255 here and there."""
    corrupt: Literal["stop", "skip"] = "stop"
    """What to do about a training image that can't be decoded. skip: train on the next one of its class instead."""

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
        listed = {"class_list": facts.class_list} if facts.class_list else {}
        return {**usual, "path": fields["name"], **listed, **fields}

    @model_validator(mode="after")
    def _check(self) -> Dataset:
        _stays_below(self.path, "path")
        if self.class_list:
            _stays_below(self.class_list, "class_list")
        if unfit := [name for name in ("test", "validation") if name in self.evaluations]:
            raise ValueError(f"{unfit[0]} is the usual evaluation. Name a further one otherwise")
        if not self.facts.folder:
            self._check_small()
        return self

    def _check_small(self) -> None:
        fixed = {"classes": self.facts.classes, "resolution": self.facts.resolution}
        for field, value in fixed.items():
            if getattr(self, field) != value:
                raise ValueError(f"{self.name} has {field} {value}, not {getattr(self, field)}")
        for field in FOLDER_ONLY:
            if getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"{field} is for image files, and {self.name} has none. Leave it out")
        for name, further in self.evaluations.items():
            if isinstance(further.classes, str):
                raise ValueError(f"classes of evaluation {name}: {self.name} has no folder. Name them: [0, 1]")

    @property
    def facts(self) -> Facts:
        """What the named data set brings with it."""
        return KNOWN[self.name]

    def fit(self, design: AnyDesign) -> AnyDesign:
        """The design for these images: their resolution, channels and classes.

        Raises UserError where it can't see them, or those of a further evaluation. (Of a family's network that is
        known when it is built.)
        """
        fitted = replace(design, resolution=self.resolution, channels=self.facts.channels, classes=self.classes)
        for name, further in self.evaluations.items():
            if isinstance(fitted, Design) and further.resolution:
                try:
                    replace(fitted, resolution=further.resolution)
                except UserError as error:
                    raise UserError(f"evaluation {name}: {error.message}") from None
        return fitted


def dataset_from_dict(fields: dict[str, Any]) -> Dataset:
    """A Dataset from what `run.json` holds. Raises UserError where it is damaged."""
    try:
        return Dataset.model_validate(fields)
    except ValueError as error:
        raise UserError(f"damaged data set description: {error}") from None
