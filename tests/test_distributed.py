"""A run on several processes (gloo on this machine) is the run in one, to rounding."""

import json

import pytest
import ranks
import torch
from several import agree, prepared, processes

from ablation import data, kernels
from ablation.distributed import Group, alone, join, port_of
from ablation.execution import Execution
from ablation.packing import layers_of_design
from ablation.records import read_records
from ablation.run import load_run, read_json, write_json


@pytest.fixture
def start(small_sweep, small_fashion, tmp_path):
    """Make a run's folder below a name, and give a function that trains it as so many processes: what each said."""

    def start(name, *overrides):
        paths, where = prepared(small_sweep, small_fashion, tmp_path / name, *overrides)

        def train(world=1, nodes=1, **wishes):
            return processes(world, nodes, {**where, **wishes}) if world > 1 else [ranks.train(**where, **wishes)]

        return paths, train

    return start


def events(paths):
    return [record for record in read_records(paths.log) if record["kind"] == "event"]


def warned(paths):
    return [record["message"] for record in events(paths) if record["event"] == "warning"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "nodes", "micro"),
    [(1, 1, 8), (2, 1, None), (3, 1, 8), (4, 2, 4)],
    ids=["accumulated", "even", "uneven, accumulated", "2 nodes, accumulated"],
)
def test_several_processes_train_as_one_does(start, monkeypatch, world, nodes, micro):
    monkeypatch.setattr(data, "EVALUATION_BATCH", 30)  # seven batches of 200 images, for up to four ranks
    (one, alone), (many, together) = start("one"), start("many")
    assert alone() == ["done"]
    assert together(world, nodes, micro_batch=micro, evaluation_batch=30) == ["done"] * world
    assert agree(one, many)


@pytest.mark.slow
def test_a_stop_signal_on_one_rank_stops_all_at_one_step_and_a_resume_gives_the_undisturbed_numbers(start):
    (whole, train), (parts, resume) = start("whole"), start("parts")
    assert train(2) == ["done"] * 2
    assert resume(2, stop=7, rank=1) == ["stopped at 7: asked on 1"] * 2
    saved = torch.load(parts.checkpoint, weights_only=True)
    assert not [key for key in saved["network"] if "module" in key]
    assert resume(2) == ["done"] * 2
    weights = [torch.load(paths.weights, weights_only=True) for paths in (whole, parts)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert agree(whole, parts)
    assert not warned(parts)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_and_says_so(start):
    (whole, train), (parts, resume) = start("whole"), start("parts")
    assert train() == ["done"]
    assert resume(stop=7) == ["stopped at 7: asked on 0"]
    assert resume(2, stop=20, rank=1) == ["stopped at 27: asked on 1"] * 2
    assert resume(2, stop=3) == ["stopped at 30: asked on 0"] * 2
    assert resume() == ["done"]
    assert agree(whole, parts)
    assert json.loads(parts.run_json.read_text())["execution"]["ranks"] == "1 then 2 then 1"
    assert len(warned(parts)) == 2 and "another number of processes (1 then 2)" in warned(parts)[0]


def test_where_one_rank_is_killed_the_others_fail(start):
    paths, train = start("runs")
    said = train(3, die=3, rank=1)
    assert said[1] == -9
    assert all(words.startswith("Broken: another process of this run is gone") for words in (said[0], said[2]))
    assert not paths.result.exists()


def test_a_failure_of_one_rank_alone_is_told_to_the_others(start):
    _, train = start("runs")
    assert train(2, fail=3, rank=1) == ["Broken: process 1 failed: ValueError: as the test wished"] * 2


def test_what_ends_the_run_on_the_writing_rank_ends_all(start):
    _, train = start("lost")
    lost = train(2, lost=True, stop=2, rank=1)
    assert lost[0].startswith("Lost: another worker has taken over") and lost[0] == lost[1]
    _, train = start("diverged", "panels.0.recipe.lr=1.0e+30", "panels.0.recipe.epochs=1")
    diverged = train(2)
    assert diverged[0].startswith("UserError: diverged: the training loss is nan") and diverged[0] == diverged[1]


def test_ranks_that_wait_are_warned_about(start):
    paths, train = start("runs", "panels.0.recipe.epochs=1")
    train(3, stop=1)
    (warning,) = warned(paths)
    assert warning.startswith("8 batch-norm groups on 3 processes: 1 of them waits for one group in every step, 11%")


def test_more_ranks_than_groups_are_refused_on_each(start):
    _, train = start("runs", "panels.0.recipe.norm_batch=32")
    said = train(2)
    assert said[0] == said[1] and said[0].startswith("UserError: 2 processes can't share a batch of 32")
    assert "Ask for at most 1 process a run" in said[0]


def test_a_micro_batch_that_splits_a_group_is_refused(start):
    _, train = start("runs")
    (said,) = train(micro_batch=6)
    assert said.startswith("UserError: micro_batch 6 splits batch norm's groups of 4 images")


def test_a_process_that_submitit_did_not_start_is_alone(monkeypatch):
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    assert join() == alone() == Group(0, 1, 0, None)


def test_alone_everything_is_as_it_was():
    group, tensor = alone(), torch.ones(3)
    assert group.agree(None) is None and group.agree("why") == "why"
    assert group.sum(tensor) is tensor and group.share(tensor) is tensor
    assert group.at_first(lambda: 7) == group.together(lambda: 7) == 7
    assert group.wrap(module := torch.nn.Linear(1, 1)) is module
    with pytest.raises(ValueError, match="mine") as caught:
        group.together(lambda: int("mine"))
    assert group.explain(caught.value) is caught.value


def test_jobs_and_requeues_meet_at_ports_of_their_own(monkeypatch):
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    first = [port_of(str(job)) for job in range(1000, 1100)]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = [port_of(str(job)) for job in range(1000, 1100)]
    assert len({*first, *again}) == 200 and min(first) >= 12000 and max(again) < 32000


@pytest.mark.slow
def test_all_processes_of_a_run_pack_groups_alike(start, monkeypatch):
    monkeypatch.setattr(kernels, "FEW_STEPS", 1)  # which a rank of this process sets, too
    (one, alone), (many, together) = start("one"), start("many")
    ways = {}
    for paths, images in ((one, 32), (many, 16)):
        for layer in layers_of_design(load_run(paths).design):
            ways[layer.name] = layer.way(2)
            file = kernels._file(paths.runs / paths.sweep, layer, Execution("cpu", "fp64", 1), images)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, {"chosen": ways[layer.name]})
    assert ways and alone(kernels="measured") == ["done"]
    assert together(2, kernels="measured") == ["done"] * 2
    assert [read_json(paths.run_json)["execution"]["kernels"] for paths in (one, many)] == [ways] * 2
    assert agree(one, many)
