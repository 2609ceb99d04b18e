"""A sweep: a question, its panels, seeds and resources, from one YAML file; and the runs that answer it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from ablation.budget import Budget, budget_design, parse_budget
from ablation.cost import Cost, cost
from ablation.dataset import Dataset
from ablation.design import Design, design_from_dict, design_from_name
from ablation.errors import UserError, did_you_mean
from ablation.family import Architecture, FamilyDesign, check_resolution, cost_of, family_design, source_of
from ablation.recipe import Recipe, recipe_fields
from ablation.run import Run, RunPaths
from ablation.schema import ArmFile, Axis, Evidence, PanelFile, Resources, SweepFile, Tuned, teach
from ablation.yaml_file import YamlFile, override_value, read_yaml

AXES: tuple[str, ...] = get_args(Axis)
LONGEST_NAME = 100


@dataclass(frozen=True)
class Arm:
    """A design with a recipe: one line of a table."""

    name: str
    design: Architecture
    recipe: Recipe
    cost: Cost
    """Of a family's network: params and MACs as the file states them."""
    published: dict[str, float]
    axis: str | None = None
    """Along which it differs from the budget's own design: cardinality, width, depth, groups. None: it is that design,
    or differs along several, or is a family's."""
    twin_of: str | None = None
    """The full-size design of which it is a small copy."""


@dataclass(frozen=True)
class Panel:
    """Arms that are compared with each other: one budget, data set and baseline."""

    name: str
    budget: Budget
    dataset: Dataset
    recipe: Recipe
    baseline: str
    arms: tuple[Arm, ...]
    tuned: Tuned | None = None
    table: str | None = None
    """The paper's table that it runs: 3 to 8, or residual."""

    def along(self, axis: str) -> list[str]:
        """The names of the arms that differ from the budget's design along an axis."""
        return [arm.name for arm in self.arms if arm.axis == axis]


@dataclass(frozen=True)
class Sweep:
    """A question and everything that answers it."""

    name: str
    path: Path
    question: str
    panels: tuple[Panel, ...]
    seeds: tuple[int, ...]
    precision: str
    evidence: Evidence
    resources: Resources
    outside: bool = False
    """Its runs were trained elsewhere and come from a table: of data sets, recipes and precision nothing is known."""

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds at which verdicts are given."""
        return self.evidence.looks or (len(self.seeds),)

    def runs(self) -> list[Run]:
        """Every run, seed by seed, so that a half-finished study is balanced. Two panels may share a run's id."""
        arms = [
            Run(self.name, panel.name, arm.name, arm.design, arm.recipe, panel.dataset, 0, self.precision)
            for panel in self.panels
            for arm in panel.arms
        ]
        return [arm.at(seed) for seed in self.seeds for arm in arms]

    def count_families(self) -> None:
        """Build every family's network on the meta device and count it; needs torch.

        Raises UserError where one can't be built, its source has changed, it costs another amount than is stated, or it
        can't see the images of a further evaluation.
        """
        for panel in self.panels:
            for arm in (arm for arm in panel.arms if isinstance(arm.design, FamilyDesign)):
                price = cost_of(arm.design)
                counted = Cost(price.params, price.macs, None, None)
                if counted != arm.cost:
                    raise UserError(
                        f"{arm.name} of panel {panel.name!r} has {price.params:,} params and {price.macs:,} MACs; "
                        f"the file says {arm.cost.params:,} and {arm.cost.macs:,}",
                        where=str(self.path),
                        remedy=f"State params: {price.params}, macs: {price.macs}; or plan the arm again.",
                    )
                sides = [further.resolution for further in panel.dataset.evaluations.values()]
                for side in filter(None, sides):
                    assert isinstance(arm.design, FamilyDesign)
                    check_resolution(arm.design, side)

    def paths(self, runs: Path, run: Run) -> RunPaths:
        """Where a run of this sweep lies below `runs`."""
        return RunPaths(runs, self.name, run.id)


