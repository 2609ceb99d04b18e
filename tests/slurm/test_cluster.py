"""The cluster that the other tests here stand on answers as a cluster does."""

import subprocess
import time

import pytest

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]


def output(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()


def test_it_has_two_nodes_with_two_gpus_each():
    assert output("sinfo", "-hN", "-p", "main", "-o", "%N,%c,%G") == ["n1,4,gpu:2", "n2,4,gpu:2"]


def test_a_job_sees_each_node_under_its_own_name():
    assert sorted(output("srun", "-N2", "--ntasks-per-node=1", "hostname")) == ["n1", "n2"]


def test_a_job_sees_only_the_gpus_it_asked_for():
    assert output("srun", "--gres=gpu:1", "printenv", "CUDA_VISIBLE_DEVICES") == ["0"]


def test_accounting_knows_a_batch_job_that_finished(tmp_path):
    (job,) = output("sbatch", "--parsable", f"--output={tmp_path}/%j.out", "--wait", "--wrap", "hostname")
    end = time.monotonic() + 20  # accounting lags behind
    while (state := output("sacct", "-nXP", "-j", job, "-o", "State")) != ["COMPLETED"]:
        assert time.monotonic() < end, f"sacct still says {state}"
        time.sleep(0.2)
    assert (tmp_path / f"{job}.out").read_text().strip() in {"n1", "n2"}
