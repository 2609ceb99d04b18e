"""From a name such as `mylab.blocks:convnext` to the family, and to the text that it is written in."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ablation.errors import UserError, did_you_mean, first_line
from ablation.family.declare import ATTRIBUTE, Family
from ablation.family.source import beside, digest, plain

HOW = "A family is named like mylab.blocks:convnext or path/to/blocks.py:convnext."


def split_name(name: str) -> tuple[str, str]:
    """The module or file, and the function. Raises UserError."""
    place, colon, function = name.rpartition(":")
    if not colon or not place or not function.isidentifier():
        raise UserError(f"{name!r} names no family", remedy=HOW)
    return place, function


def source_of(name: str) -> str:
    """Digest of the text of the family's module and of those that it imports from beside it; nothing is run.

    Raises UserError.
    """
    path = _file(name)
    try:
        return digest(path)
    except OSError as error:
        where = error.filename or path
        raise UserError(f"family {name}: {where} can't be read: {error.strerror or error}") from None


def same_family(one: str, other: str) -> bool:
    """Whether two names mean one function of one file, however that is spelled."""
    try:
        return one == other or (split_name(one)[1] == split_name(other)[1] and _file(one).samefile(_file(other)))
    except (UserError, OSError):
        return False


def load_family(name: str) -> Family:
    """Import a family's module; the current directory is on the path.

    Raises UserError where it can't be imported, has no such function, or that one is not decorated.
    """
    return _load(name, source_of(name))


@lru_cache
def _load(name: str, source: str) -> Family:
    place, function = split_name(name)
    module = _import(name, place, source)
    found = getattr(module, function, None)
    if found is None:
        declared = [key for key, value in vars(module).items() if hasattr(value, ATTRIBUTE)]
        remedy = did_you_mean(function, declared) if declared else "Nothing in it is decorated with @family."
        raise UserError(f"{place} has no family {function!r}", remedy=remedy)
    if not hasattr(found, ATTRIBUTE):
        raise UserError(
            f"{name} is not declared as a family",
            remedy='Put @family(solve="width") above it; from ablation.family import family.',
        )
    own: Family = getattr(found, ATTRIBUTE)
    return replace(own, name=name)


def _import(name: str, place: str, source: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _import_file(_file(name), source)
        _add_here()
        return importlib.import_module(place)
    except UserError as error:
        raise UserError(f"family {name}: {error.message}", remedy=error.remedy) from None
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"family {name} can't be imported: {what}", remedy="Mend its module.") from None


def _import_file(path: Path, source: str) -> ModuleType:
    """Run a file as a module; its own folder is on the path while it runs, as if it were a script."""
    title = f"{path.stem}_{source[:10]}"  # an edited file is another module
    spec: Any = importlib.util.spec_from_file_location(title, path)
    module = importlib.util.module_from_spec(spec)
    _forget_namesakes(path)
    sys.modules[title] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[title]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _forget_namesakes(path: Path) -> None:
    """Take away modules that another family's file imported from its own folder under names that mean others here."""
    for file, name in beside(path).items():
        known = getattr(sys.modules.get(name), "__file__", None)
        if name and known and plain(known) != file:
            for other in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
                del sys.modules[other]


def _file(name: str) -> Path:
    """Where the family's module lies. Raises UserError."""
    place, _ = split_name(name)
    if place.endswith(".py"):
        path = Path(place).expanduser().absolute()
        if not path.is_file():
            raise UserError(f"family {name}: no such file: {path}", remedy=HOW)
        return path
    _add_here()
    inside = Path(*place.split("."))
    for root in map(Path, sys.path):
        for path in (root / inside.with_suffix(".py"), root / inside / "__init__.py"):
            if path.is_file():
                return path
    return _installed(name, place)


def _installed(name: str, place: str) -> Path:
    """A module that an import hook finds, such as an editable install's."""
    try:
        spec = importlib.util.find_spec(place)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise UserError(
            f"family {name}: there is no module {place} in the current directory or on the path", remedy=HOW
        )
    return Path(spec.origin)


def _add_here() -> None:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
