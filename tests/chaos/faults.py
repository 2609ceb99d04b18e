"""What else happens to workers: they stand still, disks fill and fail, folders go away, clocks jump, memory ends."""

import ctypes
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from chaos import child
from chaos.field import Field, Ground, Tally, audit, ended, events, until
from chaos.kills import Storm

from ablation.claim import attempts
from ablation.records import read_records
from ablation.run import prepare
from ablation.train import Training

LEASE = 1.5
Pids = list[int]


def stopped_for_longer_than_a_lease(home: Field, count: int, seed: int = 0) -> Tally:
    """SIGSTOP at any moment, half of them inside a checkpoint; another machine takes over; the first wakes up.

    Counted as late: what it wrote of a run after another worker had gone on with it.
    """
    chance, tally, number = random.Random(f"stopped {seed}"), Tally(), 0
    while tally.faults < count and number < 3 * count:
        ground = home.ground(f"stopped-{number}")
        number += 1
        first = ground.start(slot=0, hooks=[child.apart])
        if number % 2:
            phase = chance.randrange(len(child.PHASES)) + 1
            ground.board[child.WANTED] = phase
            until(lambda: ground.board[child.AT], 10)  # noqa: B023
        else:
            time.sleep(chance.uniform(0.1, 1.0))
        os.kill(first, signal.SIGSTOP)
        ground.board[child.WANTED] = 0
        asleep = time.monotonic()
        second = ground.start(slot=1, hooks=[child.apart])
        time.sleep(LEASE + chance.uniform(0.3, 1.5))
        os.kill(first, signal.SIGCONT)
        ground.reap(first), ground.reap(second)
        tally.faults += 1
        ground.finish(hooks=[child.apart])
        found = audit(ground, alone=False)
        found.late = late(ground, first, asleep)
        tally.add(found)
        ground.close()
    return tally


