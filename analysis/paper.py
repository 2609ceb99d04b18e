"""The paper's tables as it prints them: which number stands in which row and column, and which arm of a sweep is it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ablation.dataset import Dataset
from ablation.sweep import Arm
from analysis.published import Published, select

Key = tuple[str, str]
"""A network of the paper: its design's name (or what it is called, where it is no design), and its shortcut."""


@dataclass(frozen=True)
class Part:
    """One column of numbers."""

    title: str
    metric: str
    settings: tuple[str, ...]
    """What the paper says beside such a number: a crop, `1K-way`, `with shortcut`."""
    dataset: str = ""
    """Where a column is of one data set; empty: of the table's."""


@dataclass(frozen=True)
class Line:
    """One row of a table of the paper."""

    arm: str
    """As the paper calls it."""
    setting: str
    """`1 x 64d`, where the table has such a column."""
    aside: str
    """Complexity and axis (Table 4), parameters (Table 7), what became of the projections (residual)."""
    numbers: dict[str, Published]
    """By the title of a column."""
    keys: dict[str, Key]
    """Which network each column's number is of, by title."""

    @property
    def design(self) -> str:
        """The design's name; empty for other families."""
        return next((one.design for one in self.numbers.values()), "")


def _tops(title: str, *settings: str) -> tuple[Part, Part]:
    return Part(f"{title}top-1", "top1_error", settings), Part(f"{title}top-5", "top5_error", settings)


@dataclass(frozen=True)
class Layout:
    """How the paper sets a table."""

    title: str
    parts: tuple[Part, ...]
    aside: str = ""
    """Head of the column for what a line says aside."""
    shapes: bool = False
    """Whether C and d have a column of their own."""
    digits: int = 1
    """Behind the point of a number, as printed."""


_ERROR = "top1_error"
LAYOUTS = {
    "3": Layout(
        "The paper's Table 3: cardinality against width at one complexity",
        (Part("top-1", _ERROR, ("224",)),),
        shapes=True,
    ),
    "4": Layout("The paper's Table 4: deeper, wider, or more cardinality", _tops("", "224"), "complexity", shapes=True),
    "5": Layout(
        "The paper's Table 5: against the field", (*_tops("224: ", "224"), *_tops("320 / 299: ", "320", "299"))
    ),
    "6": Layout("The paper's Table 6: ImageNet-5K", (*_tops("5K-way: ", "5K-way"), *_tops("1K-way: ", "1K-way"))),
    "7": Layout(
        "The paper's Table 7: CIFAR",
        (Part("CIFAR-10", _ERROR, ("",), "cifar10"), Part("CIFAR-100", _ERROR, ("",), "cifar100")),
        "params",
        digits=2,
    ),
    "8": Layout(
        "The paper's Table 8: COCO detection", (Part("AP@0.5", "ap50", ("minival",)), Part("AP", "ap", ("minival",)))
    ),
    "residual": Layout(
        "The paper's section 5.1: residual connections",
        (Part("with shortcuts", _ERROR, ("with shortcut",)), Part("without", _ERROR, ("without shortcut",))),
        "projections",
    ),
}
"""By table."""
FIRST = ("224", "5K-way", "with shortcut", "without shortcut", "")
"""Settings of the numbers that a run's first evaluation stands beside."""
PROJECTIONS = {"none": "dropped", "projection-only": "kept"}
"""Two ways to have no shortcuts: the paper does not say which was its own."""
ALIASES = {
    "wideresnet2810": "wideresnet",
    "wrn2810": "wideresnet",
    "wrndepth28width160": "wideresnet",
    "inceptionresnet2": "inceptionresnetv2",
}
"""What networks that are no designs are called elsewhere."""


def lines(table: str, keys: Collection[Key] = ()) -> list[Line]:
    """The rows of a table in the paper's order; `keys` are of arms that are run, which tell variants apart."""
    rows = select(table=table)
    found = []
    for design, arm in dict.fromkeys((row.design, row.arm) for row in rows):
        own = [row for row in rows if (row.design, row.arm) == (design, arm)]
        variants = [cut for cut in PROJECTIONS if (design, cut) in keys] if table == "residual" else []
        found += [_line(table, arm, own, variant) for variant in variants or ["none"]]
    return found


def _line(table: str, arm: str, own: list[Published], variant: str) -> Line:
    layout = LAYOUTS[table]
    numbers = {part.title: row for part in layout.parts for row in own if _is(row, part)}
    name = own[0].design or plain(arm)
    keys = {
        title: (name, variant if row.setting.startswith("without") else "projection") for title, row in numbers.items()
    }
    shaped = layout.shapes and re.fullmatch(r"(.+) (\d+)x(\d+)d", arm)
    label, setting = (shaped[1], f"{shaped[2]} × {shaped[3]}d") if shaped else (arm, "")
    return Line(label, setting, _aside(table, own, variant), numbers, keys)


def _is(row: Published, part: Part) -> bool:
    return row.metric == part.metric and row.setting in part.settings and part.dataset in ("", row.dataset)


def _aside(table: str, own: list[Published], variant: str) -> str:
    if table == "7":
        return next((f"{row.value / 1e6:.1f}M" for row in own if row.metric == "params"), "–")
    return {"4": own[0].note, "residual": PROJECTIONS[variant]}.get(table, "")


def plain(name: str) -> str:
    """A name without signs and capitals, as it is called in the paper."""
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    return ALIASES.get(bare, bare)


def key_of(arm: Arm) -> Key:
    """Which network of the paper an arm would be, or be a small copy of; of another family by its name."""
    full = arm.twin_of or (arm.name if arm.design.cardinality is None else arm.design.name)
    match = re.fullmatch(r"(resnex?t\d+_[^_]+)(?:_shortcut-(.+))?", full)
    return (match[1], match[2] or "projection") if match else (plain(full), "projection")


def data_of(dataset: Dataset) -> str:
    """What `published.csv` would call a data set."""
    return dataset.path if dataset.name == "folder" else dataset.name


def evaluation_of(setting: str, dataset: Dataset) -> str:
    """The evaluation that a number of the paper is to be compared with; empty: the first one."""
    return "" if setting in FIRST or setting == str(dataset.resolution) else setting