def load_sweep(path: Path, overrides: Sequence[str] = (), *, name: str | None = None) -> Sweep:
    """Read and check a sweep file; `overrides` are `key.path=value`, checked by the same schema.

    `panels.*.recipe.epochs=1` reaches every panel. `name`: of the sweep, where it is not its file's. Raises UserError
    with file:line:column.
    """
    name = name or path.stem
    check_name(name, str(path))
    file = read_yaml(path)
    if not isinstance(file.data, dict):
        remedy = "sweeps/fashion_mnist.yaml is one; `python -m ablation.plan --write` makes panels of it."
        raise UserError("a sweep is a mapping with question, panels, seeds ...", where=f"{path}:1:1", remedy=remedy)
    for override in overrides:
        override_value(file, override)
    try:
        content = SweepFile.model_validate(file.data)
    except ValidationError as error:
        raise teach(error, file) from None
    seeds = content.seeds if isinstance(content.seeds, list) else list(range(content.seeds))
    _unique(seeds, "seed", file, ("seeds",))
    _unique([panel.name for panel in content.panels], "panel name", file, ("panels",))
    panels = tuple(_panel(panel, file, index) for index, panel in enumerate(content.panels))
    check_evidence(content.evidence, panels, len(seeds), file)
    return Sweep(
        name=name,
        path=path,
        question=content.question,
        panels=panels,
        seeds=tuple(seeds),
        precision=content.precision,
        evidence=content.evidence,
        resources=content.resources,
    )


def check_name(name: str, where: str) -> None:
    """Refuse what is no name of a folder of runs, of a job or of a report. Raises UserError."""
    if not re.fullmatch(r"\w[\w .,+=@()-]*", name) or name.endswith(".") or len(name.encode()) > LONGEST_NAME:
        remedy = (
            "It names folders and jobs: use letters, digits, spaces and . , + = @ ( ) - _, a letter or digit first."
        )
        raise UserError(
            f"{name[:LONGEST_NAME]!r} is no name for a sweep",
            where=where if where.isprintable() else repr(where),
            remedy=remedy,
        )


def _panel(content: PanelFile, file: YamlFile, index: int) -> Panel:
    key = ("panels", index)
    with _at(file, (*key, "budget")):
        base = content.dataset.fit(budget_design(content.budget))
        budget = parse_budget(content.budget, base)
    recipe = _recipe(content.recipe, file, (*key, "recipe"))
    arms = tuple(_arm(arm, content, budget, recipe, file, (*key, "arms", i)) for i, arm in enumerate(content.arms))
    names = [arm.name for arm in arms]
    _unique(names, "arm name", file, (*key, "arms"))
    if content.baseline not in names:
        where, remedy = file.where((*key, "baseline")), did_you_mean(content.baseline, names)
        raise UserError(f"baseline {content.baseline!r} is not an arm", where=where, remedy=remedy)
    for index, name in enumerate(content.tuned.arms if content.tuned else []):
        if name not in names:
            where = file.where((*key, "tuned", "arms", index))
            raise UserError(f"tuned: {name!r} is not an arm", where=where, remedy=did_you_mean(name, names))
    table = None if content.table is None else str(content.table)
    return Panel(content.name, budget, content.dataset, recipe, content.baseline, arms, content.tuned, table)


def _arm(
    content: ArmFile, panel: PanelFile, budget: Budget, recipe: Recipe, file: YamlFile, key: tuple[str | int, ...]
) -> Arm:
    design = _architecture(content, panel.dataset, budget, file, key)
    stated = Cost(content.params, content.macs, None, None)
    price = stated if isinstance(design, FamilyDesign) else cost(design)  # a family's is counted at launch
    _same(design, stated, price, file, key)
    own = _recipe(content.recipe, file, (*key, "recipe")) if content.recipe else recipe
    published = {str(key): value for key, value in content.published.items()}
    axis = content.axis or axis_of(design, budget.base)
    return Arm(content.name or design.name, design, own, price, published, axis, content.twin_of)


