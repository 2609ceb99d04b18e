"""Training: the same run gives the same numbers, however often it is interrupted."""

import json

import numpy as np
import pytest
import torch
from several import MODERN

from ablation.errors import UserError
from ablation.evaluate import class_errors
from ablation.records import last_epochs, read_records
from ablation.run import prepare
from ablation.sweep import load_sweep
from ablation.train import Settings, Stopped, Training

VARYING = ("time", "seconds", "images_per_second")


@pytest.fixture
def start(small_sweep, small_fashion, tmp_path):
    """Make a run's folder below a name, and give a function that trains it."""

    def start(name="runs", *overrides, index=0, threads=1):
        sweep = load_sweep(small_sweep, overrides)
        run = sweep.runs()[index]
        paths = sweep.paths(tmp_path / name, run)
        prepare(run, paths)
        settings = Settings(gpus=0, threads=threads, data_dir=small_fashion)

        def train(stop_after=None, held=lambda: True):
            steps = iter(range(10**9))

            def stop():
                return "asked" if stop_after is not None and next(steps) >= stop_after - 1 else None

            training = Training(paths, settings, stop, held)
            training.to_the_end()
            return training

        return paths, train

    return start


def numbers(paths):
    records = last_epochs(read_records(paths.log))
    result = json.loads(paths.result.read_text())
    varying = (*VARYING, "finished", "files", "sha256")
    records = [{key: value for key, value in record.items() if key not in varying} for record in records]
    return records, {key: value for key, value in result.items() if key not in varying}


