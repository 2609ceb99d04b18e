"""The text that a family is written in: its own file, and the modules beside it that this imports, as far as they go.

Imports are read from the text (AST), never run. Beside it: below the file's folder or its package's root. What is
installed, the standard library and this toolkit are not part of a family; the engine's version and `run.json` speak of
those. The toolkit's own families (`ablation/systems`) are digested with what they import from that folder.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

SYSTEMS = Path(__file__).resolve().parents[1] / "systems"
TOOLKIT = {Path(__file__).resolve().parents[2] / name for name in ("ablation", "analysis")}


def digest(path: Path) -> str:
    """The first 16 hex digits of SHA-256: of the file's text where it imports nothing from beside it; else of every
    file's, with its place relative to the first one's folder. Raises OSError where one can't be read."""
    places = {os.path.relpath(file, path.parent).replace(os.sep, "/"): file for file in beside(path)}
    whole = hashlib.sha256(path.read_bytes())
    for place in sorted(places):
        whole.update(f"\0{place}\0{digest_of(places[place])}".encode())
    return whole.hexdigest()[:16]


def digest_of(file: Path) -> str:
    """SHA-256 of one file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def beside(path: Path) -> dict[Path, str]:
    """The files that a file imports from beside it, and those that these import: each with the name it is imported
    by, empty where that is relative. The file itself is not among them."""
    start = plain(path)
    found: dict[Path, str] = {start: ""}
    waiting = [start]
    while waiting:
        for file, name in _imports(waiting.pop(), start):
            if not _is_own(file, start):
                continue
            waiting += [] if file in found else [file]
            found[file] = found.get(file) or name
    del found[start]
    return found


def plain(path: Path | str) -> Path:
    """The absolute path without `..`; links are not followed, since importing does not."""
    return Path(os.path.abspath(path))


def _is_own(file: Path, start: Path) -> bool:
    if start.resolve().is_relative_to(SYSTEMS):
        return file.resolve().is_relative_to(SYSTEMS)
    return not {"site-packages", "dist-packages"} & set(file.parts) and TOOLKIT.isdisjoint(file.resolve().parents)


def _imports(file: Path, start: Path) -> Iterator[tuple[Path, str]]:
    """Each module file that the imports of `file` lead to, with the name it is asked for by."""
    for level, parts in _names(file):
        if level:
            base = file.parents[min(level, len(file.parents)) - 1]
            yield from ((found, "") for found, _ in [*_along(base.parent, [base.name]), *_along(base, parts)])
        elif parts[0] not in sys.stdlib_module_names:
            yield from next(filter(None, (_along(root, parts) for root in _roots(start, parts[0]))), [])


def _names(file: Path) -> Iterator[tuple[int, list[str]]]:
    """(dots before it, its parts) of each name that is imported anywhere in a file."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # importing it will say what is wrong
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            yield from ((node.level, [*module, alias.name]) for alias in node.names)


def _roots(start: Path, top: str) -> Iterator[Path]:
    """Where a module named `top` may lie: beside the family's file; beside its package; above a folder of that name
    that the file lies in (a package without `__init__.py`)."""
    yield start.parent
    package = start.parent
    while (package / "__init__.py").is_file() and package != package.parent:
        package = package.parent
    yield package
    yield from (folder.parent for folder in start.parents if folder.name == top)


def _along(root: Path, parts: list[str]) -> list[tuple[Path, str]]:
    """The files that importing a dotted name from a root reads, packages' own first; a last part that is no module
    is an attribute."""
    found, folder = [], root
    for index, part in enumerate(parts):
        folder = folder / part
        for file in (folder / "__init__.py", folder.with_name(f"{part}.py")):
            if file.is_file():
                found.append((file, ".".join(parts[: index + 1])))
                break
    return found
