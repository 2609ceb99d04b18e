"""The look of every figure: sizes, colours, markers, names, legends; and a figure as a file's content."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from ablation.sweep import Panel

COLUMN, PAGE = 3.35, 6.9
"""Widths of a half and of a full text column, in inches: figures are drawn at the size they are printed at."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
BARS: dict[str, Any] = {"capsize": 2.5, "elinewidth": 0.9, "capthick": 0.9}
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlelocation": "left",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # names may hold dollars
    "svg.fonttype": "path",
    "svg.hashsalt": "ablation",
    "figure.constrained_layout.use": True,
}


@contextmanager
def style() -> Iterator[None]:
    """The toolkit's look, for figures made inside."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def axes(count: int, *, height: float = 2.75, columns: int | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of `count` axes, `height` of a row in inches: one in a half column, or two a row on a full one.

    `columns` sets the width instead: 1 is a half column of one axes a row, 2 the full page.
    """
    wide = columns == 2 or (columns is None and count > 1)
    across = min(count, 2) if wide else 1
    rows = -(-count // across)
    figure = Figure(figsize=(PAGE if wide else COLUMN, rows * height))
    grid = list(figure.subplots(rows, across, squeeze=False).flat)
    for spare in grid[count:]:
        spare.remove()
    return figure, grid[:count]


def to_svg(figure: Figure) -> str:
    """The same bytes for the same figure: no date, no random ids, text as outlines."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(line.rstrip() + "\n" for line in file.getvalue().splitlines())


def to_png(figure: Figure) -> bytes:
    """The figure in pixels, 200 to an inch; the same bytes for the same figure."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=200, metadata={"Software": None})
    return file.getvalue()


def keep_layout(figure: Figure) -> None:
    """Leave everything where it was last drawn: laying it out again takes as long as drawing it."""
    with mpl.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)


def colours(count: int) -> list[Any]:
    """Colours that colour-blind people tell apart; they come round again after ten."""
    palette = sns.color_palette("colorblind")
    return [palette[index % len(palette)] for index in range(count)]


def looks(count: int) -> list[dict[str, Any]]:
    """Colour and marker of each of `count` arms: the same in every figure, and told apart in grey."""
    return [{"color": colour, "marker": MARKERS[index % len(MARKERS)]} for index, colour in enumerate(colours(count))]


def legend(ax: Axes) -> None:
    """Below the axes, where it hides nothing: a fixed way down, however high the axes are."""
    texts = ax.get_legend_handles_labels()[1]
    if texts:
        columns = 3 if max(map(len, texts)) <= 12 else 2
        below = ax.transAxes + ScaledTranslation(0, -31 / 72, ax.figure.dpi_scale_trans)
        ax.legend(loc="upper center", bbox_to_anchor=(0.45, 0), bbox_transform=below, ncols=columns, columnspacing=1.2)


def names(panel: Panel) -> dict[str, str]:
    """What each arm is called in a figure: `4x24d` where all are of one depth, else its name; several lines if long.

    What all names end in after an underscore (small twins: `_small-8`) is left out.
    """
    arms = [arm.name for arm in panel.arms]
    ends = {re.sub(r"^.*?(_small-[^_]*)?$", r"\1", arm) for arm in arms}
    plain = {arm: arm.removesuffix(ends.copy().pop() if len(ends) == 1 else "") for arm in arms}
    found = {arm: re.fullmatch(r"resnex?t(\d+)_(.+)", short) for arm, short in plain.items()}
    one_depth = len({match and match[1] for match in found.values()}) == 1
    shown = {arm: match[2] if match and one_depth else plain[arm] for arm, match in found.items()}
    return {name: label if len(label) <= 18 else _lines(label) for name, label in shown.items()}


def _lines(label: str) -> str:
    lines = [line for part in re.split(r"[_ ]", label) for line in textwrap.wrap(part, 18)]
    return "\n".join(lines if len(lines) <= 6 else [*lines[:4], "…", lines[-1]])


def called(panel: Panel) -> str:
    """The panel's name, cut where a figure has no room for it."""
    return panel.name if len(panel.name) <= 40 else panel.name[:39] + "…"


def rows(ax: Axes, texts: Sequence[str]) -> list[float]:
    """Where a row for each of `texts` stands on the y axis, from the top: long ones get room."""
    room = [height(text) for text in texts]
    middles = [sum(room[:index]) + own / 2 for index, own in enumerate(room)]
    ax.set_yticks(middles, list(texts))
    ax.set_ylim(sum(room), 0)
    ax.grid(axis="y", visible=False)
    return middles


def height(text: str) -> float:
    """Of a row, in lines of text."""
    return max(1.4, text.count("\n") + 1.2)
