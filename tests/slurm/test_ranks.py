"""A run on 2 nodes x 2 tasks of a real Slurm cluster is the run in one process, to rounding."""

from functools import partial
from pathlib import Path

import pytest
import ranks
from several import agree, prepared

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.usefixtures("slurm")]


def test_two_nodes_of_two_tasks_train_as_one_process_does(small_sweep, small_fashion, tmp_path, monkeypatch):
    import submitit

    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    (one, here), (many, there) = (prepared(small_sweep, small_fashion, tmp_path / name) for name in ("one", "many"))
    executor = submitit.SlurmExecutor(tmp_path / "jobs")
    executor.update_parameters(
        partition="main", nodes=2, ntasks_per_node=2, cpus_per_task=1, time=15, srun_args=["--cpus-per-task=1"]
    )
    job = executor.submit(partial(ranks.train, **there))
    assert ranks.train(**here) == "done"
    assert job.results() == ["done"] * 4
    assert agree(one, many)
    assert '"ranks": 4' in many.run_json.read_text()
