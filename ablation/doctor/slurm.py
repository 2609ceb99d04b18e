"""What a Slurm cluster answers, as plain values; judging it is `cluster.py`'s job."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

QUERY_SECONDS = 10.0
"""A controller that is away keeps its callers waiting for longer."""
PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "sinfo", "scontrol", "sacct", "sacctmgr")


@dataclass(frozen=True)
class Answer:
    """What a program said."""

    text: str
    error: str | None = None
    """Its complaint where it failed, did not end in time, or is not there."""
    said: str = ""
    """All that it wrote to standard error."""


def ask(*command: str, seconds: float = QUERY_SECONDS) -> Answer:
    """Run a program of Slurm's; it never raises."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError:
        return Answer("", f"{command[0]} is not on PATH")
    except subprocess.TimeoutExpired:
        return Answer("", f"{command[0]} did not answer within {seconds:g} s")
    except OSError as error:
        return Answer("", f"{command[0]}: {error.strerror}")
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        complaint = lines[-1] if lines else f"{command[0]} ended with {done.returncode}"
        return Answer(done.stdout, complaint, done.stderr)
    return Answer(done.stdout, said=done.stderr)


@dataclass(frozen=True)
class Partition:
    """Some nodes, and the rules for jobs on them."""

    name: str
    default: bool
    up: bool
    hours: float | None
    """The longest job; None: no limit."""
    grace: int
    """Seconds between the warning of a preemption and its end."""
    preempts: str
    nodes: tuple[Node, ...] = ()

    @property
    def gpus(self) -> int:
        """The most GPUs that one of its nodes has."""
        return max((node.gpus for node in self.nodes), default=0)

    @property
    def types(self) -> list[str]:
        """The types of its GPUs, where they have names."""
        return list(dict.fromkeys(kind for node in self.nodes for kind in node.types))


@dataclass(frozen=True)
class Node:
    """Nodes alike."""

    count: int
    cpus: int
    memory_mb: int
    gpus: int
    types: tuple[str, ...]
    features: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """What a cluster is like, as its programs answer."""

    missing: tuple[str, ...]
    """Programs that are not on PATH."""
    controller: str | None = None
    """Its complaint; None where it answers."""
    version: str = ""
    config: dict[str, str] = field(default_factory=dict)
    partitions: tuple[Partition, ...] = ()
    accounting: str | None = None
    """sacct's complaint; None where it answers."""
    accounts: tuple[str, ...] = ()
    default_account: str | None = None
    qos: tuple[str, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)
    """MaxJobs, MaxSubmitJobs: the smallest of the associations' and QOSs'."""

    @property
    def there(self) -> bool:
        """Whether this machine has Slurm's programs at all."""
        return len(self.missing) < len(PROGRAMS)

    @property
    def accounts_jobs(self) -> bool:
        """Whether jobs leave a trace after their end."""
        return self.config.get("AccountingStorageType", "").endswith("slurmdbd")

    def partition(self, name: str | None) -> Partition | None:
        """A partition by its name; None: the default one."""
        return next((own for own in self.partitions if (own.default if name is None else own.name == name)), None)


