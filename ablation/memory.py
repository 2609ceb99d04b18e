"""Out of memory, told as such: an allocation that failed here, or a process that the kernel ended."""

from __future__ import annotations

from pathlib import Path

WORDS = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC")
COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
"""Of cgroups of version 2 and 1, as a container or a job sees its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, the machine's or a GPU's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, OSError | RuntimeError) and any(word.lower() in text for word in WORDS)


def advice(error: BaseException, fits: int | None = None) -> str:
    """What failed, and what to do; `fits`: images that would pass through the network at a time."""
    first = str(error).partition("\n")[0] or type(error).__name__
    if "CUDA" in str(error) or type(error).__name__ == "OutOfMemoryError":
        less = (
            f"{fits} images at a time fit: set resources.micro_batch={fits}" if fits else "lower resources.micro_batch"
        )
        return f"out of GPU memory: {first}. Another process may hold some (side_by_side?); {less}."
    return f"out of memory: {first}. Ask for more (resources.memory_gb), or lower side_by_side or parallel."


def kernel_kills() -> int | None:
    """How many processes of this container or job the kernel has ended for want of memory; None where it can't be told.

    Where there is no limit of its own, the whole machine's count.
    """
    counts = [count for path in _counters() if (count := _count(path)) is not None]
    return sum(counts) if counts else None


def _counters() -> list[Path]:
    found = [Path(path) for path in COUNTERS]
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, place = line.split(":", 2)
            if "memory" in names.split(","):
                found.append(Path("/sys/fs/cgroup/memory") / place.lstrip("/") / "memory.oom_control")
            elif not names:
                found.append(Path("/sys/fs/cgroup") / place.lstrip("/") / "memory.events")
    except (OSError, ValueError):
        pass
    return list(dict.fromkeys([*found, Path("/proc/vmstat")]))


def _count(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        pass
    return None
