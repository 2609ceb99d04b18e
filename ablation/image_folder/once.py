"""Work that one process of a node does while the others wait for it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(what: Path, folder: Path | None = None) -> Iterator[None]:
    """Hold the only lock on `what` among this user's processes on this node; a process that dies gives it up.

    The lock is a file in `folder`, by default the one for temporary files.
    """
    digest = hashlib.sha256(str(what.absolute()).encode()).hexdigest()[:16]
    path = (folder or Path(tempfile.gettempdir())) / f".ablation-{os.getuid()}-{digest}.lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
