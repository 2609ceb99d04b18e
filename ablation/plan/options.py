"""The options of `python -m ablation.plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BudgetName = Annotated[
    str,
    typer.Option(help="A budget's or a design's name, a multiple (2*resnet101), or numbers: params=25M,macs=4.1G."),
]
Axis = Annotated[
    list[str] | None,
    typer.Option(
        help="cardinality (d for each C; default), width (d for each --scale), depth (blocks for each --scale), "
        "groups (C for each --width); two of them give a grid: depth's scale then says for which share of the budget "
        "blocks are chosen, and the other axis meets the budget.",
        show_default=False,
    ),
]
FamilyName = Annotated[
    str | None,
    typer.Option(
        "--family",
        help="Somebody's own architecture, mylab.blocks:convnext or blocks.py:convnext (docs/families.md), with "
        "--axis knob=1,2,3 and as budget also a design of it: width=96,expansion=4.",
        show_default=False,
    ),
]
Cardinality = Annotated[
    list[int] | None, typer.Option(help="C, one or more values.  [default: 1 2 4 8 16 32]", show_default=False)
]
Width = Annotated[list[int] | None, typer.Option(help="d along groups (default: 4 8 16 32 64), or kept along depth.")]
Scale = Annotated[
    list[float] | None, typer.Option(help="Multiples of the budget, along width and depth; e.g. 0.5 1 2.")
]
Base = Annotated[str | None, typer.Option(help="The design whose shape is kept, where it is not the budget's own.")]
Resolution = Annotated[int | None, typer.Option(help="Height and width of an image, in pixels.")]
Classes = Annotated[int | None, typer.Option(help="Classes of the classifier.")]
Match = Annotated[
    str | None,
    typer.Option(
        help="block (the paper's; default), params, macs, both, activations, or memory (weights, gradients, momentum "
        "and kept activations of --batch images, fp32), or time (seconds of a training step; see --times). Along depth "
        "the default is macs.",
        show_default=False,
    ),
]
Tolerance = Annotated[
    str | None, typer.Option(help="How far the match may miss: 5% or 0.05.  [default: 5%]", show_default=False)
]
Tight = Annotated[
    str | None,
    typer.Option(help="Free the stage widths: the least-bent within this on params and MACs at once, e.g. 1%."),
]
Times = Annotated[
    str | None,
    typer.Option(
        help="Times of training steps beside the costs: `here` measures them, for minutes where nets are large; a "
        "folder of runs has recorded them.",
        show_default=False,
    ),
]
Precision = Annotated[
    str | None, typer.Option(help="Of times here: fp32 (default), tf32, bf16 or fp64.", show_default=False)
]
Threads = Annotated[int | None, typer.Option(min=1, help="Of times here.  [default: 1]", show_default=False)]
Seeds = Annotated[
    str | None,
    typer.Option(help="What so many seeds an arm resolve; `auto`: how many --resolve needs.", show_default=False),
]
Resolve = Annotated[
    float | None, typer.Option(help="The true difference to find, in points of top-1 error.", show_default=False)
]
Pilots = Annotated[
    Path | None,
    typer.Option(help="Runs that tell the noise between seeds; else published noise is taken.", show_default=False),
]
Within = Annotated[
    str | None,
    typer.Option(help="Device time, 60h or 3d: which budget, epochs and seeds it pays for. Needs --times."),
]
Memory = Annotated[str | None, typer.Option(help="With --within: of the device, 24GB.", show_default=False)]
Multiple = Annotated[int, typer.Option(help="Every d is a multiple of this.")]
Batch = Annotated[int, typer.Option(help="Images of a training step, where memory is counted or time measured.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")]
ShowProof = Annotated[bool, typer.Option("--proof", help="Also the next d on either side, and what other rules pick.")]
FigureFile = Annotated[Path | None, typer.Option(help="Draw every row's distance from the budget into this SVG file.")]
SpaceFlag = Annotated[
    bool,
    typer.Option(
        "--space",
        help="Count every (blocks, C, d) in --blocks, --cardinality, --widths: how many meet the budget, their front.",
    ),
]
Blocks = Annotated[
    list[str] | None,
    typer.Option(help="With --space: blocks of every stage, 1-8, or a range for each.", show_default=False),
]
Widths = Annotated[str | None, typer.Option(help="With --space: d, such as 1-128.", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="With --space: the designs inside, as a Parquet file.")]
Whole = Annotated[bool, typer.Option("--all", help="With --out: also designs outside; a column says which are in.")]
SampleCount = Annotated[int, typer.Option("--sample", min=0, help="With --space: draw so many designs inside, evenly.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the drawing.")]
Write = Annotated[Path | None, typer.Option(help="Write the rows as a panel's arms into this sweep file.")]
PanelName = Annotated[
    str | None, typer.Option(help="The panel to write; by default the one of this budget.", show_default=False)
]
Small = Annotated[
    Path | None,
    typer.Option(
        help="A sweep file: print its small twin, for Fashion-MNIST on two cores, or --write it.", show_default=False
    ),
]
Divide = Annotated[
    int | None, typer.Option(min=2, help="With --small: by what widths are divided.  [default: 8]", show_default=False)
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Build every network and count again, with torch and with fvcore.")
]
