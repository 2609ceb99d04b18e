"""Doctor on machines that lack something: Slurm's programs are stood in for by scripts on PATH."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablation.dataset import Dataset
from ablation.doctor import folder, slurm
from ablation.doctor.cluster import check_cluster
from ablation.doctor.draft import draft, write_site
from ablation.doctor.finding import NOTE, OK, PROBLEM, Findings
from ablation.doctor.folder import check_folders, says_clock, spell
from ablation.doctor.machine import check_machine
from ablation.doctor.slurm import gpus_of, hours, read_cluster
from ablation.errors import UserError
from ablation.image_folder import glance
from ablation.site import Site, read_site
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent
CONFIG = """\
ClusterName             = big
JobRequeue              = 1
KillWait                = 30 sec
MaxArraySize            = 1001
PreemptMode             = REQUEUE
PreemptType             = preempt/qos
SelectType              = select/cons_tres
SlurmctldParameters     = preempt_send_user_signal
AccountingStorageType   = accounting_storage/slurmdbd
AccountingStorageEnforce = associations,limits
"""
PARTITIONS = """\
PartitionName=cpu Default=YES GraceTime=120 MaxTime=UNLIMITED PreemptMode=REQUEUE State=UP
PartitionName=gpu Default=NO GraceTime=120 MaxTime=2-00:00:00 PreemptMode=REQUEUE State=UP
PartitionName=old Default=NO GraceTime=0 MaxTime=UNLIMITED PreemptMode=REQUEUE State=DOWN
"""
NODES = """\
cpu|40|64|256000|(null)|avx
gpu|8|64|512000|gpu:a100:4(S:0-1)|nvlink
gpu|2|64+|512000|gpu:h100:8|nvlink
"""
ANSWERS = {
    "sinfo": {"--format=%P": "cpu*\ngpu\n", "--version": "slurm 23.11.4", "--format=%R|": NODES},
    "scontrol": {"show config": CONFIG, "show partition": PARTITIONS},
    "sacct": {"": ""},
    "sacctmgr": {
        "show user": "lab\n",
        "show assoc": "lab|normal,long|200|20\nguest|normal||\n",
        "show qos": "normal||",
    },
    "sbatch": {"": ""},
    "srun": {"": ""},
    "squeue": {"": ""},
    "scancel": {"": ""},
}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Put programs on PATH that answer as this cluster does; `answers` replaces some: None removes one."""
    programs = tmp_path / "bin"

    def cluster(**answers):
        programs.mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", str(programs))
        for name, cases in {**ANSWERS, **answers}.items():
            path = programs / name
            path.unlink(missing_ok=True)
            if isinstance(cases, dict):
                lines = [f"  *'{word}'*) printf '%s' '{text}';;" for word, text in cases.items()]
                cases = "\n".join(['case "$*" in', *lines, "esac"])
            if cases is not None:
                path.write_text(f"#!/bin/sh\n{cases}\n")
                path.chmod(0o755)
        return read_cluster()

    return cluster


def of(findings, check):
    """The state of one check, and what it says and advises."""
    (found,) = [item for item in findings if item.check == check]
    return found.state, f"{found.says} -> {found.remedy}"


@pytest.fixture
def big(tmp_path):
    """A sweep that wants 8 workers with 4 GPUs... on the command line of its resources."""

    def big(**resources):
        path = tmp_path / "big.yaml"
        text = (ROOT / "sweeps" / "table3.yaml").read_text()
        path.write_text(text[: text.index("resources:")] + f"resources: {json.dumps(resources)}\n")
        return load_sweep(path)

    return big


