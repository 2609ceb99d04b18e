"""A sweep: a question, its panels, seeds and resources, from one YAML file; and the runs that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ablation.budget import Budget, budget_design, parse_budget
from ablation.cost import Cost, cost
from ablation.dataset import Dataset
from ablation.design import Design, design_from_dict, design_from_name
from ablation.errors import UserError, did_you_mean
from ablation.recipe import Recipe, recipe_fields
from ablation.run import Run, RunPaths
from ablation.yaml_file import YamlFile, override_value, read_yaml

Text = Annotated[str, Field(strict=True, min_length=1)]
Whole = Annotated[int, Field(strict=True, ge=1)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Precision = Literal["fp32", "tf32", "bf16", "fp64"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Evidence(_Model):
    """What is measured, and what counts as the same."""

    metric: Literal["top1_error", "top5_error"] = "top1_error"
    margin: Number | None = None
    """Percentage points within which two arms are called equivalent; None: that is not claimed."""


class Resources(_Model):
    """What a run and a launch may use. None of it enters a run's id."""

    gpus: Annotated[int, Field(strict=True, ge=0, le=1)] | None = None
    """GPUs of a run: 0 or 1; None: one where there is one. (Batch-norm groups make one GPU do the work of eight.)"""
    threads: Whole = 1
    """CPU threads of a run; two runs of one thread train more images than one run of two."""
    cpus: Whole | None = None
    """Slurm: CPUs of a worker; by default its threads, or 8 with a GPU."""
    memory_gb: Whole | None = None
    """Slurm: memory of a worker; by default the cluster's own."""
    parallel: Whole = 4
    """Workers at once, at most."""
    job_hours: Annotated[float, Field(strict=True, gt=0)] = 24
    """Slurm: time limit of a job; its worker saves before that, and is queued again."""
    checkpoint_minutes: Number = 10


class _ArmFile(_Model):
    design: Annotated[str, Field(strict=True)] | dict[str, Any]
    name: Text | None = None
    params: Whole
    macs: Whole
    recipe: Annotated[str, Field(strict=True)] | dict[str, Any] | None = None
    published: dict[Literal["top1_error", "top5_error", "train_error"], Number] = {}


class _PanelFile(_Model):
    name: Text
    budget: Text
    dataset: Dataset
    recipe: Annotated[str, Field(strict=True)] | dict[str, Any]
    baseline: Text
    arms: Annotated[list[_ArmFile], Field(min_length=1)]


class _SweepFile(_Model):
    question: Text
    panels: Annotated[list[_PanelFile], Field(min_length=1)]
    seeds: Whole | Annotated[list[Natural], Field(min_length=1)] = 3
    precision: Precision = "fp32"
    evidence: Evidence = Evidence()
    resources: Resources = Resources()


@dataclass(frozen=True)
class Arm:
    """A design with a recipe: one line of a table."""

    name: str
    design: Design
    recipe: Recipe
    cost: Cost
    published: dict[str, float]


