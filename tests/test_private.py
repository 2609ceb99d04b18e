"""Whose folders are: a group may share runs; what is run as code is its owner's alone."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ablation.errors import UserError
from ablation.launch.request import Request
from ablation.launch.slurm import job_script
from ablation.launches import new_launch
from ablation.private import EXIT, guard, is_private, refuse_shared
from ablation.run import prepare
from ablation.site import Site
from ablation.snapshot import take_snapshot
from ablation.sweep import load_sweep


@pytest.fixture
def generous():
    """Files that the group may write, as labs set it."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.fixture
def another_user(unavailable) -> int:
    """The number of an account that is not ours; giving files to it needs root."""
    if os.geteuid() != 0:
        unavailable("giving a file to another user needs root")
    return 12345


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def checked(folder: Path) -> int:
    """The exit code of a job that is to run what lies there."""
    return subprocess.run(["bash", "-c", guard(folder)], capture_output=True).returncode


def test_a_launch_is_its_owners_alone_and_run_folders_are_the_groups(generous, tmp_path, small_sweep):
    sweep = load_sweep(small_sweep)
    paths = sweep.paths(tmp_path / "runs", sweep.runs()[0])
    prepare(sweep.runs()[0], paths)
    launch = new_launch(tmp_path / "runs", sweep.name)
    assert (mode(launch.folder), mode(launch.folder.parent), mode(paths.folder)) == (0o700, 0o775, 0o775)
    assert mode(paths.run_json) == 0o664


def test_run_folders_take_over_the_parents_group(generous, tmp_path, small_sweep, another_user):
    (tmp_path / "runs").mkdir()
    os.chown(tmp_path / "runs", -1, another_user)
    (tmp_path / "runs").chmod(0o2775)
    sweep = load_sweep(small_sweep)
    paths = sweep.paths(tmp_path / "runs", sweep.runs()[0])
    prepare(sweep.runs()[0], paths)
    assert {path.stat().st_gid for path in (paths.folder, paths.run_json)} == {another_user}


@pytest.mark.parametrize("rights", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused(tmp_path, rights):
    folder = tmp_path / "it's $(touch canary)"
    folder.mkdir()
    folder.chmod(0o700)
    refuse_shared(folder)
    assert checked(folder) == 0
    folder.chmod(rights)
    with pytest.raises(UserError, match="would run as you"):
        refuse_shared(folder)
    assert checked(folder) == EXIT and not Path("canary").exists()


def test_another_users_folder_is_refused(tmp_path, another_user):
    folder = tmp_path / "launch"
    folder.mkdir(mode=0o700)
    os.chown(folder, another_user, -1)
    assert not is_private(folder) and checked(folder) == EXIT


def test_a_link_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "launch").symlink_to(tmp_path / "elsewhere")
    assert not is_private(tmp_path / "launch") and checked(tmp_path / "launch") == EXIT


def test_a_job_looks_before_it_loads(tmp_path, small_sweep):
    script = job_script(Request(load_sweep(small_sweep), tmp_path, "slurm", Site()), 1)
    assert script.index("[ -O ") < script.index("cp ") < script.index("srun")


def test_only_the_owner_can_change_the_code_that_workers_import(generous, tmp_path):
    folder = take_snapshot(tmp_path, []).folder
    assert all(is_private(path) for path in [folder, *folder.rglob("*")])
    assert take_snapshot(tmp_path, []).folder == folder


def test_code_that_somebody_laid_there_first_is_not_used(tmp_path, another_user):
    ours = take_snapshot(tmp_path / "a", []).folder
    planted = tmp_path / "b" / ".code" / ours.name
    planted.mkdir(parents=True)
    os.chown(planted, another_user, -1)
    found = take_snapshot(tmp_path / "b", []).folder
    assert found != planted and (found / "ablation" / "worker.py").exists()


def test_code_that_was_changed_since_is_not_used(tmp_path):
    folder = take_snapshot(tmp_path, []).folder
    (folder / "ablation" / "worker.py").write_text("import os; os.system('touch canary')")
    found = take_snapshot(tmp_path, []).folder
    assert found != folder and "canary" not in (found / "ablation" / "worker.py").read_text()
