"""What a sweep file may say, and what is said of one that says something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ablation.dataset import Dataset, Further
from ablation.errors import UserError, did_you_mean
from ablation.recipe import Recipe
from ablation.yaml_file import YamlFile

Text = Annotated[str, Field(strict=True, min_length=1)]
Whole = Annotated[int, Field(strict=True, ge=1)]
Seeds = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Precision = Literal["fp32", "tf32", "bf16", "fp64"]
Axis = Literal["cardinality", "width", "depth", "groups"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Evidence(_Model):
    """What is measured, and what counts as the same."""

    metric: Literal["top1_error", "top5_error"] = "top1_error"
    margin: Number | None = None
    """Percentage points within which two arms are called equivalent; None: that is not claimed."""
    contrasts: tuple[tuple[Text, Text], ...] = ()
    """Beside each arm against its baseline: pairs of axes (cardinality, width, depth, groups) or of a panel's arms."""
    looks: Annotated[tuple[Annotated[int, Field(strict=True, ge=2)], ...], Field(min_length=1)] | None = None
    """Numbers of seeds an arm at which a verdict is given, rising; the error is spent over them. None: all seeds."""
    pairs: Annotated[bool, Field(strict=True)] = False
    """Compare arms seed by seed. Networks of different shape share no start, so this pays only where runs turn out
    correlated."""


class Resources(_Model):
    """What a run and a launch may use. None of it enters a run's id."""

    gpus: Annotated[int, Field(strict=True, ge=0, le=8)] | None = None
    """GPUs of a run on each of its nodes; None: one where there is one. (One GPU and many do the same arithmetic:
    batch-norm groups are the recipe's.)"""
    nodes: Whole = 1
    """Nodes of a run; more than one needs Slurm."""
    tasks: Whole | None = None
    """Processes of a run on each of its nodes, on GPUs one each; by default `gpus`, and 1 on the CPU."""
    micro_batch: Whole | None = None
    """Images a process passes through the network at a time, a multiple of norm_batch; by default as many as fit."""
    kernels: Literal["measured", "native"] = "measured"
    """How grouped convolutions are computed: in the way measured to be fastest on the device, or as they are."""
    threads: Whole = 1
    """CPU threads of a run; two runs of one thread train more images than one run of two."""
    cpus: Whole | None = None
    """Slurm: CPUs of a worker; by default its threads, or 8 with a GPU."""
    memory_gb: Whole | None = None
    """Slurm: memory of a worker; by default the cluster's own."""
    side_by_side: Whole = 1
    """Runs that a worker trains at a time, sharing its GPU or its CPUs: small ones leave most of a GPU idle."""
    parallel: Whole = 4
    """Workers at once, at most."""
    job_hours: Annotated[float, Field(strict=True, gt=0, le=24 * 365)] = 24
    """Slurm: time limit of a job; its worker saves before that, and is queued again."""
    checkpoint_minutes: Number = 10
    """At least so long lies between two checkpoints of a run; longer where writing would take over 1% of the time."""
    hang_minutes: Number = 30
    """A run of which nothing moves for so long is ended, and claimed again; 0: never."""
    graph: Annotated[bool, Field(strict=True)] = True
    """On a GPU: replay a step as a CUDA graph where that can be (docs/gpu.md)."""
    fastest: Annotated[bool, Field(strict=True)] = False
    """On a GPU: let cuDNN time its kernels and take the fastest, which may give other bits each time."""
    mps: Annotated[bool, Field(strict=True)] = False
    """Runs side by side share their GPU through NVIDIA's MPS, which a worker starts and stops."""

    @model_validator(mode="after")
    def _check(self) -> Resources:
        if self.gpus and self.tasks not in (None, self.gpus):
            raise ValueError(f"tasks is {self.tasks} and gpus {self.gpus}: a GPU has one process. Leave tasks out.")
        if self.side_by_side > 1 and self.ranks > 1:
            raise ValueError(f"side_by_side is {self.side_by_side} and a run has {self.ranks} processes. Choose one")
        return self

    @property
    def tasks_a_node(self) -> int:
        """Processes of a run on each of its nodes."""
        return self.tasks or self.gpus or 1

    @property
    def shares_gpu(self) -> bool:
        """Whether MPS is wanted, and there is anything to share."""
        return self.mps and self.gpus != 0 and self.side_by_side > 1

    @property
    def ranks(self) -> int:
        """Processes that train one run together."""
        return self.nodes * self.tasks_a_node