def test_a_machine_without_slurm_is_no_problem(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = check_cluster(read_cluster(), Site(), None)
    assert [item.state for item in found] == [NOTE] and "--on local" in found[0].remedy
    assert check_cluster(read_cluster(), Site(), None, wanted=True)[0].state == PROBLEM


def test_programs_without_a_cluster_are_no_cluster(cluster):
    here = cluster(sinfo="echo 'sinfo: fatal: Could not establish a configuration source' >&2; exit 1")
    assert of(check_cluster(here, Site(), None), "Slurm")[0] == NOTE


def test_a_controller_that_does_not_answer_is_not_waited_for(cluster, monkeypatch):
    monkeypatch.setattr(slurm.ask, "__kwdefaults__", {"seconds": 0.3})
    found = check_cluster(cluster(sinfo="exec /bin/sleep 60"), Site(), None)
    state, says = of(found, "controller")
    assert state == PROBLEM and "did not answer within 0.3 s" in says and "launching again loses nothing" in says


def test_a_cluster_as_it_should_be(cluster):
    found = check_cluster(cluster(), Site(), None)
    assert {item.state for item in found if not item.check.startswith("partition")} == {OK}
    assert of(found, "controller") == (OK, "answers (slurm 23.11.4, cluster big) -> None")
    assert "120 s before" in of(found, "preemption")[1]
    assert of(found, "partition gpu")[1].startswith(
        "up to 48 h: 8 x 64 CPUs, 500 GiB, 4 GPUs (a100); 2 x 64 CPUs, 500 GiB, 8 GPUs (h100)"
    )
    assert of(found, "partition old") == (NOTE, "no time limit, not up: no nodes -> None")


def test_accounting_that_is_off_or_away_is_said(cluster):
    off = cluster(scontrol={"show config": CONFIG.replace("storage/slurmdbd", "storage/none"), "show part": PARTITIONS})
    assert of(check_cluster(off, Site(), None), "accounting")[0] == NOTE
    away = cluster(sacct="echo 'sacct: error: Connection refused' >&2; exit 1")
    assert "Connection refused" in of(check_cluster(away, Site(), None), "accounting")[1]


@pytest.mark.parametrize(
    ("before", "after", "check", "says"),
    [
        ("preempt_send_user_signal", "idle_on_node_suspend", "preemption", "no warning is sent"),
        ("JobRequeue              = 1", "JobRequeue              = 0", "requeue", "JobRequeue=0"),
    ],
)
def test_what_a_cluster_does_to_jobs_is_said(cluster, before, after, check, says):
    here = cluster(scontrol={"show config": CONFIG.replace(before, after), "show partition": PARTITIONS})
    state, said = of(check_cluster(here, Site(), None), check)
    assert state == NOTE and says in said


def test_a_site_that_forbids_requeueing_is_told_of_chains(cluster):
    assert "--chain" in of(check_cluster(cluster(), Site(requeue=False), None), "requeue")[1]


def test_missing_programs_are_named(cluster):
    state, says = of(check_cluster(cluster(scontrol=None, scancel=None), Site(), None), "programs")
    assert state == PROBLEM and "scancel, scontrol" in says and "PATH" in says


def test_limits_on_jobs_are_held_against_the_sweep(cluster, big):
    state, says = of(check_cluster(cluster(), Site(), big(parallel=50)), "job limits")
    assert state == NOTE and "MaxJobs 200, MaxSubmitJobs 20 for you; the sweep wants 50 workers" in says
    assert of(check_cluster(cluster(), Site(), big(parallel=20)), "job limits")[0] == OK


@pytest.mark.parametrize(
    ("site", "check", "says"),
    [
        ("partition: gpuu\n", "partition", "site.yaml:1:12: no partition 'gpuu' -> Did you mean gpu or cpu?"),
        ("account: labs\n", "account", "site.yaml:1:10: you have no account 'labs' -> Did you mean lab?"),
        (
            "partition: gpu\ngpu_type: v100\n",
            "GPU type",
            "site.yaml:2:11: gpu has no 'v100' -> Did you mean h100 or a100?",
        ),
        ("partition: gpu\n", "job's time", "72 h is more than gpu's 48 h -> Say max_job_hours: 48"),
        ("partition: cpu\n", "job's GPUs", "1 wanted; a node of cpu has 0"),
        ("partition: gpu\ncpus_per_gpu: 65\n", "job's CPUs", "65 wanted; a node of gpu has 64 -> Say cpus_per_gpu: 8"),
    ],
)
def test_a_site_file_that_does_not_fit_the_cluster_is_a_problem(cluster, big, tmp_path, site, check, says):
    (tmp_path / "site.yaml").write_text(site)
    own = read_site(tmp_path / "site.yaml")
    state, said = of(check_cluster(cluster(), own, big(gpus=1, job_hours=72)), check)
    assert state == PROBLEM and says in said


def test_gpus_that_nobody_asks_for_are_noted(cluster, big):
    found = check_cluster(cluster(), Site(partition="gpu", max_job_hours=48), big())
    state, says = of(found, "job's GPUs")
    assert state == NOTE and "gpus: 1" in says
    found = check_cluster(cluster(), Site(partition="gpu", max_job_hours=48), big(gpus=0))
    assert "job's GPUs" not in {item.check for item in found}


def test_what_sbatch_refuses_is_found_out_without_submitting(cluster, tmp_path):
    (tmp_path / "site.yaml").write_text("partition: gpu\nqos: urgent\n")
    here = cluster(sbatch="echo 'allocation failure: Invalid qos specification' >&2; exit 1")
    state, says = of(check_cluster(here, read_site(tmp_path / "site.yaml"), None), "a job like that")
    assert state == PROBLEM and f"{tmp_path}/site.yaml:2:6: Slurm refused" in says


def test_a_draft_is_a_site_file_for_this_cluster(cluster, tmp_path):
    text, written = write_site(cluster(), tmp_path / "new" / "site.yaml")
    assert written and (tmp_path / "new" / "site.yaml").read_text() == text
    site = read_site(tmp_path / "new" / "site.yaml")
    assert (site.partition, site.account, site.gpu_option) == ("gpu", "lab", "gpus-per-node")
    assert (site.cpus_per_gpu, site.memory_gb_per_gpu, site.max_job_hours) == (8, 59, 48)
    assert "# gpu_type: a100  # of a100, h100" in text and "# qos: normal  # of normal, long" in text


def test_a_draft_never_replaces_a_site_file(cluster, tmp_path):
    (tmp_path / "site.yaml").write_text("account: mine\n")
    text, written = write_site(cluster(), tmp_path / "site.yaml")
    assert not written and "partition: gpu" in text
    assert (tmp_path / "site.yaml").read_text() == "account: mine\n"


def test_a_draft_for_a_cluster_that_says_nothing_can_be_read(tmp_path):
    (tmp_path / "site.yaml").write_text(draft(slurm.Cluster(())))
    assert read_site(tmp_path / "site.yaml").model_dump() == Site().model_dump()


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("(null)", ((), 0)),
        ("gpu:2", ((), 2)),
        ("gpu:a100:4(S:0-1)", (("a100",), 4)),
        ("gpu:a100_3g.20gb:2,gpu:v100:2(S:0)", (("a100_3g.20gb", "v100"), 4)),
        ("shard:8,gpu:h100:8", (("h100",), 8)),
    ],
)
def test_gpus_are_read_as_slurm_spells_them(gres, expected):
    assert gpus_of(gres) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("UNLIMITED", None), ("infinite", None), ("30", 0.5), ("30:00", 0.5), ("12:30:00", 12.5), ("2-12", 60),
     ("2-00:30:00", 48.5)],
)  # fmt: skip
def test_time_limits_are_read_as_slurm_spells_them(limit, expected):
    assert hours(limit) == expected


