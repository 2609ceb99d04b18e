"""The scripts for a GPU, rehearsed without one, and without the packages that a bare machine lacks."""

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "benchmarks"
BARE = """
import sys
from importlib.machinery import PathFinder
class Bare:
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in {lacking} else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
"""
LACKING = [
    "fvcore",
    "timm",
    "pandas",
    "pyarrow",
    "matplotlib",
    "seaborn",
    "scipy",
    "statsmodels",
    "typst",
    "hypothesis",
]
pytestmark = pytest.mark.slow


@pytest.fixture
def script(tmp_path, small_fashion):
    """Run a script as on a machine with torch, torchvision and little else."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(BARE.format(lacking=LACKING))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "ABLATION"))}
    environment = {**kept, "PYTHONPATH": str(tmp_path / "bare"), "ABLATION_SITE": str(tmp_path / "site.yaml")}
    (tmp_path / "site.yaml").write_text("{}\n")

    def script(name, *options):
        command = [sys.executable, str(SCRIPTS / name), "--data", str(small_fashion), *options]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)

    return script


def test_every_section_of_the_gpu_benchmarks_works(script, tmp_path):
    done = script("gpu.py", "--device", "cpu", "--quick", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    (table,), (page,) = (list((tmp_path / "out").glob(f"*.{kind}")) for kind in ("csv", "md"))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert {row["section"] for row in rows} == {"tests", "network", "ladder", "runs", "convs"}
    said = {row["what"] for row in rows}
    assert {"ours over torchvision", "2 runs over one at a time, taking turns"} <= said
    assert any(what.startswith("timm is not installed") for what in said)
    assert all(float(row["value"]) > 0 for row in rows if row["unit"] in ("img/s", "ms"))
    assert all(what in page.read_text() for what in said)


def test_figures_of_a_rehearsal_are_not_written_among_the_reports(script):
    done = script("gpu.py", "--device", "cpu", "--quick")
    assert done.returncode == 2 and "are no measurements" in done.stderr


def test_the_gpu_study_goes_on_from_its_archive(script, tmp_path):
    changes = [
        *("resources.gpus=0", "resources.side_by_side=1", "panels.0.recipe.epochs=1", "precision=fp32"),
        "panels.0.recipe.batch=320", "panels.0.recipe.norm_batch=320",
    ]  # fmt: skip
    options = [part for change in changes for part in ("--set", change)]
    first = script("gpu_study.py", "--seeds", "0", "--out", str(tmp_path / "one"), *options)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "5 runs finished in all" in first.stdout
    archive = tmp_path / "one" / "fashion_mnist_gpu_runs.tar.gz"
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert sum(name.endswith("/result.json") for name in names) == 5
    assert not any(name.endswith("weights.pt") for name in names)
    again = script("gpu_study.py", "--seeds", "0", "--out", str(tmp_path / "two"), "--resume", str(archive), *options)
    assert again.returncode == 0, again.stdout + again.stderr
    results = [
        {path.parent.name: json.loads(path.read_text())["finished"] for path in (tmp_path / out).rglob("result.json")}
        for out in ("one", "two")
    ]
    assert len(results[0]) == 5 and results[0] == results[1], "nothing was trained twice"
