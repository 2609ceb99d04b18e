"""MPS: started for the processes below, and stopped with them; a pretended daemon writes down what it was told."""

import os

import pytest

from ablation.errors import UserError
from ablation.launch.local import check_here
from ablation.launch.request import Request
from ablation.mps import DAEMON, VARIABLES, shared_gpu
from ablation.schema import Resources
from ablation.site import Site
from ablation.sweep import load_sweep


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Put a program in the daemon's place; what it was told is in the file."""
    heard = tmp_path / "heard"

    def daemon(status=0):
        program = tmp_path / DAEMON
        program.write_text(
            f'#!/bin/sh\nread line\necho "$1 $line $CUDA_MPS_PIPE_DIRECTORY" >> {heard}\nexit {status}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return heard

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return daemon


def test_it_runs_while_it_is_needed_and_leaves_nothing(daemon):
    heard = daemon()
    with shared_gpu() as folder:
        assert folder.is_dir() and os.environ[VARIABLES[0]] == str(folder)
    assert heard.read_text().split() == ["-d", str(folder), "quit", str(folder)]
    assert not folder.exists() and not set(VARIABLES) & os.environ.keys()


def test_it_is_stopped_where_the_work_fails(daemon):
    heard = daemon()
    with pytest.raises(RuntimeError), shared_gpu():
        raise RuntimeError
    assert "quit" in heard.read_text()


def test_one_that_is_there_is_used_and_left(daemon, monkeypatch, tmp_path):
    heard = daemon()
    monkeypatch.setenv(VARIABLES[0], str(tmp_path))
    with shared_gpu() as folder:
        assert folder == tmp_path
    assert not heard.exists() and os.environ[VARIABLES[0]] == str(tmp_path)


def test_one_that_is_missing_or_does_not_start_is_said(daemon, monkeypatch, tmp_path):
    with monkeypatch.context() as patch, pytest.raises(UserError, match="there is no nvidia-cuda-mps-control here"):
        patch.setenv("PATH", str(tmp_path))
        with shared_gpu():
            pass
    daemon(status=1)
    with pytest.raises(UserError, match="does not start"), shared_gpu():
        pass


def test_a_launch_says_so_before_any_worker_starts(small_sweep, small_fashion, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    sweep = load_sweep(small_sweep, ["resources.mps=true", "resources.side_by_side=2", "resources.gpus=1"])
    with pytest.raises(UserError, match="there is no nvidia-cuda-mps-control here"):
        check_here(Request(sweep, tmp_path / "runs", "local", Site(), small_fashion))


@pytest.mark.parametrize(("gpus", "side_by_side", "wanted"), [(1, 2, True), (0, 2, False), (1, 1, False)])
def test_it_is_for_several_runs_on_a_gpu(gpus, side_by_side, wanted):
    assert Resources(mps=True, gpus=gpus, side_by_side=side_by_side).shares_gpu is wanted
    assert not Resources(gpus=gpus, side_by_side=side_by_side).shares_gpu
