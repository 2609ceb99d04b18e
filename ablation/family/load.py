"""From a name such as `mylab.blocks:convnext` to the family, and to the text that it is written in."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ablation.errors import UserError, did_you_mean, first_line
from ablation.family.declare import ATTRIBUTE, Family
from ablation.family.source import beside, digest, digest_of, plain

CODE = "ABLATION_CODE"
"""The variable that names a snapshot of the code; see `snapshot.py`."""
STAMP = "__ablation_text__"
"""Where a module holds the digest of the text that it was made of."""
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
    path = plain(_file(name))
    by_file = place.endswith(".py")
    own = beside(path) | ({} if by_file else {path: place})
    _forget(own)
    try:
        module = _import_file(path, source) if by_file else importlib.import_module(place)
        _stamp(own)
        return module
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


def _forget(own: dict[Path, str]) -> None:
    """Take away what was imported from these files or by these names, where any of it is not, or no longer, they.

    Another family's folder may hold another module of that name; and a worker may outlive an edit.
    """
    places = {name: file for file, name in own.items() if name}
    ours = [(title, file) for title, file in _loaded() if file in own or title in places]
    if all(_is_current(title, file, places.get(title, file)) for title, file in ours):
        return
    for title, _ in ours:
        parent, _, leaf = title.rpartition(".")
        vars(sys.modules.get(parent, ModuleType(""))).pop(leaf, None)
        del sys.modules[title]


def _is_current(title: str, file: Path, place: Path) -> bool:
    return file == place and getattr(sys.modules[title], STAMP, digest_of(file)) == digest_of(file)


def _stamp(own: dict[Path, str]) -> None:
    """Note which text each module was made of."""
    for title, file in _loaded():
        if file in own:
            vars(sys.modules[title]).setdefault(STAMP, digest_of(file))


def _loaded() -> list[tuple[str, Path]]:
    files = {title: getattr(module, "__file__", None) for title, module in list(sys.modules.items())}
    return [(title, plain(file)) for title, file in files.items() if file and title != "__main__"]


def _file(name: str) -> Path:
    """Where the family's module lies. Raises UserError."""
    place, _ = split_name(name)
    if place.endswith(".py"):
        path = here() / Path(place).expanduser()
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


def here() -> Path:
    """The folder that families are named from: a launch's snapshot of the code in a worker, else the current one."""
    return Path(os.environ.get(CODE) or Path.cwd()).absolute()


def files_of(name: str) -> dict[str, Path]:
    """The files that a family is written in, by their place below the current folder; those elsewhere are left out.

    Raises UserError where there is no such file.
    """
    path = plain(_file(name))
    return {file.relative_to(here()).as_posix(): file for file in (path, *beside(path)) if file.is_relative_to(here())}


def _add_here() -> None:
    if str(here()) not in sys.path and ("" not in sys.path or CODE in os.environ):
        sys.path.append(str(here()))