@dataclass(frozen=True)
class Panel:
    """Arms that are compared with each other: one budget, data set and baseline."""

    name: str
    budget: Budget
    dataset: Dataset
    recipe: Recipe
    baseline: str
    arms: tuple[Arm, ...]


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

    def runs(self) -> list[Run]:
        """Every run, seed by seed, so that a half-finished study is balanced. Two panels may share a run's id."""
        return [
            Run(self.name, panel.name, arm.name, arm.design, arm.recipe, panel.dataset, seed, self.precision)
            for seed in self.seeds
            for panel in self.panels
            for arm in panel.arms
        ]

    def paths(self, runs: Path, run: Run) -> RunPaths:
        """Where a run of this sweep lies below `runs`."""
        return RunPaths(runs, self.name, run.id)


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read and check a sweep file; `overrides` are `key.path=value`, checked by the same schema.

    `panels.*.recipe.epochs=1` reaches every panel. Raises UserError with file:line:column.
    """
    file = read_yaml(path)
    if not isinstance(file.data, dict):
        raise UserError("a sweep is a mapping with question, panels, seeds ...", where=f"{path}:1:1")
    for override in overrides:
        override_value(file, override)
    try:
        content = _SweepFile.model_validate(file.data)
    except ValidationError as error:
        raise _teach(error, file) from None
    seeds = content.seeds if isinstance(content.seeds, list) else list(range(content.seeds))
    _unique(seeds, "seed", file, ("seeds",))
    _unique([panel.name for panel in content.panels], "panel name", file, ("panels",))
    return Sweep(
        name=path.stem,
        path=path,
        question=content.question,
        panels=tuple(_panel(panel, file, index) for index, panel in enumerate(content.panels)),
        seeds=tuple(seeds),
        precision=content.precision,
        evidence=content.evidence,
        resources=content.resources,
    )


def _panel(content: _PanelFile, file: YamlFile, index: int) -> Panel:
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
    return Panel(content.name, budget, content.dataset, recipe, content.baseline, arms)


def _arm(
    content: _ArmFile, panel: _PanelFile, budget: Budget, recipe: Recipe, file: YamlFile, key: tuple[str | int, ...]
) -> Arm:
    with _at(file, (*key, "design")):
        design = panel.dataset.fit(_design(content.design, budget.base))
    price = cost(design)
    for measure in ("params", "macs"):
        stated, counted = getattr(content, measure), getattr(price, measure)
        if stated != counted:
            raise UserError(
                f"{measure} of {design.name} is {counted:,}, not {stated:,}",
                where=file.where((*key, measure)),
                remedy=f"Let `plan --write` write the arms, or state {counted}.",
            )
    own = _recipe(content.recipe, file, (*key, "recipe")) if content.recipe else recipe
    return Arm(
        content.name or design.name, design, own, price, {str(key): value for key, value in content.published.items()}
    )


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
            raise UserError(str(error)) from None
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise _teach(error, file, key) from None


class _at:
    """Adds a place in the file to a UserError that has none."""

    def __init__(self, file: YamlFile, key: Sequence[str | int]) -> None:
        self.where = file.where(key)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UserError) and error.where is None:
            error.where = self.where


def _unique(values: Sequence[Any], what: str, file: YamlFile, key: Sequence[str | int]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise UserError(f"{what} {value!r} stands twice", where=file.where(key), remedy="Name each one once.")


def _teach(error: ValidationError, file: YamlFile, base: tuple[str | int, ...] = ()) -> UserError:
    """What is wrong first, as a plain error with its place; a misspelt key explains a missing one."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    key = _existing((*base, *first["loc"]), file.data, keep_last=first["type"] in ("extra_forbidden", "missing"))
    where, value, name = file.where(key), first.get("input"), str(key[-1]) if key else "the file"
    if first["type"] == "extra_forbidden":
        where = file.where((*key, "key")) if (*key, "key") in file.places else where
        return UserError(f"unknown key {name!r}", where=where, remedy=did_you_mean(name, _fields(key)))
    if first["type"] == "missing":
        return UserError(f"{name} is missing", where=file.where(key[:-1]))
    if isinstance(value, str) and _is_number(value):
        spelled = repr(float(value)).removesuffix(".0")
        return UserError(f"{name}: YAML reads {value} as text", where=where, remedy=f"Write {spelled}.")
    message, _, remedy = first["msg"].removeprefix("Value error, ").partition(". ")
    got = "" if first["type"] == "value_error" else f", got {_short(value)}"
    return UserError(f"{name}: {message[0].lower()}{message[1:]}{got}", where=where, remedy=remedy or None)


def _existing(loc: Sequence[str | int], data: Any, *, keep_last: bool) -> tuple[str | int, ...]:
    """pydantic's path less what it adds for the branches of a union, which stand nowhere in the file."""
    key: tuple[str | int, ...] = ()
    for index, part in enumerate(loc):
        inside = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if inside:
            data = data[part]
        if inside or (keep_last and index == len(loc) - 1):
            key = (*key, part)
    return key


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_NESTED: dict[str, type[BaseModel]] = {
    "panels": _PanelFile,
    "arms": _ArmFile,
    "dataset": Dataset,
    "recipe": Recipe,
    "evidence": Evidence,
    "resources": Resources,
}


def _fields(key: Sequence[str | int]) -> list[str]:
    """The keys that the mapping around a key may have, for a spelling hint."""
    model: type[BaseModel] = _SweepFile
    for part in key[:-1]:
        model = _NESTED.get(str(part), model)
    return list(model.model_fields) + (["base"] if model is Recipe else [])