def axis_of(design: Architecture, base: Design) -> str | None:
    """Along which axis a design differs from a budget's own; None: along none, along several, or it is a family's."""
    if isinstance(design, FamilyDesign):
        return None
    unlike = {
        "depth": design.blocks != base.blocks,
        "cardinality": design.cardinality != base.cardinality,
        "width": design.widths != base.widths and design.cardinality == base.cardinality,
    }
    found = [axis for axis, differs in unlike.items() if differs]
    return found[0] if len(found) == 1 else None


def _same(design: Architecture, stated: Cost, price: Cost, file: YamlFile, key: tuple[str | int, ...]) -> None:
    for measure in ("params", "macs"):
        said, counted = getattr(stated, measure), getattr(price, measure)
        if said != counted:
            raise UserError(
                f"{measure} of {design.name} is {counted:,}, not {said:,}",
                where=file.where((*key, measure)),
                remedy=f"Let `plan --write` write the arms, or state {counted}.",
            )


def _architecture(
    content: ArmFile, dataset: Dataset, budget: Budget, file: YamlFile, key: tuple[str | int, ...]
) -> Architecture:
    if (content.design is None) == (content.family is None):
        raise UserError(
            "an arm has either a design or a family",
            where=file.where(key),
            remedy="Write design: resnext50_32x4d, or family: mylab.blocks:convnext with knobs: {...}.",
        )
    if content.design is not None:
        if content.knobs or content.source:
            raise UserError("knobs and source belong to a family", where=file.where(key), remedy="Leave them out.")
        with _at(file, (*key, "design")):
            return dataset.fit(_design(content.design, budget.base))
    assert content.family is not None
    with _at(file, (*key, "family")):
        return dataset.fit(family_design(content.family, content.knobs, content.source or source_of(content.family)))


def _design(value: str | dict[str, Any], base: Design) -> Design:
    if isinstance(value, str):
        return design_from_name(value)
    known = base.to_dict()
    for field in value:
        if field not in known:
            raise UserError(f"unknown field {field!r} of a design", remedy=did_you_mean(field, list(known)))
    try:
        return design_from_dict({**known, **value})
    except TypeError as error:
        raise UserError(f"not a design: {error}") from None


def _recipe(value: str | dict[str, Any], file: YamlFile, key: tuple[str | int, ...]) -> Recipe:
    with _at(file, key):
        try:
            fields = recipe_fields(value)
        except ValueError as error:
            what, _, hint = str(error).partition(". ")
            raise UserError(what, remedy=hint or None) from None
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise teach(error, file, key) from None


class _at:
    """Adds a place in the file to a UserError that has none."""

    def __init__(self, file: YamlFile, key: Sequence[str | int]) -> None:
        self.where = file.where(key)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError) and error.where is None:
            error.where = self.where


def check_evidence(evidence: Evidence, panels: Sequence[Panel], seeds: int, file: YamlFile) -> None:
    """Raises UserError where a look has no seeds, or a contrast no arms."""
    looks = list(evidence.looks or ())
    if looks != sorted(set(looks)) or (looks and looks[-1] > seeds):
        where = file.where(("evidence", "looks"))
        raise UserError(f"looks must rise, up to the {seeds} seeds; got {looks}", where=where, remedy="Such as [3, 5].")
    for index, pair in enumerate(evidence.contrasts):
        if not any(_can_compare(panel, pair) for panel in panels):
            where = file.where(("evidence", "contrasts", index))
            names = [*AXES, *(arm.name for panel in panels for arm in panel.arms)]
            unknown = next((name for name in pair if name not in names), None)
            hint = did_you_mean(unknown, names) if unknown else "Name two axes, or two arms of one panel."
            raise UserError(f"no panel can compare {pair[0]} with {pair[1]}", where=where, remedy=hint)


def _can_compare(panel: Panel, pair: tuple[str, str]) -> bool:
    arms = {arm.name for arm in panel.arms}
    return pair[0] != pair[1] and (set(pair) <= arms or all(name in AXES and panel.along(name) for name in pair))


def _unique(values: Sequence[Any], what: str, file: YamlFile, key: Sequence[str | int]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{what} {value!r} stands twice", where=file.where(key), remedy="Name each one once.")
