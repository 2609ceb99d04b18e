"""The cluster: whether what a launch needs is there, and what happens when a job's time ends."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from ablation.doctor.finding import Finding, Findings
from ablation.doctor.slurm import PROGRAMS, Cluster, Partition, ask
from ablation.errors import did_you_mean
from ablation.schema import Resources
from ablation.site import Site, job_parameters, minutes, refused
from ablation.sweep import Sweep

NEEDED = ("sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol")
UNCONFIGURED = "configuration source"
"""What Slurm's programs say on a machine that has them and belongs to no cluster."""
SHORT_GRACE = 30
"""Seconds; less may not do for a checkpoint."""


def check_cluster(cluster: Cluster, site: Site, sweep: Sweep | None, *, wanted: bool = False) -> list[Finding]:
    """What launch, status and cancel need of a cluster, and what it does with jobs; `wanted`: there must be one."""
    found = Findings("cluster")
    if not cluster.there or (cluster.controller and UNCONFIGURED in cluster.controller):
        why = "no cluster is configured (SLURM_CONF)" if cluster.there else "sbatch is not on PATH"
        say = found.problem if wanted else found.note
        say("Slurm", f"none here: {why}", "Runs can be trained on this machine: --on local.")
        return found.all
    _programs(found, cluster)
    if cluster.controller:
        remedy = "Ask again later, or mend SLURM_CONF; launched runs go on, and launching again loses nothing."
        found.problem("controller", cluster.controller, remedy)
        return found.all
    found.ok("controller", f"answers ({cluster.version}, cluster {cluster.config.get('ClusterName', '?')})")
    _accounting(found, cluster)
    _leaving(found, cluster, site)
    _limits(found, cluster, sweep)
    _account(found, cluster, site)
    _partitions(found, cluster)
    partition = cluster.partition(site.partition)
    if partition:
        _fits(found, partition, site, sweep)
    else:
        _no_partition(found, cluster, site)
    _submission(found, site, sweep)
    return found.all


def _programs(found: Findings, cluster: Cluster) -> None:
    lacking = [name for name in NEEDED if name in cluster.missing]
    if lacking:
        remedy = "Add Slurm's bin folder to PATH (often: module load slurm)."
        found.problem("programs", f"not on PATH: {', '.join(lacking)}", remedy)
    else:
        found.ok("programs", ", ".join(name for name in PROGRAMS if name not in cluster.missing))


def _accounting(found: Findings, cluster: Cluster) -> None:
    """Whether sacct can tell of jobs that have left the queue."""
    lost = "status judges by the runs' own files and squeue; why a job ended is then read from its output alone"
    if not cluster.accounts_jobs:
        found.note("accounting", "off: sacct knows nothing", f"Nothing to do: {lost}.")
    elif cluster.accounting:
        found.note("accounting", cluster.accounting, f"Nothing to do: {lost}.")
    else:
        found.ok("accounting", "sacct answers")


def _leaving(found: Findings, cluster: Cluster, site: Site) -> None:
    """What happens to a job that must leave: warning, time to save, another start."""
    config, partition = cluster.config, cluster.partition(site.partition)
    mode = config.get("PreemptMode", "OFF")
    grace = partition.grace if partition else 0
    if config.get("PreemptType", "none").endswith("none") or (partition and partition.preempts == "OFF"):
        found.ok("preemption", "jobs are not preempted there")
    elif "preempt_send_user_signal" not in config.get("SlurmctldParameters", ""):
        remedy = "A preempted run goes on from its last checkpoint: lower resources.checkpoint_minutes."
        found.note("preemption", f"{mode}, without preempt_send_user_signal: no warning is sent", remedy)
    elif grace < SHORT_GRACE:
        remedy = "Where that is too short to save, a run goes on from its last checkpoint."
        found.note("preemption", f"{mode}, warned {grace} s before (GraceTime)", remedy)
    else:
        found.ok("preemption", f"{mode}, warned {grace} s before (GraceTime)")
    wait = config.get("KillWait", "30 sec")
    found.ok("time limit", f"a job is warned ahead of it, and killed {wait} after it (KillWait)")
    if not site.requeue:
        found.note("requeue", "forbidden by the site file", "Have jobs follow each other: launch --chain 3.")
    elif config.get("JobRequeue") == "0":
        found.note("requeue", "off by default (JobRequeue=0); jobs ask for it", "If it is refused: requeue: false.")
    else:
        found.ok("requeue", "allowed: a job that must leave queues itself again")


def _limits(found: Findings, cluster: Cluster, sweep: Sweep | None) -> None:
    """How many jobs may wait and run."""
    size, parallel = cluster.config.get("MaxArraySize", "?"), sweep.resources.parallel if sweep else 0
    said = [f"{name} {count}" for name, count in cluster.limits.items()]
    says = f"arrays up to {size}" + (f", {', '.join(said)} for you" if said else ", no limit on your jobs is known")
    least = min(cluster.limits.values(), default=None)
    if least is not None and parallel > least:
        remedy = "Launch submits as many as it may, and they train all runs; or lower resources.parallel."
        found.note("job limits", f"{says}; the sweep wants {parallel} workers", remedy)
    else:
        found.ok("job limits", says)


