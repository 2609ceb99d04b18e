"""The processes (ranks) that train one run together, and what they say to each other.

Rank 0 writes; what it decides or meets, the others learn. Small messages go over gloo between the CPUs, on GPU
machines too, so that no GPU waits for them; gradients go over nccl between GPUs.
"""

from __future__ import annotations

import inspect
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ablation.errors import UserError, first_line

T = TypeVar("T")
TIMEOUT = timedelta(minutes=10)
"""A rank that has not answered by then is taken for dead."""
PORTS = range(12000, 32000)
"""Below the ports that Linux gives to outgoing connections."""
EVERYWHERE = "_raised_on_every_rank"


class Broken(Exception):
    """Another rank failed or is gone: this group can't be used again, and its processes should leave."""


@dataclass(frozen=True)
class Group:
    """The ranks of one run, seen from one of them; every method must be called by all of them, in the same order.

    Each raises Broken where another rank is gone. With a world of 1 nothing is sent and nothing is copied.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    """Among the ranks of this node: which GPU is its own."""
    backend: str | None = None
    """Of gradients: gloo or nccl; None for a rank alone."""

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def agree(self, reason: str | None) -> str | None:
        """The same reason on every rank if any has one: the lowest such rank's. A tiny message where none has."""
        if self.world == 1:
            return reason
        votes = torch.tensor([reason is not None], dtype=torch.int32)
        if not int(self._reduce(votes)):
            return None
        return next(said for said in self.gather(reason) if said is not None)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks of a tensor of one shape, on its own device; rank by rank the same bits."""
        return tensor if self.world == 1 else self._reduce(tensor.clone())

    def gather(self, value: T) -> list[T]:
        """Every rank's picklable value, in the order of ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        self._talk(lambda: dist.all_gather_object(values, value))
        return values

    def share(self, value: T) -> T:
        """Rank 0's picklable value, on every rank; the others' is ignored."""
        if self.world == 1:
            return value
        box = [value]
        self._talk(lambda: dist.broadcast_object_list(box, src=0))
        return box[0]

    def at_first(self, work: Callable[[], T]) -> T:
        """What `work()` returns on rank 0, where alone it is done; what it raises there is raised on every rank."""
        if self.world == 1:
            return work()
        result, error = _attempt(work) if self.first else (None, None)
        result, said = self.share((result, error and _portable(error)))
        if said:
            raise everywhere(error or said)
        return result  # type: ignore[return-value]

    def together(self, work: Callable[[], T]) -> T:
        """What `work()` returns here; where it fails on any rank, the lowest such rank's error is raised on all.

        `work` must not talk to other ranks: one that fails would leave the others waiting.
        """
        if self.world == 1:
            return work()
        result, error = _attempt(work)
        failed = [(rank, said) for rank, said in enumerate(self.gather(error and _portable(error))) if said]
        if failed:
            rank, said = failed[0]
            raise everywhere(error if error and rank == self.rank else said)
        return result  # type: ignore[return-value]

    def wrap(self, network: nn.Module, unused: bool = False) -> nn.Module:
        """The network to train with: gradients are averaged over ranks. `unused`: some parameters may get none."""
        if self.world == 1:
            return network
        from torch.nn.parallel import DistributedDataParallel

        known = inspect.signature(DistributedDataParallel).parameters
        keep = {
            "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False
        }  # new in 2.14
        return DistributedDataParallel(
            network,
            device_ids=[torch.cuda.current_device()] if self.backend == "nccl" else None,
            **keep,  # type: ignore[arg-type]
            gradient_as_bucket_view=True,
            find_unused_parameters=unused,
        )

    def explain(self, error: Exception) -> Exception:
        """The error with which to leave training: itself where it was raised on every rank, else Broken.

        A rank that fails by itself leaves word, so that the others do not only see that it is gone.
        """
        if self.world == 1 or isinstance(error, Broken) or hasattr(error, EVERYWHERE):
            return error
        if _is_connection(error):
            return Broken(self._word() or f"another process of this run is gone: {first_line(error)}")
        word = f"process {self.rank} failed: {error if isinstance(error, UserError) else _kind(error)}"
        with suppress(Exception):
            _store().set("failed", word)
        return Broken(word)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn what fails on one rank alone into Broken on all, with that rank's words where they can be had."""
        try:
            yield
        except Exception as error:
            told = self.explain(error)
            if told is error:
                raise
            raise told from error

    def leave(self) -> None:
        """Part from the others; nothing can be said afterwards."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def _word(self) -> str | None:
        with suppress(Exception):
            if _store().check(["failed"]):
                return _store().get("failed").decode()
        return None

    def _reduce(self, tensor: Tensor) -> Tensor:
        self._talk(lambda: dist.all_reduce(tensor))
        return tensor

    def _talk(self, say: Callable[[], Any]) -> None:
        try:
            say()
        except RuntimeError as error:  # what torch.distributed raises where a connection closes or times out
            raise Broken(self._word() or f"another process of this run is gone: {first_line(error)}") from error


def alone() -> Group:
    """One rank, which needs nobody."""
    return Group()


def join(device: str = "cpu", timeout: timedelta = TIMEOUT) -> Group:
    """The group that submitit started this process in: `device` is `cpu` or `cuda`.

    A process that submitit did not start, or the only one of its job, is alone. Raises UserError where the ranks can't
    meet, or where a node has fewer GPUs than ranks.
    """
    from submitit import JobEnvironment

    try:
        job = JobEnvironment()
    except RuntimeError:  # not in one of submitit's jobs
        return alone()
    if job.num_tasks == 1:
        return alone()
    group = Group(job.global_rank, job.num_tasks, job.local_rank, "nccl" if device == "cuda" else "gloo")
    if device == "cuda":
        _take_gpu(group.local_rank)
    host = os.environ.get("MASTER_ADDR") or job.hostnames[0]
    meet(group, host, int(os.environ.get("MASTER_PORT") or port_of(job.raw_job_id)), timeout)
    return group


def meet(group: Group, host: str, port: int, timeout: timedelta) -> None:
    """Wait for the other ranks at rank 0's address. Raises UserError where they do not come."""
    backend = "cpu:gloo,cuda:nccl" if group.backend == "nccl" else "gloo"
    try:
        store = dist.TCPStore(host, port, group.world, group.first, timeout, wait_for_workers=False)
        dist.init_process_group(backend, store=store, rank=group.rank, world_size=group.world, timeout=timeout)
    except RuntimeError as error:
        raise UserError(
            f"process {group.rank} of {group.world} could not meet the others at {host}:{port}: {first_line(error)}",
            remedy="Nodes must reach each other by name on that port; $MASTER_ADDR, $MASTER_PORT, $GLOO_SOCKET_IFNAME "
            "and $NCCL_SOCKET_IFNAME (in the site file's setup lines) choose others.",
        ) from error