def test_a_folder_of_runs_that_works(tmp_path):
    found = check_folders(tmp_path / "runs", Site())
    states = {item.check: item.state for item in found}
    assert all(states[check] == OK for check in ("writing", "atomic rename", "claims (O_EXCL)", "appending", "clock"))
    assert not (tmp_path / "runs").exists(), "a check leaves nothing behind"


def test_a_folder_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "file").touch()
    found = check_folders(tmp_path / "file" / "runs", Site())
    assert [item.state for item in found] == [PROBLEM]
    assert "Not a directory" in found[0].says and "--runs" in found[0].remedy


def test_scratch_is_checked_too(tmp_path):
    (tmp_path / "file").touch()
    found = check_folders(tmp_path / "runs", Site(scratch=str(tmp_path / "file" / "scratch")))
    assert of(found, "writing")[0] == OK and of(found, "scratch: writing")[0] == PROBLEM
    unset = check_folders(tmp_path / "runs", Site(scratch="$NOT_SET_ANYWHERE/x"))
    assert of(unset, "scratch")[0] == PROBLEM


@pytest.mark.parametrize("check", ["atomic rename", "claims (O_EXCL)", "appending"])
def test_what_a_file_system_does_wrong_is_a_problem(tmp_path, monkeypatch, check):
    monkeypatch.setattr(folder.os, "replace", lambda old, new: None)
    monkeypatch.setattr(folder.os, "O_EXCL", 0)
    monkeypatch.setattr(folder.os, "O_APPEND", 0)
    state, says = of(check_folders(tmp_path, Site()), check)
    assert state == PROBLEM and "Runs can't be kept safe on it" in says


def test_a_clock_an_hour_off_is_named(tmp_path, monkeypatch):
    real = time.time
    monkeypatch.setattr(folder.time, "time", lambda: real() - 3660)
    state, says = of(check_folders(tmp_path, Site()), "clock")
    assert state == PROBLEM and "1 h 1 min ahead of this machine's" in says


