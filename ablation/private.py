"""Folders whose content is run: a launch's pickles, the code that workers import. They are this user's alone to write.

Folders of runs may be a group's: whoever writes there can change results, but is not to run code as another user.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from ablation.errors import UserError

OTHERS = stat.S_IWGRP | stat.S_IWOTH
EXIT = 3
"""Of a job that finds such a folder to be another's."""


def is_private(path: Path) -> bool:
    """Whether a file or folder is this user's, no link, and nobody else may write to it."""
    try:
        about = path.lstat()
    except OSError:
        return False
    return about.st_uid == os.geteuid() and not about.st_mode & OTHERS and not stat.S_ISLNK(about.st_mode)


def refuse_shared(folder: Path) -> None:
    """Raises UserError where what lies in a folder could be another user's."""
    if not is_private(folder):
        raise UserError(
            "others may write to this folder, or it is another user's: what lies there would run as you",
            where=str(folder),
            remedy="Name a place on a file system that keeps owners and permissions: --runs.",
        )


def close_to_others(folder: Path) -> None:
    """Take away others' right to write to a folder and all in it; what they may read stays."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)


def guard(folder: Path) -> str:
    """A shell line that ends a job where `refuse_shared` would: the folder may have been replaced since."""
    name = shlex.quote(str(folder))
    private = f'[ -O {name} ] && [ ! -L {name} ] && [ -z "$(find {name} -maxdepth 0 -perm /022)" ]'
    said = shlex.quote(f"{folder} is another user's, or others may write to it: nothing of it is run")
    return f"{private} || {{ echo {said} >&2; exit {EXIT}; }}"