def late(ground: Ground, pid: int, asleep: float) -> int:
    """Checkpoints and epochs that a worker wrote after another had gone on with the run."""
    count = 0
    for paths in ground.paths:
        own = [event for event in events(ground.trace) if event["run"] == paths.id]
        taken = next((e["at"] for e in own if e["what"] == "begin" and e["pid"] != pid and e["at"] > asleep), None)
        writes = [e for e in own if e["pid"] == pid and e["what"] in ("saved", "ack") and taken and e["at"] > taken]
        count += sum(e["what"] == "saved" or '"epoch"' in e["record"][:20] for e in writes)
    return count


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """A file system of so many kB; None where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(home: Field, count: int, seed: int = 0) -> Tally | None:
    """A small file system that is filled to the brim again and again while two workers write on it."""
    chance, tally, number = random.Random(f"full {seed}"), Tally(), 0
    while tally.faults < count and number < count:
        with small_disk(home.folder / "disk", 12_000) as disk:
            if disk is None:
                return None
            ground, number = home.ground(f"full-{number}", disk / "ground"), number + 1
            fill = partial(_fill, disk / "ballast")
            tally.faults += _work_through(ground, fill, count - tally.faults, chance)
            ground.finish()
            tally.add(audit(ground))
    return tally


def _fill(ballast: Path, chance: random.Random) -> None:
    """Leave between nothing and 200 kB free for a while."""
    try:
        with open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        size = ballast.stat().st_size
        os.truncate(ballast, max(0, size - chance.choice([0, 4096, 100_000, 200_000])))
    time.sleep(chance.uniform(0.05, 0.5))
    ballast.unlink()


def _work_through(ground: Ground, fault: Callable[[random.Random], None], most: int, chance: random.Random) -> int:
    """Two workers, started again where they leave, while faults come; how many came."""
    pids: list[int | None] = [None, None]
    faults = 0
    while not ground.done() and faults < most:
        for slot, pid in enumerate(pids):
            if pid is None or ended(pid):
                pids[slot] = ground.start(slot=slot)
        time.sleep(chance.uniform(0.05, 0.4))
        fault(chance)
        faults += 1
    for pid in pids:
        if pid and not ended(pid):
            ground.reap(pid)
    return faults


def failing_disk(home: Field, count: int, seed: int = 0) -> Tally:
    """Rounds in which one of 25 calls to the file system, of any kind, fails with EIO."""
    tally = Tally()
    for number in range(count):
        ground = home.ground(f"failing-{number}")
        hook = child.failing_disk(0.04, seed + number)
        for _ in range(4):
            first, second = (ground.start(slot=slot, hooks=[hook]) for slot in range(2))
            ground.reap(first), ground.reap(second)
        ground.finish()
        tally.add(audit(ground))
        tally.faults += 1
        ground.close()
    return tally


def read_only_folder(home: Field, count: int, seed: int = 0) -> Tally:
    """Run folders that become read-only while they are trained, for a worker that is not root; then writable again."""
    chance, tally = random.Random(f"read-only {seed}"), Tally()
    for number in range(count):
        ground = home.ground(f"read-only-{number}")
        pid = ground.start(hooks=[_obey_permissions])
        time.sleep(chance.uniform(0.1, 0.8))
        folders = [path for path in ground.runs.rglob("*") if path.is_dir()]
        for folder in folders:
            folder.chmod(0o555)
        time.sleep(0.3)
        until(lambda: ended(pid), 60)  # noqa: B023
        for folder in folders:
            folder.chmod(0o755)
        tally.faults += "Permission denied" in (ground.folder / "output.txt").read_text()
        ground.finish(hooks=[_obey_permissions])
        tally.add(audit(ground))
        ground.close()
    return tally


def _obey_permissions() -> None:
    """Give up what lets root write where nobody may: CAP_DAC_OVERRIDE, by the system call itself."""
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, sets) or os.getuid():
        return
    sets[0] &= ~(1 << 1)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def deleted_folder(home: Field, count: int, seed: int = 0) -> Tally:
    """A run's folder that somebody removes while it is trained; launching again makes it anew.

    Records and steps of before are gone with it, as was asked: only the end is looked at.
    """
    chance, tally = random.Random(f"deleted {seed}"), Tally()
    for number in range(count):
        ground = home.ground(f"deleted-{number}")
        pid = ground.start()
        time.sleep(chance.uniform(0.1, 0.8))
        for run, paths in zip(ground.home.sweep.runs(), ground.paths, strict=True):
            if attempts(paths.attempts) and not paths.result.exists():
                shutil.rmtree(paths.folder, ignore_errors=True)
                tally.faults += 1
                time.sleep(chance.uniform(0, 0.1))
                prepare(run, paths)
        ground.reap(pid)
        ground.prepare()
        ground.finish()
        found = audit(ground, alone=False)
        found.records_lost, found.redone, found.twice = 0, 0.0, 0
        tally.add(found)
        ground.close()
    return tally


def jumping_clock(home: Field, count: int, seed: int = 0) -> Tally:
    """Clocks, this machine's and the file server's, that jump by up to two days under machines that watch leases.

    A jump ahead ends every lease: a run may be taken from a living worker, which must see that and stop.
    """
    chance, tally, rounds = random.Random(f"clock {seed}"), Tally(), 0
    while tally.faults < count:
        ground = home.ground(f"clock-{rounds}")
        rounds += 1
        hooks = [child.apart, child.wandering_clock(ground)]
        pids: list[int | None] = [None, None]
        while not ground.done():
            for slot, pid in enumerate(pids):
                if pid is None or ended(pid):
                    pids[slot] = ground.start(slot=slot, hooks=hooks)
            time.sleep(chance.uniform(0.1, 0.4))
            if tally.faults < count:
                struct.pack_into("d", ground.board, child.CLOCK, chance.uniform(-1, 1) * 172_800)
                tally.faults += 1
        for pid in pids:
            if pid and not ended(pid):
                ground.reap(pid)
        tally.add(audit(ground, alone=False))
        ground.close()
    return tally


def hung(home: Field, count: int, seed: int = 0) -> Tally:
    """Steps that never return: the watchdog names the run, ends the process, and another goes on.

    Counted as lost: runs that were not named as hung.
    """
    chance, tally = random.Random(f"hung {seed}"), Tally()
    for number in range(count):
        ground = home.ground(f"hung-{number}")
        status = ground.reap(ground.start(hooks=[_hang(chance.randrange(1, 60))], hang_minutes=0.03))
        tally.faults += 1
        told = [a.message for paths in ground.paths for a in attempts(paths.attempts) if a.message.startswith("hung: ")]
        named = any("hung: nothing has moved" in r.get("message", "") for r in _records(ground) if r.get("message"))
        ground.finish()
        found = audit(ground)
        found.lost += status != -signal.SIGKILL or len(told) != 1 or not named
        tally.add(found)
        ground.close()
    return tally


def _records(ground: Ground) -> list[dict]:
    return [record for paths in ground.paths for record in read_records(paths.log)]


def _hang(after: int) -> Callable[[], None]:
    def hook() -> None:
        step, count = Training._step, iter(range(10**9))

        def hanging(self: Training, *arguments: object) -> None:
            if next(count) == after:
                time.sleep(10**6)
            step(self, *arguments)

        Training._step = hanging  # type: ignore[method-assign]

    return hook


def out_of_memory(home: Field, count: int, seed: int = 0) -> Tally:
    """Address space that ends in the middle of a run: the attempt says so; with more, the run goes on.

    Counted as lost: runs whose attempt did not say that memory was out.
    """
    chance, tally = random.Random(f"memory {seed}"), Tally()
    for number in range(count):
        ground = home.ground(f"memory-{number}")
        ground.reap(ground.start(hooks=[_starve(chance.randrange(1, 30))]))
        tally.faults += 1
        told = [attempt.message for paths in ground.paths for attempt in attempts(paths.attempts) if attempt.message]
        ground.finish()
        found = audit(ground)
        found.lost += not any(message.startswith("out of memory: ") for message in told)
        tally.add(found)
        ground.close()
    return tally


def _starve(after: int) -> Callable[[], None]:
    """From a step on, each needs half a gigabyte more than there is."""

    def hook() -> None:
        import torch

        step, count = Training._step, iter(range(10**9))

        def starving(self: Training, *arguments: object) -> None:
            if next(count) == after:
                used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
                resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
                try:
                    torch.zeros(2**27, dtype=torch.float32)
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            step(self, *arguments)

        Training._step = starving  # type: ignore[method-assign]

    return hook


def stopped_inside(home: Field, count: int, seed: int = 0) -> Tally:
    """SIGSTOP and SIGCONT on this machine, where others see that the process is there: it keeps its run."""

    def doze(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)

    return Storm(home, "dozing", count, seed, strike=doze).blow()