def _account(found: Findings, cluster: Cluster, site: Site) -> None:
    enforced = "associations" in cluster.config.get("AccountingStorageEnforce", "none")
    if site.account and cluster.accounts and site.account not in cluster.accounts:
        remedy = did_you_mean(site.account, list(cluster.accounts))
        where = f"{site.place('account')}: " if site.place("account") else ""
        say = found.problem if enforced else found.note
        say("account", f"{where}you have no account {site.account!r}", remedy)
    elif site.account or cluster.default_account:
        whose = "the site file's" if site.account else "your default"
        found.ok("account", f"{site.account or cluster.default_account} ({whose})")
    elif enforced:
        remedy = "Ask the cluster's staff for one, and name it with account: in the site file."
        found.problem("account", "you have none, and this cluster asks for one", remedy)
    else:
        found.ok("account", "none needed")


def _partitions(found: Findings, cluster: Cluster) -> None:
    for partition in cluster.partitions:
        star = " (default)" if partition.default else ""
        limit = "no time limit" if partition.hours is None else f"up to {partition.hours:g} h"
        nodes = "; ".join(
            f"{node.count} x {node.cpus} CPUs, {node.memory_mb / 1024:.3g} GiB{_gpus(node.gpus, node.types)}"
            for node in partition.nodes
        )
        say = found.ok if partition.up else found.note
        state = "" if partition.up else ", not up"
        say(f"partition {partition.name}", f"{limit}{star}{state}: {nodes or 'no nodes'}")


def _gpus(count: int, types: tuple[str, ...]) -> str:
    return f", {count} GPUs{f' ({chr(44).join(types)})' if types else ''}" if count else ""


def _no_partition(found: Findings, cluster: Cluster, site: Site) -> None:
    names = [partition.name for partition in cluster.partitions]
    if site.partition:
        where = f"{site.place('partition')}: " if site.place("partition") else ""
        remedy = did_you_mean(site.partition, names)
        found.problem("partition", f"{where}no partition {site.partition!r}", remedy)
    else:
        remedy = f"Name one with partition: in the site file: {', '.join(names)}."
        found.problem("partition", "this cluster has no default partition", remedy)


def _fits(found: Findings, partition: Partition, site: Site, sweep: Sweep | None) -> None:
    """Whether the sweep's jobs can ever start in their partition."""
    resources = sweep.resources if sweep else Resources()
    wanted = minutes(site, resources.job_hours) / 60
    if partition.hours is not None and wanted > partition.hours:
        remedy = f"Say max_job_hours: {partition.hours:g} in the site file; workers queue themselves again."
        found.problem("job's time", f"{wanted:g} h is more than {partition.name}'s {partition.hours:g} h", remedy)
    else:
        found.ok("job's time", f"{wanted:g} h")
    gpus = resources.gpus or 0
    if gpus > partition.gpus:
        remedy = "Choose another partition in the site file, or fewer GPUs: --set resources.gpus=..."
        found.problem("job's GPUs", f"{gpus} wanted; a node of {partition.name} has {partition.gpus}", remedy)
    elif gpus:
        found.ok("job's GPUs", f"{gpus} of a node's {partition.gpus}")
    elif sweep and resources.gpus is None and partition.gpus:
        remedy = "Say resources: {gpus: 1} in the sweep to train on them, {gpus: 0} to train on CPUs."
        found.note("job's GPUs", f"the sweep does not say how many; jobs get none of a node's {partition.gpus}", remedy)
    parameters, most = job_parameters(site, resources), max((node.cpus for node in partition.nodes), default=0)
    cpus = parameters["cpus_per_task"] * parameters["ntasks_per_node"]
    if cpus > most:
        share = f"cpus_per_gpu: {max(1, most // partition.gpus)}" if gpus and partition.gpus else "fewer cpus"
        found.problem(
            "job's CPUs", f"{cpus} wanted; a node of {partition.name} has {most}", f"Say {share} in the site file."
        )
    if site.gpu_type and site.gpu_type not in partition.types:
        names = partition.types
        remedy = did_you_mean(site.gpu_type, names) if names else "Its GPUs have no types: leave gpu_type out."
        where = f"{site.place('gpu_type')}: " if site.place("gpu_type") else ""
        found.problem("GPU type", f"{where}{partition.name} has no {site.gpu_type!r}", remedy)


def _submission(found: Findings, site: Site, sweep: Sweep | None) -> None:
    """What sbatch says of such a job, without submitting it."""
    from submitit import SlurmExecutor

    resources = sweep.resources if sweep else Resources()
    with tempfile.TemporaryDirectory() as folder:
        executor = SlurmExecutor(folder)
        executor.update_parameters(**job_parameters(site, resources))
        script = Path(folder) / "job.sh"
        script.write_text(executor._make_submission_file_text("true", "doctor"))
        answer = ask("sbatch", "--test-only", str(script), seconds=30)
    if answer.error:
        found.mistake("a job like that", refused(site, answer.said or answer.error, sweep.path if sweep else None))
        return
    start = re.search(r"to start at (\S+)", answer.said)
    found.ok("a job like that", f"sbatch would take it{f' and start it at {start[1]}' if start else ''}")
