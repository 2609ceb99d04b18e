"""A thousand runs where a user may have twenty jobs of a minute: each is finished once, and none is asked for twice."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ablation.claim import attempts
from ablation.sweep import load_sweep

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]
SIZES = {"SL_NODES": "2", "SL_CPUS": "4", "SL_MEM": "4000", "SL_GPUS": "0"}
ENFORCED = "AccountingStorageEnforce=associations,limits"
SWEEP = """\
question: Are a thousand runs too many?
panels:
  - name: tiny
    budget: fashion
    dataset: {name: fashion_mnist, validation: 1}
    recipe: {base: fashion, epochs: 1, batch: 32, norm_batch: 16}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
      - {design: resnext11_4x3d, params: 32782, macs: 1243424}
seeds: 500
precision: fp32
resources: {gpus: 0, threads: 1, cpus: 1, parallel: 50, job_hours: 0.0166}
"""


@pytest.fixture
def limited():
    """A cluster of its own, where nobody may have more than twenty jobs."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    enforced = SIZES | {"SL_EXTRA_CONF": ENFORCED}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}

    def sh(*command):
        subprocess.run([str(part) for part in command], env=clean, check=True, capture_output=True, timeout=120)

    try:
        clean |= enforced
        sh(HERE / "up.sh", folder)
        clean["SLURM_CONF"] = str(folder / "etc" / "slurm.conf")
        sh("sacctmgr", "-i", "modify", "user", "where", "name=root", "set", "MaxSubmitJobs=20")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", clean["SLURM_CONF"])
            yield
    finally:
        sh(HERE / "down.sh", folder, "--purge")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tiny_fashion(small_fashion, tmp_path):
    """Forty images to train on and twenty to evaluate: a run of one step."""
    import struct

    for name, count in (("train", 40), ("t10k", 20)):
        for kind, header, each in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
            raw = (small_fashion / f"{name}-{kind}-ubyte").read_bytes()
            small = raw[:4] + struct.pack(">I", count) + raw[8:header] + raw[header : header + count * each]
            (tmp_path / f"{name}-{kind}-ubyte").write_bytes(small)
    return tmp_path


def jobs():
    queue = ["squeue", "--noheader", "--array", "--format=%i"]
    return subprocess.run(queue, check=True, capture_output=True, text=True, timeout=60).stdout.split()


def test_a_thousand_runs_within_a_limit_of_twenty_jobs_of_a_minute(limited, tiny_fashion, tmp_path):
    file, runs = tmp_path / "many.yaml", tmp_path / "runs"
    file.write_text(SWEEP)
    command = [
        sys.executable,
        "-m",
        "ablation.launch",
        file,
        "--runs",
        runs,
        "--data-dir",
        tiny_fashion,
        "--on",
        "slurm",
    ]
    first = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert first.returncode == 0, first.stderr
    assert "Slurm takes no more jobs now" in first.stderr
    assert len(jobs()) <= 20
    sweep = load_sweep(file)
    paths = [sweep.paths(runs, run) for run in sweep.runs()]
    end = time.monotonic() + 400
    while (done := sum(own.result.exists() for own in paths)) < 1000:
        assert time.monotonic() < end and jobs(), f"{done} runs are done, and {len(jobs())} jobs are left"
        time.sleep(1)
    while (counts := [[one.ended for one in attempts(own.attempts)].count("done") for own in paths]) != [1] * 1000:
        assert time.monotonic() < end and max(counts) == 1, "a result is there before its attempt says that it is done"
        time.sleep(1)
