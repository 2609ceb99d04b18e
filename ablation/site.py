"""The site file: what belongs to a cluster and not to a study. Nothing in it enters a run's id."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from ablation.errors import UserError, did_you_mean
from ablation.schema import Resources
from ablation.yaml_file import YamlFile, read_yaml

Lines = Annotated[str, Field(strict=True, min_length=1)]
"""Shell lines."""
Text = Annotated[Lines, AfterValidator(lambda text: _one_line(text))]
Whole = Annotated[int, Field(strict=True, ge=1)]
Yes = Annotated[bool, Field(strict=True)]
Value: TypeAlias = Annotated[bool, Field(strict=True)] | int | Annotated[float, Field(allow_inf_nan=False)] | Text
OURS = {
    "array": "launch makes the array, `parallel` of the sweep is its size",
    "output": "each launch keeps its jobs' output in its own folder",
    "error": "each launch keeps its jobs' output in its own folder",
    "open-mode": "a job that is queued again adds to its output",
    "signal": "workers are told to save by it",
    "dependency": "`launch --chain` sets it",
    "job-name": "`status` and `cancel` find jobs by it",
    "comment": "lost submissions are found by it",
    "nodes": "say resources.nodes in the sweep",
    "ntasks": "say resources.nodes and resources.gpus in the sweep",
    "ntasks-per-node": "say resources.gpus in the sweep",
    "gpus": "say resources.gpus in the sweep",
    "gpus-per-node": "say resources.gpus in the sweep, gpu_option and gpu_type here",
    "gpus-per-task": "say resources.gpus in the sweep, gpu_option and gpu_type here",
    "gres": "say resources.gpus in the sweep, gpu_option: gres and gpu_type here",
    "cpus-per-task": "say cpus_per_gpu or cpus here, or resources.cpus in the sweep",
    "cpus-per-gpu": "say cpus_per_gpu here",
    "mem": "say memory_gb_per_gpu or memory_gb here, or resources.memory_gb in the sweep",
    "mem-per-gpu": "say memory_gb_per_gpu here",
    "time": "say max_job_hours here, or resources.job_hours in the sweep",
    "requeue": "say requeue: true here",
    "no-requeue": "say requeue: false here",
    "wrap": "a job is a worker",
}
"""sbatch options that are set for every job, and why the site file can't."""
MOVES = ("SLURM_", "SLURMD_", "PBS_", "TMPDIR", "HOSTNAME")
"""Variables that differ from job to job or from node to node."""


MOST_HOURS = 24 * 365


