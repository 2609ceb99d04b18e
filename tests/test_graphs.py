"""A recorded step: the same numbers as the plain one, and a way on where it is not. On a GPU, as a CUDA graph."""

import json

import pytest
import torch

from ablation.design import Design
from ablation.execution import Execution
from ablation.graphs import WARM, GraphedStep, differ, suits
from ablation.prefetch import beside
from ablation.recipe import Recipe, recipe_fields
from ablation.records import last_epochs, read_records
from ablation.run import prepare
from ablation.settings import Settings
from ablation.step import WholeStep, first_network, optimiser_of
from ablation.sweep import load_sweep
from ablation.train import Training

DESIGN = Design(
    blocks=(1, 1), cardinality=2, widths=(3, 6), outputs=(8, 16), stem="small", stem_width=8, channels=1, resolution=28
)
STEPS = 8
GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


def plain(device="cpu", precision="fp32", layout="channels_last"):
    execution = Execution(device, precision, 1, layout=layout)
    execution.apply()
    recipe = Recipe.model_validate(recipe_fields({"base": "fashion", "norm_weight_decay": 0.0}))
    network = first_network(DESIGN, 0, execution, 16).train()
    return WholeStep(network, optimiser_of(network, recipe), execution)


def rate(at):
    return 2.0**-at / 8  # an fp32 number


def batches(device="cpu", steps=STEPS):
    random = torch.Generator().manual_seed(1)
    for _ in range(steps):
        images = torch.randn(32, 28, 28, 1, generator=random).permute(0, 3, 1, 2)
        yield images.to(device), torch.randint(10, (32,), generator=random).to(device)


def train(do, whole, device="cpu"):
    """Weights, running statistics and momentum after some steps; each step's loss and guesses."""
    told = []
    for at, batch in enumerate(batches(device)):
        for group in whole.optimiser.param_groups:
            group["lr"] = rate(at)
        told.append([part.clone() for part in do(batch, 0.1, at)])
    momentum = [state["momentum_buffer"] for state in whole.optimiser.state.values()]
    return [*whole.network.state_dict().values(), *momentum], told


def played(whole, calls):
    """In place of a GPU's recording: the function itself, with the rates that stood there when it was recorded."""

    def record(function):
        rates = [group["lr"] for group in whole.optimiser.param_groups]

        def replay():
            calls.append(1)
            now = [group["lr"] for group in whole.optimiser.param_groups]
            for part in (rates, now):
                for group, value in zip(whole.optimiser.param_groups, part, strict=True):
                    group["lr"] = value
                if part is rates:
                    function()

        return replay

    return record


def equal(one, other):
    tensors, told = zip(one, other, strict=True)
    assert all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))
    assert all(torch.equal(a, b) for pair in zip(*told, strict=True) for a, b in zip(*pair, strict=True))
    return True


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_recorded_step_is_the_plain_step(precision):
    whole, usual, calls = plain(precision=precision), plain(precision=precision), []
    do = GraphedStep(whole, played(whole, calls))
    assert equal(train(do, whole), train(usual, usual))
    assert len(calls) == STEPS - WARM and do.look() is None


def test_rates_are_rounded_alike_before_and_after_the_recording():
    whole, calls = plain(), []
    do, seen = GraphedStep(whole, played(whole, calls)), []
    for at, batch in enumerate(batches()):
        whole.optimiser.param_groups[0]["lr"] = 0.1
        do(batch, 0.0, at)
        seen.append(whole.optimiser.param_groups[0]["lr"])
    assert set(seen) == {torch.tensor(0.1).item()} and calls


def test_a_recording_that_is_not_the_step_is_found_out_and_steps_go_on_plain():
    whole, usual = plain(), plain()
    once = played(whole, [])
    do = GraphedStep(whole, lambda function: once(lambda: (function(), function())))
    assert equal(train(do, whole), train(usual, usual))
    assert "not the step it was recorded from" in do.look()
    assert do.look() is None, "said once"


def test_where_nothing_can_be_recorded_steps_go_on_plain():
    def record(function):
        function()
        whole.network(next(batches())[0])  # batch norm has seen images that no step committed
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    whole, usual = plain(), plain()
    do = GraphedStep(whole, record)
    assert equal(train(do, whole), train(usual, usual))
    assert do.look().endswith("go on plain: operation not permitted")


def test_rounding_is_no_difference_and_a_step_not_done_is_one():
    start, end = [torch.zeros(4), torch.ones(2)], [torch.full((4,), 1e-3), torch.ones(2)]
    assert not differ(start, end, [end[0] * 1.01, end[1] + 1e-7])
    assert differ(start, end, start)
    assert differ(start, end, [end[0] * float("nan"), end[1]])


def test_only_networks_of_ours_on_a_gpu_are_recorded():
    assert suits(DESIGN, "cuda") and not suits(DESIGN, "cpu")


def test_contiguous_is_another_layout_and_the_same_function():
    one, other = plain(precision="fp64"), plain(precision="fp64", layout="contiguous")
    assert (
        other.network.layer1[0].conv3.weight.is_contiguous()
        and other.execution.ready(next(batches())[0]).is_contiguous()
    )
    for a, b in zip(*(train(step, step)[0] for step in (one, other)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_batches_made_beside_the_step_are_the_same_ones(device):
    found = [[part.clone() for part in batch] for batch in beside(batches(device), device)]
    assert all(
        torch.equal(a, b) for pair in zip(found, batches(device), strict=True) for a, b in zip(*pair, strict=True)
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_a_cuda_graph_is_the_plain_step(precision, layout):
    whole, usual = (plain("cuda", precision, layout) for _ in range(2))
    do = GraphedStep(whole)
    one, other = train(do, whole, "cuda"), train(usual, usual, "cuda")
    assert do.look() is None and do.replay is not None
    for a, b in zip(one[0], other[0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_no_step_waits_for_the_gpu():
    whole = plain("cuda")
    do = GraphedStep(whole)
    given = list(batches("cuda"))
    for at, batch in enumerate(given):
        do(batch, 0.1, at)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for at, batch in enumerate(beside(iter(given), "cuda")):
            do(batch, 0.1, at)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_run_on_a_gpu_is_the_run_on_the_cpu(small_sweep, small_fashion, tmp_path):
    sweep, losses = load_sweep(small_sweep, ["panels.0.recipe.lr=0.02"]), []
    run = sweep.runs()[1]
    for gpus in (0, 1):
        paths = sweep.paths(tmp_path / str(gpus), run)
        prepare(run, paths)
        Training(paths, Settings(gpus, data_dir=small_fashion), lambda: None, lambda: True).to_the_end()
        records = read_records(paths.log)
        losses.append([record["train_loss"] for record in last_epochs(records)])
    assert json.loads(paths.run_json.read_text())["execution"]["step"] == "graph"
    assert [record for record in records if record.get("event") == "warning"] == []
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
