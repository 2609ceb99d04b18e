"""Parsers of what a user writes: sweeps, site files, options, names, variables."""

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from fuzz.mutate import ALIASES, Case
from fuzz.parser import Parser
from studies import sweep_fields, write_sweep

from ablation.family.load import here
from ablation.image_folder.files import File
from ablation.image_folder.stage import staged
from ablation.job import WorkerJob
from ablation.launch.local import visible_gpus
from ablation.launch.request import Request
from ablation.launch.slurm import job_script
from ablation.registration import content_of
from ablation.site import Site, load_site, read_site, sbatch_parameters
from ablation.sources import data_root
from ablation.sweep import Sweep, load_sweep
from analysis.outside import evidence_of

FULL = {
    **sweep_fields(
        ("resnet11_1x8d", "resnext11_4x3d"),
        dataset={"name": "fashion_mnist", "evaluations": {"few": {"classes": [0, 1]}}},
    ),
    "precision": "fp32",
    "seeds": [0, 1],
    "evidence": {"metric": "top1_error", "margin": 0.2, "contrasts": [["cardinality", "width"]][:0], "looks": [2]},
    "resources": {"gpus": 0, "threads": 1, "parallel": 2, "job_hours": 1.5, "checkpoint_minutes": 5},
}
FULL["panels"][0] |= {
    "recipe": {"base": "fashion", "epochs": 3, "batch": 64, "norm_batch": 32, "augment": ["crop", "flip"]},
    "tuned": {"arms": ["resnet11_1x8d"], "trials": 4},
}
FULL["panels"][0]["arms"] += [
    {"family": "blocks.py:net", "knobs": {"width": 4}, "source": "0" * 16, "params": 10, "macs": 10, "name": "mine"},
    {
        "design": {"blocks": [1, 1, 1], "widths": [8, 16, 32], "cardinality": 1},
        "params": 33930,
        "macs": 1210880,
        "name": "b",
    },
]
SITE = {
    **{
        "account": "lab",
        "partition": "gpu",
        "qos": "normal",
        "constraint": "a100",
        "gpu_option": "gres",
        "gpu_type": "a100",
    },
    **{
        "cpus_per_gpu": 8,
        "memory_gb_per_gpu": 60,
        "cpus": 4,
        "memory_gb": 8,
        "setup": ["module load cuda"],
        "python": "python",
    },
    **{
        "srun_args": ["--mpi=none"],
        "scratch": "/scratch/$USER",
        "data": {"imagenet": "/data"},
        "wckey": "w",
        "requeue": True,
    },
    **{"max_job_hours": 24, "sbatch": {"mail-type": "END", "nice": 10, "exclusive": True}},
}


