"""Whether a measured number may be set against the paper's: every reason why not, in words."""

from __future__ import annotations

from typing import Any

from ablation.design import Design, design_from_name
from ablation.recipe import RECIPES, Recipe
from ablation.run import ENGINE
from ablation.sweep import Arm, Panel
from analysis.collect import Study
from analysis.paper import data_of
from analysis.published import Published
from analysis.verdict import DATASETS, dataset_label

NAMED = {"6": ("imagenet5k-paper", "imagenet-5k"), "7": ("cifar-paper", "cifar-code")}
"""The paper's recipes by table, where it is not `imagenet-paper`."""
IMAGES = {"imagenet": (1_281_167, 50_000), "cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}
"""How many images are trained on and evaluated: fewer are a shrunken copy."""
RESOLUTION = 224
SHOWN = 3
"""Fields of a recipe that are named; of more only the number is."""


def reasons(study: Study, panel: Panel, arm: Arm, published: Published) -> list[str]:
    """Why an arm's number can't be set against this one; empty where it can. Most telling first."""
    if arm.twin_of:
        return [f"a small twin of {arm.twin_of}"]
    every = [
        "" if published.design else "another group's network and recipe",
        _data(panel, published),
        _design(panel, arm, published),
        _recipe(arm.recipe, published.table),
        _images(study, panel),
        _engine(study),
    ]
    return [why for why in every if why]


def _data(panel: Panel, published: Published) -> str:
    data, name = panel.dataset, data_of(panel.dataset)
    if name != published.dataset:
        return f"data: {dataset_label(panel)}, not {DATASETS.get(published.dataset, published.dataset)}"
    if published.table == "6":
        return "data: which 5,000 classes the paper trained on is not published"
    if data.evaluate != "test":
        return f"evaluated on the {data.evaluate} split"
    if data.facts.folder and data.resolution != RESOLUTION and published.design:
        return f"resolution: {data.resolution} pixels, not {RESOLUTION}"
    return ""


def _design(panel: Panel, arm: Arm, published: Published) -> str:
    if not published.design or not isinstance(arm.design, Design):
        return ""
    own = panel.dataset.fit(design_from_name(arm.design.name))
    return "" if own == arm.design else "design: another stem or other outputs than the paper's"


def paper_recipes(table: str) -> list[dict[str, Any]]:
    """The fields of the recipes that the paper used for a table; the first one is its own."""
    known = [RECIPES[name] for name in NAMED.get(table, ("imagenet-paper",)) if name in RECIPES]
    return known or [{**RECIPES["imagenet-paper"], "epochs": 20, "milestones": (6, 12, 18)}]  # a fifth of the epochs


def _recipe(recipe: Recipe, table: str) -> str:
    every = [Recipe(name="", **fields) for fields in paper_recipes(table)]
    unlike = [differing(recipe, paper) for paper in every]
    if not all(unlike):
        return ""
    told = [f"{field.replace('_', ' ')} {_said(own)} (paper: {_said(paper)})" for field, own, paper in unlike[0]]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return f"recipe: {', '.join(told[:SHOWN])}{more}"


def differing(recipe: Recipe, other: Recipe) -> list[tuple[str, Any, Any]]:
    """The fields, other than the name, in which two recipes differ, with both values."""
    values = [
        (field, getattr(recipe, field), getattr(other, field)) for field in Recipe.model_fields if field != "name"
    ]
    return [(field, own, its) for field, own, its in values if own != its]


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _images(study: Study, panel: Panel) -> str:
    name = data_of(panel.dataset)
    train, images = IMAGES.get(name, (None, None))
    evaluated = study.runs.loc[study.runs["panel"] == panel.name, "images"].dropna()
    if images and len(evaluated) and int(evaluated.iloc[0]) != images:
        return f"data: {int(evaluated.iloc[0]):,} images evaluated, not {images:,}"
    trained = [data.get("train_images") for data in study.provenance["data"] if data.get("name") == panel.dataset.name]
    short = [count for count in trained if count and train and count != train]
    return f"data: trained on {short[0]:,} images, not {train:,}" if short else ""


def _engine(study: Study) -> str:
    old = [engine for engine in study.provenance["engines"] if engine != ENGINE]
    return f"engine {old[0]}, whose numbers version {ENGINE} would not give" if old else ""
