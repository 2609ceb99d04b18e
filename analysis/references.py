"""What a study rests on, as BibTeX: from `references.bib`, only what this study uses."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files

from ablation.design import Design
from ablation.recipe import Recipe
from ablation.sweep import Sweep
from analysis.findings import Finding

DATASETS = {
    "fashion_mnist": "xiao2017fashion",
    "cifar10": "krizhevsky2009learning",
    "cifar100": "krizhevsky2009learning",
    "imagenet": "russakovsky2015imagenet",
}
SCHEDULES = {"one-cycle": "smith2019super", "cosine": "loshchilov2017sgdr"}


@cache
def references() -> dict[str, str]:
    """Every entry by its key, in the file's order."""
    text = files("analysis").joinpath("references.bib").read_text(encoding="utf-8")
    return {_key(entry): entry.strip() + "\n" for entry in re.split(r"^(?=@)", text, flags=re.MULTILINE) if entry}


def _key(entry: str) -> str:
    return entry[entry.index("{") + 1 : entry.index(",")]


def to_bibtex(used: Collection[str], versions: Sequence[str]) -> str:
    """The entries that are `used`, this toolkit in its `versions` last."""
    return "\n".join([*(entry for key, entry in references().items() if key in used), _toolkit(versions)])


def cited(sweep: Sweep, found: Sequence[Finding]) -> set[str]:
    """Keys of the networks, data sets, recipes and statistics that a study uses."""
    arms = [arm for panel in sweep.panels for arm in panel.arms]
    own = any(isinstance(arm.design, Design) for arm in arms)
    keys = {"xie2017aggregated", "he2016deep"} if own else set()
    keys |= {DATASETS[panel.dataset.name] for panel in sweep.panels if panel.dataset.name in DATASETS}
    keys |= {key for arm in arms for key in _recipe(arm.recipe)}
    if any(finding.comparison.tested > 1 for finding in found):
        keys |= {"holm1979simple", "dunn1961multiple"}
    return keys | ({"schuirmann1987comparison"} if sweep.evidence.margin else set())


def _recipe(recipe: Recipe) -> set[str]:
    keys = {SCHEDULES[recipe.schedule]} if recipe.schedule in SCHEDULES else set()
    keys |= {"goyal2017accurate"} if recipe.warmup_epochs else set()
    return keys | ({"szegedy2016rethinking"} if recipe.label_smoothing else set())


def _toolkit(versions: Sequence[str]) -> str:
    version = f"  version = {{{' and '.join(versions)}}},\n" if versions else ""
    return (
        "@software{cardinality_ablation,\n  author  = {{The ablation toolkit's authors}},\n"
        "  title   = {cardinality-ablation: cardinality against width and depth at a fixed budget},\n"
        f"{version}}}\n"
    )
