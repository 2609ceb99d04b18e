"""What a new sweep file and a new panel say, where a ladder alone does not decide it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ablation.plan.edit import scalar

if TYPE_CHECKING:
    from ablation.plan.arms import Ladder

RECIPES = {"fashion_mnist": "fashion", "cifar10": "cifar-paper", "cifar100": "cifar-paper"}
"""How a new panel trains, by its data set; `LARGE_RECIPE` on all others."""

LARGE_RECIPE = "imagenet-paper"
LARGE = ("bf16", "margin: 0.2", "{gpus: 1, parallel: 4, job_hours: 24}")
STUDIES = {"fashion_mnist": ("fp32", "margin: 0.5", "{parallel: 4}")}
"""Precision, evidence and resources of a new file, by its first data set; `LARGE` on all others."""

QUESTIONS = {
    "cardinality": "does error fall as cardinality grows?",
    "width": "does error fall as width grows?",
    "depth": "does error fall as depth grows?",
    "groups": "does error change with the width of a group?",
}


def question(axes: Collection[str] | None) -> str:
    """What a ladder of designs along these axes asks; None: designs that were drawn from a space."""
    if axes is None:
        return "How does error vary over designs of one budget?"
    if len(axes) == 1:
        return f"At one budget, {QUESTIONS[next(iter(axes))]}"
    return f"At one budget, which mix of {' and '.join(sorted(axes))} errs least?"


def family_question(name: str, knobs: Collection[str]) -> str:
    """What a ladder of a family asks: `knobs` are those whose values differ."""
    if not knobs:
        return f"At one budget, how much does {name} err?"
    return f"At one budget, how does the error of {name} change with {' and '.join(knobs)}?"


def usual_dataset(image: Mapping[str, int]) -> dict[str, Any]:
    """The data set of a new panel, by its images: as a sweep names it.

    28 pixels and 10 classes: Fashion-MNIST. 32 pixels and colours: CIFAR, by its classes. Else ImageNet, with the
    resolution and, where they are others, the classes.
    """
    channels, resolution, classes = image["channels"], image["resolution"], image["classes"]
    if (channels, resolution, classes) == (1, 28, 10):
        return {"name": "fashion_mnist"}
    if (channels, resolution) == (3, 32) and classes in (10, 100):
        return {"name": f"cifar{classes}"}
    return {"name": "imagenet", "resolution": resolution} | ({"classes": classes} if classes != 1000 else {})


def new_image(image: Mapping[str, int]) -> dict[str, int]:
    """The images of a new panel where these are asked for: those of its data set."""
    grey = {**image, "channels": 1}
    if usual_dataset(grey)["name"] == "fashion_mnist":
        return grey
    return {**image, "channels": 3}


def new_file(ladder: Ladder, panel: str) -> str:
    """A sweep of one panel."""
    precision, margin, resources = STUDIES.get(usual_dataset(ladder.image)["name"], LARGE)
    return (
        f"question: {scalar(ladder.question)}\n"
        f"panels:\n{new_panel(ladder, panel, '  ')}"
        f"seeds: 3\nprecision: {precision}\n"
        f"evidence: {{metric: top1_error, {margin}}}\nresources: {resources}\n"
    )


def new_panel(ladder: Ladder, name: str, indent: str) -> str:
    """The lines of a panel, as an item of `panels`."""
    dataset = usual_dataset(ladder.image)
    said = ", ".join(f"{key}: {value}" for key, value in dataset.items())
    fields = [
        f"- name: {scalar(name)}",
        f"  budget: {scalar(ladder.budget)}" + (f"  # {ladder.note}" if ladder.note else ""),
        f"  dataset: {f'{{{said}}}' if len(dataset) > 1 else dataset['name']}",
        f"  recipe: {RECIPES.get(dataset['name'], LARGE_RECIPE)}",
        f"  baseline: {scalar(ladder.baseline)}",
        "  arms:                          # written by plan; costs are checked again at launch",
        *(f"    {arm.text}" for arm in ladder.arms),
    ]
    return "".join(f"{indent}{line}\n" for line in fields)
