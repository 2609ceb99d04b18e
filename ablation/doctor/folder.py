"""The folder of runs (and scratch): what claims, records and checkpoints need of its file system."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ablation.doctor.finding import Finding, Findings
from ablation.errors import UserError
from ablation.site import Site

QUOTA_SECONDS = 10.0
GIB = 2**30
FEW_BYTES, SOME_BYTES, FEW_FILES = 1 * GIB, 10 * GIB, 20_000
CLOCK_NOTE, CLOCK_PROBLEM = 2.0, 60.0
"""Seconds that the file system's clock may differ; claims of other hosts are judged by times of files."""
LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "ramfs", "f2fs"}
LINES = 200


def check_folders(runs: Path, site: Site, *, group: str = "runs folder", cluster: bool = False) -> list[Finding]:
    """The folder of runs, and the scratch folder where the site file names one."""
    found = Findings(group)
    _check(found, runs, "", "Name another place: --runs.", cluster)
    try:
        scratch = site.scratch_folder()
    except UserError as error:
        found.mistake("scratch", error)
        return found.all
    if scratch:
        _check(found, scratch, "scratch: ", "Mend scratch: in the site file.", cluster)
    return found.all


def _check(found: Findings, folder: Path, name: str, remedy: str, cluster: bool) -> None:
    own, new = folder / f".doctor-{uuid.uuid4().hex[:8]}", not folder.exists()
    try:
        own.mkdir(parents=True)
    except OSError as error:
        found.problem(f"{name}writing", f"{folder}: {error.strerror}", remedy)
        return
    try:
        found.ok(f"{name}writing", str(folder))
        _kind(found, folder, name, cluster)
        for check, test in TESTS.items():
            _hold(found, f"{name}{check}", test, own, remedy)
        _clock(found, own, name)
        _room(found, folder, name, remedy)
    finally:
        shutil.rmtree(own, ignore_errors=True)
        if new:
            with suppress(OSError):
                folder.rmdir()


def _hold(found: Findings, check: str, test: Callable[[Path], None], folder: Path, remedy: str) -> None:
    try:
        test(folder)
    except (OSError, AssertionError) as error:
        said = f"fails here: {getattr(error, 'strerror', None) or error}"
        found.problem(check, said, f"Runs can't be kept safe on it. {remedy}")
    else:
        found.ok(check, "works")


def _replaces(folder: Path) -> None:
    new, old = folder / "new", folder / "old"
    old.write_bytes(b"old")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(descriptor, b"new")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(new, old)
    _must(old.read_bytes() == b"new" and not new.exists(), "a renamed file did not replace the other")


def _excludes(folder: Path) -> None:
    path = folder / "claim"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        raise AssertionError("a file could be created twice: two workers would have one run")


def _appends(folder: Path) -> None:
    path = folder / "log"
    writers = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(2)]
    try:
        for index in range(LINES):
            os.write(writers[index % 2], b"%d\n" % index)
    finally:
        for writer in writers:
            os.close(writer)
    _must(path.read_bytes() == b"".join(b"%d\n" % index for index in range(LINES)), "appended lines were lost")


TESTS = {"atomic rename": _replaces, "claims (O_EXCL)": _excludes, "appending": _appends}


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


def _kind(found: Findings, folder: Path, name: str, cluster: bool) -> None:
    """The file system's kind: whether other nodes can see it."""
    kind = filesystem(folder)
    if kind is None:
        return
    check = f"{name}file system"
    if cluster and kind in LOCAL:
        remedy = "Where nodes don't share it, name a folder that they do; `doctor --on slurm` finds out."
        found.note(check, f"{kind}, which is often seen by one machine only", remedy)
    elif kind in ("tmpfs", "ramfs"):
        found.note(check, f"{kind}: gone when the machine restarts", "Keep runs on a disk: --runs.")
    else:
        found.ok(check, kind)


def filesystem(folder: Path) -> str | None:
    """The kind of file system that a folder lies on, as Linux calls it; None where that can't be told."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return None
    path = folder.resolve()
    above = [(len(point), kind) for point, kind in mounts if path.is_relative_to(point.replace("\\040", " "))]
    return max(above)[1] if above else None


def _clock(found: Findings, folder: Path, name: str) -> None:
    """The time that the file system stamps on a new file, against this machine's."""
    before = time.time()
    (folder / "clock").touch()
    stamp, after = (folder / "clock").stat().st_mtime, time.time()
    ahead = stamp - after if stamp > after else min(0.0, stamp - before)
    says_clock(found, f"{name}clock", ahead, "the file system's clock", "this machine's")


def says_clock(found: Findings, check: str, ahead: float, whose: str, other: str) -> None:
    """Name a difference between two clocks, in seconds."""
    if abs(ahead) < CLOCK_NOTE:
        found.ok(check, f"{whose} agrees with {other}")
        return
    says = f"{whose} is {spell(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} {other}"
    if abs(ahead) < CLOCK_PROBLEM:
        found.note(check, says, "Have the machines' clocks synchronised (chrony, ntpd).")
    else:
        remedy = "Have them synchronised (chrony, ntpd): times in records and reports would be wrong by as much."
        found.problem(check, says, remedy)


def spell(seconds: float) -> str:
    """`1 h 2 min`, `3 min 4 s`, `5 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _room(found: Findings, folder: Path, name: str, remedy: str) -> None:
    """Free bytes and files, and the quota where there is one."""
    state = os.statvfs(folder)
    free, files = state.f_bavail * state.f_frsize, state.f_favail
    says = f"{free / GIB:,.1f} GiB free"
    if free < FEW_BYTES:
        found.problem(f"{name}free space", says, f"Make room. {remedy}")
    elif free < SOME_BYTES:
        remedy = "A run keeps two checkpoints of weights and momentum: four times a network's size."
        found.note(f"{name}free space", says, remedy)
    else:
        found.ok(f"{name}free space", says)
    if state.f_files and files < FEW_FILES:
        found.problem(f"{name}free files", f"{files:,} more files fit", f"A run has about ten. {remedy}")
    over = _over_quota()
    if over:
        found.problem(f"{name}quota", over, f"Remove files, or ask for more. {remedy}")


def _over_quota() -> str | None:
    """What `quota` says of a limit that is reached; None where none is, or it is not known."""
    if not shutil.which("quota"):
        return None
    try:
        answer = subprocess.run(["quota", "-q"], capture_output=True, text=True, timeout=QUOTA_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    said = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
    return f"{getpass.getuser()}: {said[-1]}" if said and "none" not in said[-1] else None