def read_cluster() -> Cluster:
    """Ask everything at once: one that does not answer keeps only itself waiting."""
    missing = tuple(name for name in PROGRAMS if not shutil.which(name))
    if len(missing) == len(PROGRAMS):
        return Cluster(missing)
    alive = ask("sinfo", "--noheader", "--format=%P")
    if alive.error:
        return Cluster(missing, controller=alive.error)
    user = getpass.getuser()
    questions = {
        "version": ("sinfo", "--version"),
        "config": ("scontrol", "show", "config"),
        "partitions": ("scontrol", "--oneliner", "show", "partition"),
        "nodes": ("sinfo", "--noheader", "--format=%R|%D|%c|%m|%G|%f"),
        "sacct": ("sacct", "-nXP", "--starttime=now-1hour", "--format=JobID"),
        "user": ("sacctmgr", "-nP", "show", "user", user, "format=DefaultAccount"),
        "assoc": ("sacctmgr", "-nP", "show", "assoc", f"user={user}", "format=Account,QOS,MaxJobs,MaxSubmitJobs"),
        "qos": ("sacctmgr", "-nP", "show", "qos", "format=Name,MaxJobsPerUser,MaxSubmitJobsPerUser"),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = dict(zip(questions, pool.map(lambda command: ask(*command), questions.values()), strict=True))
    config = dict(re.findall(r"^(\S+)\s*= (.*)$", answers["config"].text, re.MULTILINE))
    rows = [_row(line, 4) for line in answers["assoc"].text.splitlines()]
    qos = tuple(dict.fromkeys(name for row in rows for name in row[1].split(",") if name))
    return Cluster(
        missing=missing,
        version=answers["version"].text.strip(),
        config={key: value.strip() for key, value in config.items()},
        partitions=_partitions(answers["partitions"].text, answers["nodes"].text),
        accounting=answers["sacct"].error,
        accounts=tuple(dict.fromkeys(row[0] for row in rows if row[0])),
        default_account=answers["user"].text.strip() or None,
        qos=qos,
        limits=_limits(rows, [_row(line, 3) for line in answers["qos"].text.splitlines()], qos),
    )


def _row(line: str, fields: int) -> list[str]:
    return (line.split("|") + [""] * fields)[:fields]


def _limits(assoc: Sequence[list[str]], qos: Sequence[list[str]], own: Sequence[str]) -> dict[str, int]:
    """The smallest limit of each kind that is set for this user."""
    used = [row for row in qos if row[0] in own]
    found = {
        "MaxJobs": [row[2] for row in assoc] + [row[1] for row in used],
        "MaxSubmitJobs": [row[3] for row in assoc] + [row[2] for row in used],
    }
    numbers = {name: [int(value) for value in values if value.isdigit()] for name, values in found.items()}
    return {name: min(values) for name, values in numbers.items() if values}


def _partitions(text: str, nodes: str) -> tuple[Partition, ...]:
    rows = [_row(line, 6) for line in nodes.splitlines()]
    found = []
    for line in text.splitlines():
        fields = dict(re.findall(r"(\w+)=(\S*)", line))
        if not fields.get("PartitionName"):
            continue
        name = fields["PartitionName"]
        found.append(
            Partition(
                name=name,
                default=fields.get("Default") == "YES",
                up=fields.get("State", "UP") == "UP",
                hours=hours(fields.get("MaxTime", "UNLIMITED")),
                grace=int(fields["GraceTime"]) if fields.get("GraceTime", "").isdigit() else 0,
                preempts=fields.get("PreemptMode", "OFF"),
                nodes=tuple(_node(row) for row in rows if row[0] == name),
            )
        )
    return tuple(found)


def _node(row: Sequence[str]) -> Node:
    types, gpus = gpus_of(row[4])
    features = tuple(name for name in row[5].split(",") if name and name != "(null)")
    return Node(_number(row[1]), _number(row[2]), _number(row[3]), gpus, types, features)


def _number(text: str) -> int:
    found = re.match(r"\d+", text)  # sinfo writes 64+ where nodes differ
    return int(found[0]) if found else 0


def gpus_of(gres: str) -> tuple[tuple[str, ...], int]:
    """The types and the number of a node's GPUs, from its gres: `gpu:a100:4(S:0-1),gpu:v100:2` is a100, v100 and 6."""
    found = re.findall(r"gpu(?::([A-Za-z][\w.-]*))?:(\d+)", gres)
    return tuple(kind for kind, _ in found if kind), sum(int(count) for _, count in found)


def hours(limit: str) -> float | None:
    """Slurm's spelling of a time limit, `2-12:00:00`, in hours; None where there is no limit."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit)
    if not match:
        return None
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[1] or match[4]:
        return 24 * days + first + second / 60 + third / 3600
    return first / 60 + second / 3600
