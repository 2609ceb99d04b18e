"""The code that workers run is a copy: an edit after the launch reaches none of them."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablation import snapshot
from ablation.errors import UserError
from ablation.snapshot import environment, take_snapshot

ROOT = Path(__file__).parent.parent
FAMILY = """\
from torch import nn
from ablation.family import family
from beside import CHANNELS

@family(solve="width")
def plain(width: int = 8):
    return nn.Sequential(nn.Conv2d(1, width * CHANNELS, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width * CHANNELS, 10))
"""  # noqa: E501


@pytest.fixture
def families(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocks.py").write_text(FAMILY)
    (tmp_path / "beside.py").write_text("CHANNELS = 2\n")
    return tmp_path


def answer(code, variables, cwd):
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_holds_the_whole_package_and_the_commit(tmp_path):
    taken = take_snapshot(tmp_path, [])
    copied = {path.relative_to(taken.folder).as_posix() for path in taken.folder.rglob("*.py")}
    assert copied == {path.relative_to(ROOT).as_posix() for path in (ROOT / "ablation").rglob("*.py")}
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert json.loads((taken.folder / "snapshot.json").read_text())["commit"] == (head or None)


def test_equal_code_is_copied_once_and_other_code_elsewhere(families):
    one = take_snapshot(families / "runs", ["blocks.py:plain"])
    assert take_snapshot(families / "runs", ["blocks.py:plain"]) == one
    (families / "beside.py").write_text("CHANNELS = 3\n")
    assert take_snapshot(families / "runs", ["blocks.py:plain"]) != one
    assert not [path for path in (families / "runs" / ".code").iterdir() if path.name.startswith(".")]


def _take(runs, barrier, answers):
    barrier.wait()
    try:
        answers.put(take_snapshot(runs, []).folder.name)
    except BaseException as error:
        answers.put(repr(error))


def test_launches_at_once_find_one_copy(tmp_path):
    context = multiprocessing.get_context("fork")
    for turn in range(5):
        barrier, answers = context.Barrier(6), context.Queue()
        takers = [context.Process(target=_take, args=(tmp_path / str(turn), barrier, answers)) for _ in range(6)]
        for taker in takers:
            taker.start()
        found = {answers.get(timeout=60) for _ in takers}
        for taker in takers:
            taker.join()
        assert found == {path.name for path in (tmp_path / str(turn) / ".code").iterdir()}


def test_a_copy_that_came_in_between_is_kept(tmp_path):
    taken = take_snapshot(tmp_path, [])
    before = (taken.folder / "snapshot.json").read_bytes()
    snapshot._write(taken.folder, {"ablation/other.py": b""})
    assert (taken.folder / "snapshot.json").read_bytes() == before
    assert [path.name for path in taken.folder.parent.iterdir()] == [taken.folder.name]


def test_a_worker_imports_the_copy_wherever_it_stands(tmp_path):
    package = tmp_path / "checkout" / "ablation"
    shutil.copytree(ROOT / "ablation", package, ignore=shutil.ignore_patterns("__pycache__"))
    taken = take_snapshot(tmp_path / "runs", [])
    (package / "errors.py").write_text("raise RuntimeError('edited')\n")
    code = "import ablation.errors; print(ablation.errors.__file__)"
    assert answer(code, taken.variables(), package.parent) == str(taken.folder / "ablation" / "errors.py")


def test_a_familys_files_are_copied_and_an_edit_is_ignored(families):
    taken = take_snapshot(families / "runs", ["blocks.py:plain"])
    (families / "beside.py").write_text("CHANNELS = 5\n")
    code = (
        "import ablation.family.load as load; module = load._import('blocks.py:plain', 'blocks.py', "
        "load.source_of('blocks.py:plain')); print(module.CHANNELS, module.__file__)"
    )
    assert answer(code, taken.variables(), families) == f"2 {taken.folder / 'blocks.py'}"


def test_a_family_elsewhere_is_not_copied(families, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far.py").write_text(FAMILY.replace("from beside import CHANNELS", "CHANNELS = 1"))
    taken = take_snapshot(families / "runs", [f"{elsewhere}/far.py:plain"])
    assert not list(taken.folder.rglob("far.py"))


def test_code_that_can_not_be_read_is_said(families, monkeypatch):
    missing = families / "gone.py"
    monkeypatch.setattr(snapshot, "files_of", lambda name: {"gone.py": missing})
    with pytest.raises(UserError, match=r"gone\.py: code can't be read"):
        take_snapshot(families / "runs", ["gone.py:plain"])


def test_the_environment_is_as_it_was_afterwards(monkeypatch):
    monkeypatch.delenv("ABLATION_CODE", raising=False)
    with environment({"ABLATION_CODE": "x"}):
        assert os.environ["ABLATION_CODE"] == "x"
    assert "ABLATION_CODE" not in os.environ