def port_of(job: str) -> int:
    """Where the ranks of a job meet: another port for each job, and for each of its requeues."""
    number = int("".join(filter(str.isdigit, job)) or 0)
    return PORTS[(7 * number + int(os.environ.get("SLURM_RESTART_COUNT") or 0)) % len(PORTS)]


def _take_gpu(local_rank: int) -> None:
    seen = torch.cuda.device_count()
    if seen > 1 and local_rank >= seen:
        raise UserError(
            f"process {local_rank + 1} of this node has no GPU of its own: torch sees {seen}",
            remedy="Set resources.tasks to resources.gpus, or leave it out.",
        )
    torch.cuda.set_device(local_rank if seen > 1 else 0)  # a site may show each process its own GPU alone


def _store() -> dist.Store:
    return dist.distributed_c10d._get_default_store()


def _attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error


def _portable(error: Exception) -> Exception:
    """The error as another process can be handed it."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def everywhere(error: Exception) -> Exception:
    """The error, marked as one that every rank raises at the same step: the group can go on afterwards."""
    setattr(error, EVERYWHERE, True)
    return error


def _kind(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _is_connection(error: BaseException) -> bool:
    """Whether another rank is gone; gloo's errors are plain RuntimeErrors."""
    text = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and ("gloo" in text or "Connection" in text)
    )