@pytest.mark.parametrize(("ahead", "state"), [(0.5, OK), (-30, NOTE), (-3600, PROBLEM)])
def test_clocks_that_differ(ahead, state):
    found = Findings("here")
    says_clock(found, "clock", ahead, "the node's clock", "this machine's")
    assert found.all[0].state == state
    assert state == OK or f"{spell(abs(ahead))} behind" in found.all[0].says


def test_a_full_disk_is_a_problem(tmp_path, monkeypatch):
    real = os.statvfs
    full = lambda path: os.statvfs_result((*real(path)[:3], 10, 10, *real(path)[5:]))  # noqa: E731
    monkeypatch.setattr(folder.os, "statvfs", full)
    assert of(check_folders(tmp_path, Site()), "free space")[0] == PROBLEM


def test_a_quota_that_is_used_up_is_a_problem(tmp_path, cluster):
    cluster(quota="echo 'Block limit reached on /home'")
    state, says = of(check_folders(tmp_path, Site()), "quota")
    assert state == PROBLEM and "Block limit reached on /home" in says


@pytest.mark.slow
def test_the_machine_part_finds_what_the_sweep_needs(small_sweep, small_fashion):
    found = check_machine(load_sweep(small_sweep), Site(data=str(small_fashion)), None, needs_gpu=False)
    assert {of(found, check)[0] for check in ("python", "torch", "torchvision", "submitit", "CPU")} == {OK}
    assert "640 + 200 images" in of(found, "data fashion_mnist")[1]


@pytest.mark.slow
def test_what_the_machine_lacks_is_a_problem(small_sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    overrides = ["resources.gpus=1", "resources.threads=4096", "panels.0.dataset.name=cifar10"]
    text = small_sweep.read_text().replace("{name: fashion_mnist, validation: 100}", "fashion_mnist")
    small_sweep.write_text(text)
    sweep = load_sweep(small_sweep, overrides[:2])
    found = check_machine(sweep, Site(), tmp_path / "nowhere", needs_gpu=True)
    assert of(found, "GPUs")[0] == PROBLEM and of(found, "CPU")[0] == PROBLEM
    assert of(found, "data fashion_mnist")[0] == PROBLEM
    assert of(check_machine(sweep, Site(), None, needs_gpu=False), "GPUs")[0] == NOTE


def test_a_tree_of_images_is_glanced_at(tmp_path):
    from PIL import Image

    for name in ("train/ant", "train/bee", "val/ant", "val/bee"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "birds" / name / "1.png")
    asked = Dataset(name="folder", path="birds", classes=2, resolution=8, validation=1)
    assert glance(asked, tmp_path).startswith("2 classes in")
    (tmp_path / "birds" / "train" / "bee" / "1.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="can't decode this image"):
        glance(asked, tmp_path)
    (tmp_path / "birds" / "train" / "bee" / "1.png").unlink()
    with pytest.raises(UserError, match="a class without images"):
        glance(asked, tmp_path)


@pytest.fixture
def doctor(tmp_path):
    """Run the command with an empty site file and no Slurm on PATH."""

    def doctor(*options, site="{}\n"):
        (tmp_path / "site.yaml").write_text(site)
        environment = {**os.environ, "ABLATION_SITE": str(tmp_path / "site.yaml"), "PATH": str(tmp_path)}
        command = [sys.executable, "-m", "ablation.doctor", "--runs", str(tmp_path / "runs"), *map(str, options)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=environment)

    return doctor


@pytest.mark.slow
def test_the_command_exits_by_what_it_finds(doctor, tmp_path):
    fine = doctor("--json")
    answer = json.loads(fine.stdout)
    assert fine.returncode == 0 and answer["states"]["problem"] == 0
    assert set(answer["findings"][0]) == {"group", "check", "state", "says", "remedy"}
    bad = doctor("--on", "local", site="partiton: gpu\n")
    assert bad.returncode == 1 and "site.yaml:1:1: unknown key 'partiton'" in bad.stdout
    assert "1 problem" in bad.stdout and "Did you mean partition" in bad.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--on", "moon"), "Choose from: slurm, local"),
        (("nowhere.yaml",), "no such file: nowhere.yaml"),
        (("--write-site",), "no cluster to ask: sbatch is not on PATH"),
    ],
)
def test_a_users_mistake_is_one_plain_error(doctor, options, says):
    done = doctor(*options)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
