"""A run: an arm with a seed. Its identity, its folder, and its state as its files tell it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ablation.claim import attempts
from ablation.dataset import Dataset, dataset_from_dict
from ablation.design import Design, design_from_dict
from ablation.errors import UserError, first_line
from ablation.family import Architecture, cost_of, family_design_from_dict
from ablation.fields import damaged, is_count, is_number
from ablation.recipe import Recipe
from ablation.records import last_epochs, now, read_records
from ablation.seal import Damaged, check_digest, with_digest

ENGINE = 1
"""Bumped whenever the same run would give other numbers."""


@dataclass(frozen=True)
class Run:
    """An arm of a panel with a seed."""

    sweep: str
    panel: str
    arm: str
    design: Architecture
    recipe: Recipe
    dataset: Dataset
    seed: int
    precision: str

    @property
    def identity(self) -> dict[str, Any]:
        """What the id digests: everything that decides the numbers, and nothing else."""
        unused = {"validation"} if self.dataset.evaluate == "test" else set()
        return {
            "design": self.design.to_dict() if isinstance(self.design, Design) else self.design.identity(),
            "recipe": self.recipe.model_dump(mode="json", exclude={"name"}),
            "dataset": self.dataset.model_dump(mode="json", exclude=unused),
            "seed": self.seed,
            "precision": self.precision,
            "engine": ENGINE,
        }

    @cached_property
    def id(self) -> str:
        """The folder's name: design, seed, and ten digits of the identity's digest."""
        before, after = self._around_seed
        seed = self.seed if type(self.seed) is int else json.dumps(self.seed)
        digest = hashlib.sha256(f"{before}{seed}{after}".encode()).hexdigest()[:10]
        return f"{self._design_name}-s{self.seed}-{digest}"

    @cached_property
    def _around_seed(self) -> tuple[str, str]:
        """The identity as canonical JSON, less the seed: what comes before and after it."""
        canonical = json.dumps({**self.identity, "seed": "\0"}, sort_keys=True, separators=(",", ":"))
        before, after = canonical.split('"\\u0000"')
        return before, after

    @cached_property
    def _design_name(self) -> str:
        return self.design.name

    def at(self, seed: int) -> Run:
        """The same arm with another seed."""
        other = replace(self, seed=seed)
        shared = {"_around_seed": self._around_seed, "_design_name": self._design_name}
        other.__dict__.update(shared)  # thousands of seeds of an arm: its part of the identity is spelled once
        return other


RUN_JSON, LOG, RESULT = "run.json", "log.jsonl", "result.json"
MEND = "Bring it back from a copy, or remove it and launch the sweep again: nothing else makes use"
LOOK = "`python -m ablation.doctor --runs` looks at every file; remove the run's folder to run it again."
MEASURED = ("epoch", "epochs", "top1_error", "images_per_second")
"""Of an epoch's record, what a run's state shows."""


def bits_name(evaluation: str) -> str:
    """The file of an evaluation's correct examples, in a run's folder."""
    return f"correct.{evaluation}.bits"


def checkpoint_files(path: Path) -> tuple[Path, Path]:
    """Where the newest checkpoint lies and the one before it: beside `path`, or where `path` links to."""
    newest = path.readlink() if path.is_symlink() else path
    return newest, newest.with_name(f"{newest.stem}.before{newest.suffix}")


def put_aside_name(checkpoint: Path) -> Path:
    """What a damaged checkpoint is called from then on."""
    return checkpoint.with_name(f"{checkpoint.stem}.damaged{checkpoint.suffix}")


@dataclass(frozen=True)
class RunPaths:
    """Every path of a run."""

    runs: Path
    sweep: str
    id: str

    @cached_property
    def folder(self) -> Path:
        """The run's folder: everything else lies in it."""
        return self.runs.joinpath(self.sweep, self.id)

    @property
    def run_json(self) -> Path:
        """What the run is, where it came from, what it runs on."""
        return self.folder / RUN_JSON

    @property
    def log(self) -> Path:
        """The records."""
        return self.folder / LOG

    @property
    def result(self) -> Path:
        """Present = finished."""
        return self.folder / RESULT

    @property
    def weights(self) -> Path:
        """The final network, a plain state dict with torchvision's keys."""
        return self.folder / "weights.pt"

    @property
    def checkpoint(self) -> Path:
        """Where to go on from; gone when the run is done."""
        return self.folder / "checkpoint.pt"

    @property
    def resumes(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any(path.exists() for path in checkpoint_files(self.checkpoint))

    @property
    def attempts(self) -> Path:
        """One file for each worker that had the run."""
        return self.folder / "attempts"

    @property
    def cancelled(self) -> Path:
        """Present = cancelled: no worker goes on with it until it is launched again."""
        return self.folder / "cancelled"

    def bits(self, evaluation: str) -> Path:
        """Which examples the final network got right, packed, in the data set's order."""
        return self.runs.joinpath(self.sweep, self.id, bits_name(evaluation))


@dataclass(frozen=True)
class RunState:
    """Where a run stands. `waiting` is `status`'s to say: it knows the launches."""

    state: str
    """done, running, failed, missing."""
    epoch: int = 0
    epochs: int | None = None
    top1_error: float | None = None
    seconds: float = 0.0
    message: str = ""
    images_per_second: float | None = None
    """In training, of the last epoch."""


def read_state(paths: RunPaths, at: float | None = None) -> RunState:
    """Where a run stands, from its files alone; `at`: what the file system's clock says, if known.

    Raises UserError where one of the files is damaged.
    """
    if paths.result.exists():
        return _done(read_json(paths.result), str(paths.result))
    tries = attempts(paths.attempts)
    if not tries:
        return RunState("missing")
    epochs = last_epochs(read_records(paths.log))
    last = epochs[-1] if epochs else {}
    fields: dict[str, Any] = {key: last[key] for key in MEASURED if key in last}
    fields["seconds"] = sum(record.get("seconds") or 0.0 for record in epochs)
    if tries[-1].alive(at):
        return RunState("running", **fields)
    if tries[-1].ended == "failed":
        return RunState("failed", **fields, message=tries[-1].message)
    message = tries[-1].message or f"interrupted; launch again to {'go on' if paths.resumes else 'run it again'}"
    return RunState("missing", **fields, message=message)


def _done(result: dict[str, Any], where: str) -> RunState:
    found = result.get("evaluations")
    evaluation = next(iter(found.values()), None) if isinstance(found, dict) else None
    error = evaluation.get("top1_error") if isinstance(evaluation, dict) else None
    epochs, seconds, rate = result.get("epochs"), result.get("seconds"), result.get("images_per_second")
    if not (is_count(epochs) and is_number(error) and is_number(seconds) and (rate is None or is_number(rate))):
        raise damaged("result: it lacks epochs, seconds or top1_error, or they are no numbers", where, LOOK)
    return RunState("done", epochs, epochs, error, seconds, images_per_second=rate)


def prepare(run: Run, paths: RunPaths) -> None:
    """Make the run's folder and write what the run is; leaves a folder that is there as it is."""
    if paths.run_json.exists():
        return
    paths.folder.mkdir(parents=True, exist_ok=True)
    fields = {"id": run.id, "sweep": run.sweep, "design_name": run.design.name, **run.identity}
    fields["design"] = run.design.to_dict()
    fields |= {"recipe": run.recipe.model_dump(mode="json"), "dataset": run.dataset.model_dump(mode="json")}
    fields |= {"cost": asdict(cost_of(run.design)), "provenance": provenance(), "execution": None, "data": None}
    write_json(paths.run_json, with_digest(fields))


def load_run(paths: RunPaths, *, whole: bool = False) -> Run:
    """The run that a folder holds; its panel and arm are the sweep's to say, and empty here.

    `whole`: all of `run.json` must be as it was written, not only what the run's id digests. Raises UserError where it
    is missing, damaged, or from another engine version.
    """
    fields = read_json(paths.run_json)
    try:
        if whole:
            check_digest(fields)
        run = Run(
            sweep=fields["sweep"],
            panel="",
            arm="",
            design=_design(fields["design"]),
            recipe=Recipe.model_validate(fields["recipe"]),
            dataset=dataset_from_dict(fields["dataset"]),
            seed=fields["seed"],
            precision=fields["precision"],
        )
    except Damaged as fault:
        remedy = "Remove the run's folder, and launch again."
        raise UserError(f"run.json {fault}", where=str(paths.run_json), remedy=remedy) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
        raise damaged(f"run description: {what}", str(paths.run_json)) from None
    if run.id != paths.id:
        raise UserError(
            f"run.json describes {run.id} (engine {ENGINE}; the file says {fields.get('engine')})",
            where=str(paths.run_json),
            remedy="It was written by another engine version, or changed by hand: launch the sweep again.",
        )
    return run


def _design(fields: dict[str, Any]) -> Architecture:
    return family_design_from_dict(fields) if "family" in fields else design_from_dict(fields)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises UserError, with the place, where it is missing or damaged."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError("missing file", where=str(path), remedy="Launch the sweep again.") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"damaged file: {first_line(error)}", where=str(path), remedy=f"{MEND} of it.") from None
    except IsADirectoryError:
        raise UserError("damaged file: it is a folder", where=str(path), remedy=f"{MEND} of it.") from None
    if not isinstance(value, dict):
        raise UserError("damaged file: not a JSON object", where=str(path), remedy=f"{MEND} of it.")
    return value


def write_json(path: Path, value: dict[str, Any], *, anew: bool = False) -> None:
    """Write a JSON file whole or not at all. `anew`: raises FileExistsError where there is one already."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode(), anew=anew)


def write_bytes(path: Path, value: bytes, *, anew: bool = False) -> None:
    """Write a file whole or not at all: beside it, flushed to disk, then renamed; `anew` as in `write_json`."""
    with beside(path, value) as spare:
        _put_anew(spare, path) if anew else os.replace(spare, path)


@contextmanager
def beside(path: Path, *parts: bytes | memoryview) -> Iterator[Path]:
    """A spare file with a value, flushed to disk, that the caller gives its name; gone afterwards, whatever happens."""
    spare = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(spare, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        yield spare
        _sync_folder(path.parent)
    finally:
        spare.unlink(missing_ok=True)


def _put_anew(spare: Path, path: Path) -> None:
    try:
        os.link(spare, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: two writers in one moment are not told apart
        if path.exists():
            raise FileExistsError(path) from None
        os.replace(spare, path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def provenance() -> dict[str, Any]:
    """Where a run comes from: time, code, command, versions."""
    commit, dirty = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {
        "created": now(),
        "commit": commit or None,
        "dirty": bool(dirty) if commit else None,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {"python": platform.python_version(), **_versions("torch", "torchvision", "cardinality-ablation")},
    }


def _versions(*packages: str) -> dict[str, str | None]:
    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {package.removeprefix("cardinality-"): installed(package) for package in packages}


@cache
def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
