"""Figures as files: SVG and PNG of each, several figures at a time where there are cores for it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from matplotlib.figure import Figure

from analysis.figures.style import keep_layout, to_png, to_svg

_inherited: dict[str, Figure] = {}
"""Of a copy of this process: the figures that were there when it was made."""


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> None:
    """Write figures below `folder`: the same bytes, however many cores there are.

    On Linux by copies of this process, which need no figure sent to them.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    workers = min(len(figures), cores)
    if workers > 1:
        with suppress(BrokenProcessPool), warnings.catch_warnings():  # a copy that was killed: as on one core
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which a copy does without
            with ProcessPoolExecutor(workers, get_context("fork"), _inherited.update, (figures,)) as pool:
                list(pool.map(_write_inherited, [folder] * len(figures), figures))
                return
    for name, figure in figures.items():
        write_figure(folder, name, figure)


def _write_inherited(folder: Path, name: str) -> None:
    write_figure(folder, name, _inherited[name])


def write_figure(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Write a figure as SVG and PNG; the paths. The figure is laid out once, and is not to be changed after that."""
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    paths[0].write_text(to_svg(figure), encoding="utf-8")
    keep_layout(figure)
    paths[1].write_bytes(to_png(figure))
    return paths