def same(paths, other):
    weights = [torch.load(p.weights, weights_only=True) for p in (paths, other)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert numbers(paths) == numbers(other)
    assert paths.bits("test").read_bytes() == other.bits("test").read_bytes()
    return True


def test_a_run_leaves_its_files_and_they_agree(start):
    paths, train = start()
    train()
    result = json.loads(paths.result.read_text())
    evaluation = result["evaluations"]["test"]
    assert (evaluation["images"], result["epochs"], result["steps"]) == (200, 2, 40)
    assert 0 <= min(evaluation["class_errors"]) <= evaluation["top1_error"] <= max(evaluation["class_errors"])
    correct = np.unpackbits(np.frombuffer(paths.bits("test").read_bytes(), np.uint8), count=200)
    assert 100 - correct.mean() * 100 == pytest.approx(evaluation["top1_error"])
    assert evaluation["top5_error"] < evaluation["top1_error"] < 90
    epochs = last_epochs(read_records(paths.log))
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert epochs[-1]["top1_error"] == evaluation["top1_error"]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert not paths.checkpoint.exists()
    fields = json.loads(paths.run_json.read_text())
    assert fields["execution"]["threads"] == 1 and fields["data"]["train_images"] == 640


def test_the_weights_are_the_network_that_was_evaluated(start):
    from ablation.data import open_images
    from ablation.network import Network

    paths, train = start(index=1)
    training = train()
    network = Network(training.run.design)
    network.load_state_dict(torch.load(paths.weights, weights_only=True))
    network.eval().to(memory_format=torch.channels_last)
    images = open_images(training.run.dataset, training.recipe, "cpu", training.settings.data_dir)
    with torch.inference_mode():
        wrong = sum(int((network(x).argmax(1) != y).sum()) for x, y in images.evaluation())
    assert wrong / 2 == pytest.approx(json.loads(paths.result.read_text())["evaluations"]["test"]["top1_error"])


def test_equal_seeds_agree_bit_for_bit_and_unequal_ones_differ(start):
    (one, train), (two, again), (other, differently) = start("a"), start("b"), start("c", index=2)
    train(), again(), differently()
    assert same(one, two)
    assert numbers(one)[0][0]["train_loss"] != numbers(other)[0][0]["train_loss"]


@pytest.mark.parametrize("stops", [[1], [7, 5], [20], [19, 1, 1], [39], [3] * 13])
def test_interrupted_equals_uninterrupted(start, stops):
    (whole, train), (parts, resume) = start("whole", index=1), start("parts", index=1)
    train()
    for steps in stops:
        with pytest.raises(Stopped):
            resume(stop_after=steps)
        assert parts.checkpoint.exists() and not parts.result.exists()
    resume()
    assert same(whole, parts)


@pytest.mark.parametrize("stops", [[7, 14], [1, 20, 18]])
def test_a_modern_run_that_is_interrupted_equals_an_uninterrupted_one(start, stops):
    (whole, train), (parts, resume) = start("whole", *MODERN, index=1), start("parts", *MODERN, index=1)
    train()
    for steps in stops:
        with pytest.raises(Stopped):
            resume(stop_after=steps)
    resume()
    assert same(whole, parts)


@pytest.mark.parametrize("field", [field for field in MODERN if "ema_steps" not in field])
def test_each_modern_ingredient_changes_the_numbers(start, field):
    usual = ("panels.0.recipe.schedule=constant", "panels.0.recipe.warmup_epochs=1")
    (one, train), (other, differently) = start("one", *usual), start("other", *usual, field)
    train(), differently()
    assert not all(
        torch.equal(*values)
        for values in zip(*(torch.load(p.weights, weights_only=True).values() for p in (one, other)), strict=True)
    )


def test_averaged_weights_are_what_is_evaluated_and_kept_and_the_others_go_on(start):
    averaged = ("panels.0.recipe.ema_decay=0.995", "panels.0.recipe.ema_steps=1")
    (plain, train), (smooth, average) = start("plain"), start("smooth", *averaged)
    first, second = train(), average()
    kept = torch.load(smooth.weights, weights_only=True)
    assert all(torch.equal(value, kept[key]) for key, value in second.average.network.state_dict().items())
    last = second.network.state_dict()
    assert all(torch.equal(value, last[key]) for key, value in first.network.state_dict().items())
    assert not torch.equal(kept["fc.weight"], last["fc.weight"])
    told = [[record["train_loss"] for record in numbers(paths)[0]] for paths in (plain, smooth)]
    assert told[0] == told[1]
    tests = [json.loads(paths.result.read_text())["evaluations"]["test"]["loss"] for paths in (plain, smooth)]
    assert tests[0] != tests[1]


def test_train_error_of_mixed_images_is_against_their_greater_part(start):
    paths, train = start("runs", "panels.0.recipe.mixup=0.2", "panels.0.recipe.epochs=6")
    train()
    last = last_epochs(read_records(paths.log))[-1]
    assert last["train_error"] == json.loads(paths.result.read_text())["train_error"]
    assert 0 < last["train_error"] < 60  # ten classes: a guess is wrong 90% of the time


def test_a_resume_says_so_and_goes_on_at_the_step(start):
    paths, train = start()
    with pytest.raises(Stopped):
        train(stop_after=7)
    train()
    events = [(record["event"], record["step"]) for record in read_records(paths.log) if record["kind"] == "event"]
    assert events == [("start", 0), ("stop", 7), ("resume", 7), ("done", 40)]


@pytest.mark.parametrize("form", ["a", "b"])
def test_forms_start_as_the_same_function_and_train_alike(start, form):
    gentle = ("precision=fp64", "panels.0.recipe.lr=0.05")  # a high rate amplifies rounding without end
    fields = "panels.0.arms.1.design={cardinality: 4, widths: [3, 6, 12], form: %s}"
    (grouped, train), (parts, other) = (
        start("c", *gentle, index=1),
        start(form, *gentle, fields % form, index=1),
    )
    train(), other()
    losses = [[record["train_loss"] for record in numbers(paths)[0]] for paths in (grouped, parts)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    weights = [torch.load(paths.weights, weights_only=True) for paths in (grouped, parts)]
    assert {key: value.shape for key, value in weights[0].items()} == {
        key: value.shape for key, value in weights[1].items()
    }


def test_a_diverged_run_says_so(start):
    paths, train = start("runs", "panels.0.recipe.lr=1.0e+30")
    with pytest.raises(UserError, match="diverged: the training loss is nan in epoch 1"):
        train()
    assert not paths.result.exists()


def test_a_run_that_another_worker_took_over_writes_nothing_more(start):
    from ablation.train import Lost

    paths, train = start()
    with pytest.raises(Lost):
        train(held=lambda: False)
    assert not paths.result.exists() and not last_epochs(read_records(paths.log))


def test_another_execution_is_refused_once_there_is_a_checkpoint(start):
    paths, train = start()
    with pytest.raises(Stopped):
        train(stop_after=5)
    _, elsewhere = start(threads=2)
    with pytest.raises(UserError, match="threads: 1 then, 2 here"):
        elsewhere()
    paths.checkpoint.unlink()
    elsewhere()
    assert json.loads(paths.run_json.read_text())["execution"]["threads"] == 2


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(start, content):
    (whole, train), (parts, resume) = start("whole"), start("parts")
    train()
    for steps in (5, 7):
        with pytest.raises(Stopped):
            resume(stop_after=steps)
    parts.checkpoint.write_bytes(content)
    resume()
    records = read_records(parts.log)
    assert [record["step"] for record in records if record.get("event") == "resume"] == [5, 5]
    assert [record["message"] for record in records if record.get("event") == "warning"] == [
        "checkpoint.pt is cut off, or no checkpoint: put aside as checkpoint.damaged.pt, and not used"
    ]
    assert same(whole, parts) and not [*parts.folder.glob("checkpoint*")]


def test_without_a_whole_checkpoint_a_run_starts_again_and_says_so(start):
    (whole, train), (parts, resume) = start("whole"), start("parts")
    train()
    with pytest.raises(Stopped):
        resume(stop_after=5)
    parts.checkpoint.write_bytes(b"")
    resume()
    said = [record["message"] for record in read_records(parts.log) if record.get("event") == "warning"]
    assert said[-1] == "no checkpoint is left to go on from: the run starts again"
    assert same(whole, parts)


def test_a_run_that_another_worker_finished_keeps_its_result(start):
    from ablation.train import Lost

    paths, train = start()
    paths.result.write_text("{}")
    with pytest.raises(Lost, match="another worker has finished"):
        train()
    assert paths.result.read_text() == "{}"


def test_a_slow_disk_makes_checkpoints_rarer_not_training_slower(start):
    _, train = start("runs", "panels.0.recipe.epochs=1")
    training = train()
    assert training._interval() == 600
    training.costs = [100.0, 12.0]
    assert training._interval() == pytest.approx(1200)
    training.costs = [100.0, 100.0]
    assert training._interval() == 3600


def test_bf16_trains_and_warns_where_it_is_slow(start, monkeypatch):
    monkeypatch.setattr("ablation.execution.bf16_factor", lambda: 7.9)
    paths, train = start("runs", "precision=bf16", "panels.0.recipe.epochs=1")
    train()
    warnings = [record["message"] for record in read_records(paths.log) if record.get("event") == "warning"]
    assert len(warnings) == 1 and "7.9 times as long as fp32" in warnings[0]


def test_a_gpu_that_is_not_there_is_said(start, monkeypatch):
    from ablation.execution import choose_execution

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="asks for a GPU"):
        choose_execution("fp32", 1, 1)
    assert choose_execution("fp32", 1, None).device == "cpu"


def test_class_errors_are_over_each_class():
    right, classes = np.array([True, False, True, False, False]), np.array([0, 0, 2, 2, 2])
    assert class_errors(right, classes, 4) == [50.0, None, pytest.approx(200 / 3), None]
