"""The code that workers run: a copy, made once for each state of it, so that edits do not reach queued jobs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ablation.errors import UserError
from ablation.family import CODE, files_of
from ablation.private import close_to_others, is_private
from ablation.records import now
from ablation.run import write_bytes, write_json

PACKAGE = Path(__file__).parent
FOLDER = ".code"
KINDS = (".py", ".yaml")


@dataclass(frozen=True)
class Snapshot:
    """A copy of the toolkit, and of the families' files below the current folder."""

    folder: Path

    def variables(self) -> dict[str, str]:
        """The environment in which a worker imports this copy and nothing that has been edited since."""
        before = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(self.folder), *([before] if before else [])])
        return {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", CODE: str(self.folder)}


def take_snapshot(runs: Path, families: Iterable[str]) -> Snapshot:
    """Copy the code to `runs/.code/<digest>/`, unless it is there; beside it the git commit and what differs from it.

    `families`: names such as `blocks.py:convnext`. Raises UserError where one of their files can't be read.
    """
    files = {f"ablation/{path.relative_to(PACKAGE).as_posix()}": path for path in _package()}
    files |= {place: path for name in families for place, path in files_of(name).items()}
    try:
        content = {place: path.read_bytes() for place, path in sorted(files.items())}
    except OSError as error:
        raise UserError(f"code can't be read: {error.strerror or error}", where=str(error.filename)) from None
    folder = runs / FOLDER / _digest(content)
    if folder.exists() and not _is_ours(folder, content):
        folder = folder.with_name(f"{folder.name}-{os.geteuid()}")  # another user's may hold anything
    if not folder.exists():
        _write(folder, content)
    if not _is_ours(folder, content):
        raise UserError("this copy of the code has been changed", where=str(folder), remedy="Remove it; launch again.")
    return Snapshot(folder)


def _is_ours(folder: Path, content: Mapping[str, bytes]) -> bool:
    """Whether a copy is what it is named after, and only this user can change it."""
    try:
        own = all(is_private(path) for path in [folder, *folder.rglob("*")] if path.name != "__pycache__")
        return own and all((folder / place).read_bytes() == data for place, data in content.items())
    except OSError:
        return False


def _package() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*") if path.suffix in KINDS)


def _digest(content: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for place, data in content.items():
        digest.update(f"\0{place}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]


def _write(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write beside, then rename: another launch at the same time finds a whole one or none."""
    spare = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for place, data in content.items():
            (spare / place).parent.mkdir(parents=True, exist_ok=True)
            (spare / place).write_bytes(data)
        differs = _git("diff", "HEAD")
        write_json(spare / "snapshot.json", {"made": now(), "commit": _git("rev-parse", "HEAD").strip() or None})
        write_bytes(spare / "changes.diff", differs.encode())
        close_to_others(spare)
        spare.rename(folder)
    except OSError:
        if not (folder / "snapshot.json").exists():  # else another launch was quicker
            raise
    finally:
        shutil.rmtree(spare, ignore_errors=True)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process that its children inherit, for a while."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
