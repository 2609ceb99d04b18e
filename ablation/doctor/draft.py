"""A first site file, from what the cluster answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ablation.doctor.slurm import Cluster, Node, Partition
from ablation.run import write_bytes

MEMORY_SHARE = 0.95
"""Of a node's memory, what jobs may have: the rest is the system's."""


def write_site(cluster: Cluster, path: Path) -> tuple[str, bool]:
    """The draft, and whether it was written: a file that is there is left as it is. Raises OSError."""
    text = draft(cluster)
    if path.exists():
        return text, False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode())
    return text, True


def draft(cluster: Cluster) -> str:
    """A site file in YAML; what is a guess, or a choice, is a comment."""
    lines = ["# How jobs are submitted on this cluster. Nothing here enters a run's id.", *_lines(cluster)]
    return "\n".join(lines) + "\n"


def _lines(cluster: Cluster) -> Iterator[str]:
    partition = choose(cluster)
    others = ", ".join(own.name for own in cluster.partitions)
    yield f"partition: {partition.name}  # of {others}" if partition else "# partition: which?"
    if cluster.accounts:
        default = cluster.default_account or cluster.accounts[0]
        yield f"account: {default}  # of {', '.join(cluster.accounts)}"
    if len(cluster.qos) > 1:
        yield f"# qos: {cluster.qos[0]}  # of {', '.join(cluster.qos)}"
    yield from _features(partition)
    yield from _sizes(cluster, partition)
    yield from _time(cluster, partition)
    yield from _folders()
    yield "# setup: [module load cuda, source ~/.bashrc]  # shell lines before a worker starts"
    yield "# python: apptainer exec --nv image.sif python  # by default the Python that launches"
    yield "# srun_args: [--container-image=image.sqsh]  # for container plugins"
    yield "# sbatch: {mail-user: me@example.org, mail-type: FAIL}  # any other option of sbatch"


def choose(cluster: Cluster) -> Partition | None:
    """The default partition where it is up and has GPUs or no other has; else the first that has GPUs."""
    up = [own for own in cluster.partitions if own.up]
    with_gpus = [own for own in up if own.gpus]
    return min(with_gpus or up, key=lambda own: not own.default, default=None)


def _node(partition: Partition | None) -> Node | None:
    """The commonest of the nodes with the most GPUs."""
    nodes = partition.nodes if partition else ()
    return max(nodes, key=lambda node: (node.gpus, node.count), default=None)


def _features(partition: Partition | None) -> Iterator[str]:
    names = dict.fromkeys(name for node in (partition.nodes if partition else ()) for name in node.features)
    if names:
        yield f"# constraint: {next(iter(names))}  # of {', '.join(names)}"


def _sizes(cluster: Cluster, partition: Partition | None) -> Iterator[str]:
    """GPUs, and the share of a node that goes with each."""
    node = _node(partition)
    if node is None or not node.gpus:
        yield "# no GPUs there: runs train on CPUs (resources.gpus: 0 in the sweep)"
        return
    assert partition
    typed = "cons_tres" in cluster.config.get("SelectType", "cons_tres")
    yield f"gpu_option: {'gpus-per-node' if typed else 'gres'}"
    if len(partition.types) > 1:
        yield f"# gpu_type: {partition.types[0]}  # of {', '.join(partition.types)}: speeds of two kinds don't compare"
    elif partition.types:
        yield f"gpu_type: {partition.types[0]}"
    yield f"cpus_per_gpu: {max(1, node.cpus // node.gpus)}  # a node has {node.cpus} CPUs and {node.gpus} GPUs"
    memory = int(MEMORY_SHARE * node.memory_mb / 1024 / node.gpus)
    if memory:
        yield f"memory_gb_per_gpu: {memory}  # a node has {node.memory_mb / 1024:.3g} GiB"


def _time(cluster: Cluster, partition: Partition | None) -> Iterator[str]:
    if partition and partition.hours is not None:
        yield f"max_job_hours: {partition.hours:g}  # the partition's limit; workers queue themselves again"
    if cluster.config.get("JobRequeue") == "0":
        yield "# requeue: false  # where jobs may not queue again; then launch with --chain"


def _folders() -> Iterator[str]:
    scratch = next((name for name in ("SCRATCH", "WORK") if os.environ.get(name)), None)
    yield f"scratch: ${scratch}/ablation  # checkpoints" if scratch else "# scratch: /scratch/$USER  # checkpoints"
    data = os.environ.get("ABLATION_DATA")
    yield f"data: {data}" if data else "# data: /datasets  # the folder that holds data sets, seen by all nodes"