class Site(BaseModel):
    """How jobs are submitted here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: Text | None = None
    partition: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    gpu_option: Literal["gpus-per-node", "gres"] = "gpus-per-node"
    """How GPUs are asked for: `--gpus-per-node=2` or `--gres=gpu:2`."""
    gpu_type: Text | None = None
    """Such as a100: `--gpus-per-node=a100:2`, `--gres=gpu:a100:2`."""
    cpus_per_gpu: Whole = 8
    memory_gb_per_gpu: Whole | None = None
    cpus: Whole | None = None
    """CPUs of a worker without a GPU; by default its threads."""
    memory_gb: Whole | None = None
    """Memory of a worker without a GPU; by default the cluster's own."""
    setup: list[Lines] = []
    """Shell lines before a worker starts: modules, conda."""
    python: Text | None = None
    """The interpreter (or the container command around it); by default the one that launches."""
    srun_args: list[Text] = []
    """Options of the srun that starts workers, such as those of a container plugin."""
    scratch: Text | None = None
    """Folder for checkpoints, seen by all nodes; may name variables such as $USER that are the same in every job."""
    data: Text | dict[Text, Text] | None = None
    """Where data sets lie: one root, or a root for each data set's name."""
    wckey: Text | None = None
    """submitit would send its own; by default none is sent."""
    requeue: Yes = True
    """Whether a job may queue itself again; where not, `launch --chain` has others follow it."""
    max_job_hours: Annotated[float, Field(strict=True, gt=0, le=MOST_HOURS)] | None = None
    """The longest job that is taken here; a sweep's longer job_hours are cut to it."""
    sbatch: dict[Text, Value] = {}
    """Any other sbatch option, by its long name without dashes; true for one without a value."""

    _file: YamlFile | None = PrivateAttr(None)

    @field_validator("sbatch")
    @classmethod
    def _options(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            if problem := _unfit(key, value):
                raise ValueError(f"sbatch.{key}: {problem}")
        return options

    @field_validator("scratch")
    @classmethod
    def _stays(cls, scratch: str | None) -> str | None:
        for name in re.findall(r"\$\{?(\w+)", scratch or ""):
            if name.startswith(MOVES):
                raise ValueError(
                    f"${name} names another folder in the next job, which would not find the checkpoints. "
                    "Name a folder that all nodes see, such as /scratch/$USER."
                )
        return scratch

    def place(self, *key: str) -> str | None:
        """`file:line:column` of a setting, None where the file does not have it."""
        return self._file.places.get(key) if self._file else None

    def scratch_folder(self) -> Path | None:
        """The folder for checkpoints, its variables filled in. Raises UserError where one is not set."""
        return self._folder(self.scratch, "scratch") if self.scratch else None

    def data_root(self, dataset: str) -> Path | None:
        """Where a data set lies; None where the file does not say."""
        root = self.data.get(dataset) if isinstance(self.data, dict) else self.data
        return self._folder(root, "data") if root else None

    def _folder(self, text: str, key: str) -> Path:
        path = Path(os.path.expandvars(text)).expanduser()
        if "$" in str(path):
            raise UserError(f"{key}: a variable in {text} is not set here", where=self.place(key), remedy="Set it.")
        return path.absolute()


def _one_line(text: str) -> str:
    """The words as they are: they reach a job script, where a second line would be a command."""
    if not text.isprintable():
        raise ValueError(f"{text!r:.60} has characters that can't be printed. Write it on one line")
    return text


def _unfit(key: str, value: Any) -> str | None:
    """Why the site file can't give an sbatch option so."""
    name = key.lstrip("-").replace("_", "-")
    if key != name:
        return f"spell it as sbatch does. Write {name}"
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        return "no option has such a name. Write the long name, without dashes before it"
    if len(name) == 1:
        return "short options are not read here. Write the long name, such as partition for p"
    if name in OURS:
        return f"it is set for every job. {OURS[name][0].upper()}{OURS[name][1:]}"
    if name in Site.model_fields and name != "sbatch":
        return f"the site file has a key for that. Write {name}: beside sbatch, not in it"
    return "an option is there or not. Leave it out" if value is False else None


def load_site() -> Site:
    """The site file: $ABLATION_SITE, else ~/.config/ablation/site.yaml, else an empty one. Raises UserError."""
    path, named = site_path()
    return read_site(path) if named or path.exists() else Site()


def site_path() -> tuple[Path, bool]:
    """Where the site file lies, and whether $ABLATION_SITE says so."""
    named = os.environ.get("ABLATION_SITE")
    return Path(named) if named else Path.home() / ".config" / "ablation" / "site.yaml", bool(named)


def read_site(path: Path) -> Site:
    """A site file. Raises UserError with file:line:column."""
    if not path.exists():
        remedy = "$ABLATION_SITE names it; `python -m ablation.doctor --write-site` drafts one."
        raise UserError(f"no such site file: {path}", remedy=remedy)
    file = read_yaml(path)
    if not isinstance(file.data, dict | None):
        raise UserError("a site file is a mapping with partition, account ...", where=f"{path}:1:1")
    try:
        site = Site.model_validate(file.data or {})
    except ValidationError as error:
        raise _mistake(error, file) from None
    site._file = file
    return site


EITHER = {
    "sbatch": "its values are words, numbers or true",
    "data": "a folder, or a mapping of data sets to folders",
}
"""What may stand at keys that take several kinds of values."""


def _mistake(error: ValidationError, file: YamlFile) -> UserError:
    """The first mistake of a site file, a misspelt key before others."""
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    key = first["loc"]
    if first["type"] == "extra_forbidden":
        hint = did_you_mean(str(key[0]), list(Site.model_fields))
        return UserError(f"unknown key {key[0]!r}", where=file.where((*key, "key")), remedy=hint)
    message, _, remedy = first["msg"].removeprefix("Value error, ").partition(". ")
    if first["type"] != "value_error":
        said = EITHER.get(str(key[0])) or f"{message[0].lower()}{message[1:]}"
        message = f"{key[0]}: {said}, got {first.get('input')!r:.60}"
    named = re.match(r"sbatch\.([^:]+):", message)
    where = file.where((*key, named[1], "key") if named else key)
    return UserError(message, where=where, remedy=f"{remedy.rstrip('.')}." if remedy else None)


def sbatch_parameters(
    site: Site,
    *,
    job_hours: float,
    nodes: int = 1,
    gpus: int = 0,
    tasks: int = 1,
    threads: int = 1,
    cpus: int | None = None,
    memory_gb: int | None = None,
    exports: Sequence[str] = (),
) -> dict[str, Any]:
    """What submitit's SlurmExecutor is to be told of a job's size and of this cluster; the rest is the launch's.

    `gpus`, `tasks`, `cpus` and `memory_gb` are of one node; `cpus` and `memory_gb` are the sweep's own wish and go
    before the site's; `threads` are those that all processes of one task keep busy. srun is told the CPUs too: from
    Slurm 22.05 on it does not take them over from the job. `exports` are shell lines after the site's `setup`.
    """
    wanted = cpus or (site.cpus_per_gpu * gpus if gpus else site.cpus or 0)
    each = max(threads, math.ceil(wanted / tasks))
    memory = memory_gb or (gpus * (site.memory_gb_per_gpu or 0) if gpus else site.memory_gb)
    parameters = {
        "time": minutes(site, job_hours),
        "nodes": nodes,
        "ntasks_per_node": tasks,
        "cpus_per_task": each,
        **_gpus(site, gpus),
        "mem": f"{memory}GB" if memory else None,
        "account": site.account,
        "partition": site.partition,
        "qos": site.qos,
        "constraint": site.constraint,
        "setup": [*site.setup, *exports] or None,
        "srun_args": [f"--cpus-per-task={each}", *site.srun_args],
        "additional_parameters": {**site.sbatch, "requeue" if site.requeue else "no-requeue": True},
    }
    return {**{key: value for key, value in parameters.items() if value is not None}, "wckey": site.wckey}


def job_parameters(
    site: Site, resources: Resources, *, job_hours: float | None = None, exports: Sequence[str] = ()
) -> dict[str, Any]:
    """`sbatch_parameters` of a sweep's worker, or of another job on the same resources for so many hours."""
    return sbatch_parameters(
        site,
        job_hours=resources.job_hours if job_hours is None else job_hours,
        nodes=resources.nodes,
        gpus=resources.gpus or 0,
        tasks=resources.tasks_a_node,
        threads=resources.threads * resources.side_by_side,
        cpus=resources.cpus,
        memory_gb=resources.memory_gb,
        exports=exports,
    )


def minutes(site: Site, job_hours: float) -> int:
    """The time limit of a job: what is asked for, or the longest that is taken here."""
    longest = math.inf if site.max_job_hours is None else math.floor(60 * site.max_job_hours)
    return int(max(1, min(round(60 * job_hours), longest)))


def _gpus(site: Site, gpus: int) -> dict[str, Any]:
    if not gpus:
        return {}
    count = f"{site.gpu_type}:{gpus}" if site.gpu_type else gpus
    return {"gres": f"gpu:{count}"} if site.gpu_option == "gres" else {"gpus_per_node": count}


BLAMED: tuple[tuple[str, str, str | None], ...] = (
    (r"invalid account", "account", None),
    (r"partition", "partition", None),
    (r"qos", "qos", None),
    (r"feature|constraint", "constraint", None),
    (r"gres|generic resource|gpu", "gpu_type", "gpus"),
    (r"time limit", "max_job_hours", "job_hours"),
    (r"memory", "memory_gb_per_gpu", "memory_gb"),
    (r"memory", "memory_gb", None),
    (r"wckey", "wckey", None),
    (r"cpu count", "cpus_per_gpu", "cpus"),
    (r"node count", "partition", "nodes"),
    (r"node configuration", "gpu_type", "gpus"),
)
"""What sbatch complains of; the site file's key for it, and the key of the sweep's resources."""


def refused(site: Site, words: str, sweep: Path | None = None) -> UserError:
    """A plain error for a submission that sbatch refused: Slurm's own words, and the line that is to blame."""
    lines = words.strip().splitlines() or ["it gave no reason"]
    said = "; ".join(dict.fromkeys(re.findall(r"(?:error|failure): (.*)", words))) or lines[0]
    return UserError(
        f"Slurm refused the submission: {said}",
        where=_blame(site, said, sweep),
        remedy="`python -m ablation.doctor` tells what this cluster has; `launch --dry-run` shows the job script.",
    )


def _blame(site: Site, said: str, sweep: Path | None) -> str | None:
    option = re.search(r"option '--([\w-]+)", said)
    if option and (place := site.place("sbatch", option[1], "key")):
        return place
    for pattern, key, resource in BLAMED:
        if re.search(pattern, said, re.IGNORECASE):
            own = read_yaml(sweep).places.get(("resources", resource)) if sweep and resource else None
            place = own or site.place(key) or site.place("sbatch")
            if place:
                return place
    return None
