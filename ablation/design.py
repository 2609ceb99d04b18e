"""A design: one architecture of the ResNeXt family, and its name (paper, sections 3.1 to 3.3)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from ablation.errors import UserError, did_you_mean

FORMS = ("a", "b", "c")
STEMS = ("imagenet", "cifar", "small")
SHORTCUTS = ("projection", "identity", "projection-only", "none")


@dataclass(frozen=True)
class Design:
    """A bottleneck network of C parallel paths: y = shortcut(x) + sum over i of T_i(x) (paper, eq. 2)."""

    blocks: tuple[int, ...]
    """Blocks in each stage; ResNet-50 has (3, 4, 6, 3)."""
    cardinality: int
    """C: the number of paths of a block."""
    widths: tuple[int, ...]
    """d: the width of one path in each stage (not C·d); 32x4d has (4, 8, 16, 32)."""
    outputs: tuple[int, ...] = (256, 512, 1024, 2048)
    """Channels that leave each stage. Every stage after the first halves the map (stride 2 in its first 3x3)."""
    stem: str = "imagenet"
    """imagenet: 7x7 stride 2, then max pooling; cifar: 3x3; small: 2x2 space-to-depth, then 3x3."""
    stem_width: int = 64
    """Channels that leave the stem."""
    form: str = "c"
    """a: separate paths, summed; b: concatenated before the last 1x1; c: one grouped 3x3 (paper, figure 3)."""
    shortcut: str = "projection"
    """projection: 1x1 where shapes change, identity elsewhere (type B); identity: no parameters (type A: zero
    padding); projection-only: 1x1 where shapes change, nothing elsewhere; none."""
    classes: int = 1000
    resolution: int = 224
    """Height and width of an input image, in pixels."""
    channels: int = 3
    kernel: int = 3
    """Pixels a side of the convolution in the middle of a block; odd, so that the map keeps its size."""

    def __post_init__(self) -> None:
        for field in ("blocks", "widths", "outputs"):
            value = getattr(self, field)
            if not value or not all(isinstance(n, int) and n >= 1 for n in value):
                raise UserError(f"{field} must be whole numbers of at least 1, one for each stage; got {list(value)}")
        for field in ("cardinality", "stem_width", "classes", "resolution", "channels"):
            if not isinstance(getattr(self, field), int) or getattr(self, field) < 1:
                raise UserError(f"{field} must be a whole number of at least 1; got {getattr(self, field)!r}")
        if not len(self.blocks) == len(self.widths) == len(self.outputs):
            raise UserError(
                f"blocks, widths and outputs must have one entry for each stage; "
                f"got {len(self.blocks)}, {len(self.widths)} and {len(self.outputs)}"
            )
        for field, choices in (("form", FORMS), ("stem", STEMS), ("shortcut", SHORTCUTS)):
            if getattr(self, field) not in choices:
                raise UserError(
                    f"unknown {field} {getattr(self, field)!r}", remedy=f"Choose from: {', '.join(choices)}."
                )
        if self.kernel not in range(1, 32, 2):
            raise UserError(f"kernel must be an odd number from 1 to 31; got {self.kernel!r}")
        if self.stem == "small" and self.resolution % 2:
            raise UserError(f"the small stem folds 2x2 pixels: resolution must be even, got {self.resolution}")

    @property
    def depth(self) -> int:
        """Layers with weights, counted as in the paper: three a block, the stem and the classifier."""
        return 3 * sum(self.blocks) + 2

    @property
    def doubles(self) -> bool:
        """Whether the width doubles from stage to stage (the paper's second rule)."""
        return all(width == self.widths[0] << stage for stage, width in enumerate(self.widths))

    @property
    def width(self) -> str:
        """d as the name writes it: `4`, or `4-7-16-33` where widths do not double."""
        return str(self.widths[0]) if self.doubles else "-".join(map(str, self.widths))

    @property
    def group_widths(self) -> tuple[int, ...]:
        """C·d for each stage: the channels of the grouped 3x3 in form c."""
        return tuple(self.cardinality * width for width in self.widths)

    @property
    def shape(self) -> str:
        """`4x24d`: C paths of width d."""
        return f"{self.cardinality}x{self.width}d"

    @property
    def name(self) -> str:
        """`resnext50_32x4d`, and what differs from the paper's defaults after it."""
        family = "resnet" if self.cardinality == 1 else "resnext"
        said = {field: getattr(self, field) for field, usual in NAMED.items() if getattr(self, field) != usual}
        blocks = {"blocks": "-".join(map(str, self.blocks))} if self.unusual else {}
        divided = {"small": self.divisor} if self.divisor else {}
        suffixes = {**blocks, **said, **divided}
        return f"{family}{self.depth}_{self.shape}" + "".join(f"_{key}-{value}" for key, value in suffixes.items())

    @property
    def unusual(self) -> bool:
        """Whether it has some depth, but the blocks of none of the paper's networks: its name can't be read back."""
        usual = TEMPLATES.get(self.depth)
        return usual is None or usual.blocks != self.blocks

    @property
    def divisor(self) -> int | None:
        """By what the template's widths were divided, where this is a `small` copy; else None."""
        if self.stem != "small":
            return None
        full = [
            usual for usual in TEMPLATES.values() if len(usual.blocks) == len(self.blocks) and usual.stem != "small"
        ]
        wanted = {usual.stem_width // self.stem_width for usual in full if usual.stem_width % self.stem_width == 0}
        fitting = [by for by in wanted if any(self.outputs == small(usual, by).outputs for usual in full)]
        return fitting[0] if fitting else None

    def with_width(self, width: int) -> Design:
        """The same design at another d, doubled from stage to stage."""
        return replace(self, widths=tuple(width << stage for stage in range(len(self.blocks))))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and scalars, as YAML and JSON hold them; a run's id digests them."""
        silent = {field for field in LATER if getattr(self, field) == NAMED[field]}
        fields = {key: value for key, value in asdict(self).items() if key not in silent}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}


NAMED: dict[str, Any] = {"form": "c", "shortcut": "projection", "kernel": 3}
"""Fields that stand in a name where they are not as here: `_form-a`."""
LATER = {"kernel"}
"""Of these, those that came after the first studies: left out of `to_dict` while as here, so that ids stay."""


def design_from_dict(fields: dict[str, Any]) -> Design:
    """The inverse of `Design.to_dict`."""
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Design(**plain)


def small(design: Design, divisor: int) -> Design:
    """The design with outputs and stem `divisor` times narrower, for grey images of 28x28 pixels in 10 classes.

    Blocks, cardinality, form and shortcut stay; so does d, which is the caller's to divide. Raises UserError where
    widths can't be divided by that.
    """
    if design.stem == "small":
        raise UserError(f"{design.name} is small already")
    if divisor < 1 or any(width % divisor for width in (*design.outputs, design.stem_width)):
        raise UserError(
            f"outputs {list(design.outputs)} and stem {design.stem_width} can't be divided by {divisor}",
            remedy="Take a power of 2, such as 8.",
        )
    outputs, stem_width = tuple(width // divisor for width in design.outputs), design.stem_width // divisor
    grey = replace(design, resolution=28, channels=1, classes=10)
    return replace(grey, outputs=outputs, stem_width=stem_width, stem="small")


def _template(blocks: tuple[int, ...], **fields: Any) -> Design:
    widths = tuple(1 << stage for stage in range(len(blocks)))
    return Design(blocks=blocks, cardinality=1, widths=widths, **fields)


_CIFAR: dict[str, Any] = {"outputs": (256, 512, 1024), "stem": "cifar", "classes": 10, "resolution": 32}
TEMPLATES: dict[int, Design] = {
    50: _template((3, 4, 6, 3)),
    101: _template((3, 4, 23, 3)),
    152: _template((3, 8, 36, 3)),
    200: _template((3, 24, 36, 3)),
    29: _template((3, 3, 3), **_CIFAR),
    11: _template((1, 1, 1), outputs=(32, 64, 128), stem="small", stem_width=16, classes=10, resolution=28, channels=1),
}
"""What a depth in a name stands for: the paper's ImageNet and CIFAR networks, and the demo's."""

_NAME = re.compile(
    r"resne(?:x?)t(?P<depth>\d+)_(?P<cardinality>\d+)x(?P<width>\d+(?:-\d+)*)d(?P<suffixes>(?:_[a-z]+-[a-z0-9-]+)*)"
)


def design_from_name(name: str) -> Design:
    """The design that a name such as `resnext50_32x4d` stands for.

    Raises UserError where the name can't be read or its depth is not one of `TEMPLATES`.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise _unreadable(name)
    depth = int(match["depth"])
    if depth not in TEMPLATES:
        known = [str(known) for known in sorted(TEMPLATES)]
        raise UserError(f"unknown depth {depth} in design {name!r}", remedy=did_you_mean(str(depth), known))
    said = dict(suffix.split("-", 1) for suffix in match["suffixes"].split("_")[1:])
    divisor = said.pop("small", "1")
    if said.keys() - NAMED.keys() or not divisor.isdigit():
        raise _unreadable(name)
    usual = TEMPLATES[depth] if divisor == "1" else small(TEMPLATES[depth], int(divisor))
    values: dict[str, Any] = {field: int(value) if value.isdigit() else value for field, value in said.items()}
    base = replace(usual, cardinality=int(match["cardinality"]), **values)
    widths = tuple(int(width) for width in match["width"].split("-"))
    return base.with_width(widths[0]) if len(widths) == 1 else replace(base, widths=widths)


def _unreadable(name: str) -> UserError:
    return UserError(
        f"unknown design {name!r}",
        remedy="Designs are named like resnet50_1x64d, resnext101_64x4d or resnext50_16x7-14-29-64d.",
    )