def dumped(value: Any, **how: bool) -> bytes:
    """Plain values as YAML; by libyaml where it is there, for it is quicker."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(value, Dumper=dumper, sort_keys=False, **how).encode()


def text_of(case: Case, valid: Any) -> bytes:
    """A YAML file of changed values, of changed bytes, or with aliases that grow without bound."""
    if case.kind < 4:
        try:
            return dumped(case.tree(valid), allow_unicode=bool(case.kind % 2))
        except (UnicodeEncodeError, RecursionError):
            pass
    if case.kind == 4 and case.changes[0][0] == 9:
        return ALIASES.encode()
    return case.data(dumped(valid))


def use(sweep: Sweep, folder: Path) -> None:
    """What every command does with a sweep: name its runs, their folders, what is registered."""
    content_of(sweep)
    for run in sweep.runs()[:20]:
        place = sweep.paths(folder / "runs", run).folder
        assert os.path.normpath(place).startswith(f"{folder}/runs/{sweep.name}/"), place
        assert place.parent.parent == folder / "runs", place


def feed_sweep(folder: Path, shared: Any, case: Case) -> None:
    path = folder / "study.yaml"
    path.write_bytes(text_of(case, FULL))
    use(load_sweep(path), folder)


def set_up_sweep(folder: Path) -> Path:
    (folder / "blocks.py").write_text("import os\nos.system('touch canary')\n")  # reading a sweep runs no family
    os.chdir(folder)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(FULL))
    return path


KEYS = (
    *(
        "seeds",
        "panels.*.recipe.epochs",
        "panels.0.recipe",
        "panels.*.arms.*.design",
        "panels.0.dataset",
        "evidence.margin",
    ),
    *(
        "panels.0.name",
        "panels",
        "panels.9.name",
        "a.b.c",
        "",
        ".",
        "*",
        "panels.*",
        "question",
        "resources.gpus",
        "panels.x.y",
    ),
    *(
        "panels.0.budget",
        "panels.00.budget",
        "panels.²",
        "panels.-1.name",
        "evidence.contrasts",
        "panels.0.arms.*.params",
    ),
)


def feed_option(folder: Path, shared: Path, case: Case) -> None:
    options = [f"{case.pick(KEYS, n)}={case.word(n)}" for n in range(1 + case.kind % 2)]
    options += [case.word()] if case.kind == 5 else []
    try:
        use(load_sweep(shared, options), folder)
    finally:
        evidence_of([f"evidence.margin={case.word()}"] if case.kind % 2 else options)


def feed_site(folder: Path, shared: Sweep, case: Case) -> None:
    path = folder / "site.yaml"
    path.write_bytes(text_of(case, SITE))
    site = read_site(path)
    sbatch_parameters(site, job_hours=2, gpus=2, tasks=2)
    site.data_root("imagenet")
    check_script(site, shared, folder)
    site.scratch_folder()


def check_script(site: Site, sweep: Sweep, folder: Path) -> None:
    """No word of a site file or a name is a line of its own in the script, nor an option that launch sets itself."""
    script = job_script(Request(sweep, folder / "runs", "slurm", site), 2)
    head, _, command = script.partition("\n# setup")
    assert all(
        line.startswith("#SBATCH --") or line in ("", "#!/bin/bash", "# Parameters") for line in head.splitlines()
    ), head
    lines = [line for line in command.splitlines() if line and not line.startswith("# ")]
    wanted = "\n".join(site.setup).count("\n") + (1 if site.setup else 0)
    own = [line for line in lines if line.startswith(("[ -e ", "[ -O ", "export SUBMITIT", "srun "))]
    assert len(lines) - len(own) <= wanted, command
    for line in head.splitlines():
        if line.startswith("#SBATCH"):
            assert len(shlex.split(line.removeprefix("#SBATCH "))) == 1, line


def feed_name(folder: Path, shared: Any, case: Case) -> None:
    """A sweep's file name, and every name in it, all the way to sbatch."""
    fields = sweep_fields(("resnet11_1x8d", "resnext11_4x3d"))
    panel = fields["panels"][0]
    fields["question"], panel["name"] = case.word(1) or "q", case.word(2) or "p"
    panel["arms"][1]["name"] = case.word(3) or "a"
    name = case.word(4).replace("/", "").replace("\0", "")[:200]
    path = folder / f"{name}.yaml"
    try:
        path.write_bytes(dumped(fields))
        sweep = load_sweep(path)
        use(sweep, folder)
        check_script(Site(), sweep, folder)
    except UnicodeEncodeError:
        return
    finally:
        with suppress(UnicodeEncodeError):
            path.unlink(missing_ok=True)


def feed_variables(folder: Path, shared: Sweep, case: Case) -> None:
    """Every variable that is read, with a word that has no place there."""
    names = ("ABLATION_DATA", "ABLATION_SITE", "ABLATION_CODE", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_START_TIME")
    names += ("SLURM_JOB_END_TIME", "ABLATION_STAGE")
    words = {name: case.word(n).replace("\0", "") for n, name in enumerate(names)}
    if case.kind != 6:
        words.pop("ABLATION_SITE")
    if words["ABLATION_STAGE"].startswith(("/", "..", "~")):
        words["ABLATION_STAGE"] = str(folder / "stage")  # it may name any folder: that is what it is for
    before = dict(os.environ)
    try:
        try:
            os.environ.update(words)
        except UnicodeEncodeError:
            return
        visible_gpus(), here(), WorkerJob(folder, "study", (), "", {}, minutes=10)._until()
        tar = folder / "x.tar"
        tar.write_bytes(bytes(1024))
        staged([File("train/a/b.jpg", 0, tar, 512, 10)], [])
        load_site()
        data_root(None)
    finally:
        os.environ.clear()
        os.environ.update(before)


def small(folder: Path) -> Sweep:
    with patch.dict(os.environ):
        return write_sweep(folder, sweep_fields(("resnet11_1x8d",)))


PARSERS = [
    Parser("sweep", "sweep YAML", set_up_sweep, feed_sweep),
    Parser("set", "--set options", set_up_sweep, feed_option),
    Parser("site", "site YAML, to the job script", small, feed_site),
    Parser("names", "names of sweeps, panels, arms, to the job script", lambda folder: None, feed_name),
    Parser("variables", "environment variables", small, feed_variables),
]
