"""What is decided on a GPU: once an arm and kind of device, written down, and kept by a run that goes on."""

import json
from dataclasses import replace

import pytest
import torch

from ablation import layouts
from ablation.errors import UserError
from ablation.execution import Execution
from ablation.layouts import LAYOUTS, layout_file, measure, of_block, on_device, read_layout
from ablation.run import prepare, write_json
from ablation.settings import Settings
from ablation.sweep import load_sweep

CPU, GPU = Execution("cpu", "fp32", 1), Execution("cuda", "bf16", 1)
LONG = 10_000


@pytest.fixture
def made(small_sweep, tmp_path, monkeypatch):
    """A run, its folder, and a GPU's name; no GPU is needed to decide."""
    monkeypatch.setattr(layouts, "device_name", lambda device: "Example GPU")
    sweep = load_sweep(small_sweep)
    run = sweep.runs()[1]
    paths = sweep.paths(tmp_path / "runs", run)
    prepare(run, paths)
    return run, paths


def write(run, paths, layout, execution=GPU):
    file = layout_file(paths.runs / paths.sweep, run, execution, run.recipe.batch)
    file.parent.mkdir(parents=True)
    write_json(file, {"chosen": layout})
    return file


def decide(run, paths, execution=GPU, images=None, steps=LONG, **settings):
    return on_device(execution, paths, run, Settings(**settings), images or run.recipe.batch, steps)


def test_a_cpu_is_left_as_it_is(made):
    assert decide(*made, execution=CPU) == (CPU, None)


def test_what_was_measured_before_is_taken(made):
    write(*made, "contiguous")
    chosen, message = decide(*made)
    assert (chosen.layout, chosen.graph, chosen.fastest, message) == ("contiguous", True, False, None)


def test_a_short_run_measures_nothing(made):
    run, paths = made
    assert decide(run, paths, steps=20)[0].layout == "channels_last"
    assert not (paths.runs / paths.sweep / "layouts").exists()


def test_no_graph_where_it_is_not_wanted_or_the_step_comes_in_parts(made):
    run, paths = made
    write(run, paths, "channels_last")
    assert not decide(run, paths, graph=False)[0].graph
    assert not decide(run, paths, micro_batch=run.recipe.batch // 2)[0].graph
    assert not decide(run, paths, images=run.recipe.batch // 2, steps=20)[0].graph, "one of two ranks"


def test_a_run_that_goes_on_keeps_what_it_was_started_with(made):
    run, paths = made
    write(run, paths, "channels_last")
    then = replace(GPU, layout="contiguous", graph=False, fastest=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablation.execution.device_name", lambda device: "Example GPU")
        block = then.block()
    assert of_block(GPU, block) == then
    write_json(paths.run_json, {**json.loads(paths.run_json.read_text()), "execution": block})
    paths.checkpoint.touch()
    assert decide(run, paths) == (then, None)


def test_a_block_from_before_there_was_a_choice_is_a_plain_run():
    assert of_block(GPU, {"layout": "channels_last"}) == GPU


def test_a_damaged_choice_is_named(made):
    file = write(*made, "sideways")
    with pytest.raises(UserError, match="layout 'sideways'") as caught:
        decide(*made)
    assert caught.value.where == str(file)


def test_both_layouts_are_timed_and_the_figures_kept(made, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "ROUND_SECONDS", 0.0)
    run, _ = made
    found = measure(run, CPU, 32)
    assert found["chosen"] in LAYOUTS and found["share_of_channels_last_time"]["channels_last"] == 1
    assert all(seconds > 0 for seconds in found["seconds_a_step"].values())
    write_json(tmp_path / "found.json", found)
    assert read_layout(tmp_path / "found.json") == found["chosen"]


def test_what_another_worker_wrote_meanwhile_holds(made, monkeypatch):
    run, paths = made
    found = {"chosen": "channels_last", "share_of_channels_last_time": dict.fromkeys(LAYOUTS, 1.0)}

    def slower(*_):
        write(run, paths, "contiguous")
        return found

    monkeypatch.setattr(layouts, "measure", slower)
    chosen, message = decide(run, paths)
    assert chosen.layout == "contiguous" and message.endswith("contiguous it is")


def test_networks_that_do_not_fit_are_said(made, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(layouts, "measure", full)
    chosen, message = decide(*made)
    assert chosen.layout == "channels_last" and "do not fit" in message