class Tuned(_Model):
    """For which arms a recipe was chosen, on the validation split, in how many runs: who was favoured."""

    arms: Annotated[list[Text], Field(min_length=1)]
    trials: Whole


class ArmFile(_Model):
    """An arm, as it is written: a design, or a family with knobs."""

    design: Annotated[str, Field(strict=True)] | dict[str, Any] | None = None
    family: Text | None = None
    """`mylab.blocks:convnext` or `blocks.py:convnext`."""
    knobs: dict[str, Any] = {}
    source: Text | None = None
    """Digest of the family's module, as `plan` writes it: an edited module is then refused."""
    name: Text | None = None
    params: Whole
    macs: Whole
    recipe: Annotated[str, Field(strict=True)] | dict[str, Any] | None = None
    axis: Axis | None = None
    """Along which axis it differs from the budget's design; None: as its design tells."""
    published: dict[Literal["top1_error", "top5_error", "train_error"], Number] = {}
    twin_of: Text | None = None
    """The arm's full-size design, of which it is a small copy: its published numbers are shown, and not compared."""


class PanelFile(_Model):
    """A panel, as it is written."""

    name: Text
    budget: Text
    dataset: Dataset
    recipe: Annotated[str, Field(strict=True)] | dict[str, Any]
    baseline: Text
    tuned: Tuned | None = None
    table: Literal[3, 4, 5, 6, 7, 8, "residual"] | None = None
    """The paper's table that the panel runs: its published numbers stand beside the measured ones."""
    arms: Annotated[list[ArmFile], Field(min_length=1)]


class SweepFile(_Model):
    """A sweep, as it is written."""

    question: Text
    panels: Annotated[list[PanelFile], Field(min_length=1)]
    seeds: Seeds | Annotated[list[Natural], Field(min_length=1)] = 3
    precision: Precision = "fp32"
    evidence: Evidence = Evidence()
    resources: Resources = Resources()


def teach(error: ValidationError, file: YamlFile, base: tuple[str | int, ...] = ()) -> UserError:
    """What is wrong first, as a plain error with its place; a misspelt key explains a missing one."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    key = _existing((*base, *first["loc"]), file.data, keep_last=first["type"] in ("extra_forbidden", "missing"))
    where, value, name = file.where(key), first.get("input"), str(key[-1]) if key else "the file"
    if first["type"] == "extra_forbidden":
        where = file.where((*key, "key")) if (*key, "key") in file.places else where
        return UserError(f"unknown key {name!r}", where=where, remedy=did_you_mean(name, _fields(key)))
    if first["type"] == "missing":
        remedy = f"Write it here: {name}: ..." if isinstance(key[-1], str) else None
        return UserError(f"{name} is missing", where=file.where(key[:-1]), remedy=remedy)
    if isinstance(value, str) and _is_number(value):
        spelled = repr(float(value)).removesuffix(".0")
        return UserError(f"{name}: YAML reads {value} as text", where=where, remedy=f"Write {spelled}.")
    message, _, remedy = _PLAIN.get(first["type"], first["msg"].removeprefix("Value error, ")).partition(". ")
    got = "" if first["type"] == "value_error" else f", got {_short(value)}"
    return UserError(
        f"{name}: {message[0].lower()}{message[1:]}{got}",
        where=where,
        remedy=f"{remedy.rstrip('.')}." if remedy else None,
    )


_PLAIN = {
    "int_type": "must be a whole number. Write digits alone, such as 3",
    "float_type": "must be a number. Write it with a point, such as 0.5",
    "bool_type": "must be true or false. Write it without quotes",
    "string_type": "must be text. Put it in quotes",
}
"""pydantic's kinds of errors in the words of this project."""


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
    "panels": PanelFile,
    "arms": ArmFile,
    "dataset": Dataset,
    "evaluations": Further,
    "recipe": Recipe,
    "evidence": Evidence,
    "tuned": Tuned,
    "resources": Resources,
}


def _fields(key: Sequence[str | int]) -> list[str]:
    """The keys that the mapping around a key may have, for a spelling hint."""
    model: type[BaseModel] = SweepFile
    for part in key[:-1]:
        model = _NESTED.get(str(part), model)
    return list(model.model_fields) + (["base"] if model is Recipe else [])
