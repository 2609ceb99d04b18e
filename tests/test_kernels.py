"""The choice of a way for each grouped convolution: made once a study, in the execution block, kept at a resume."""

import json
from dataclasses import replace

import pytest
import torch

from ablation import kernels
from ablation.design import design_from_name
from ablation.errors import UserError
from ablation.execution import Execution
from ablation.kernels import choose, measure
from ablation.launch.request import SETTINGS
from ablation.packing import layers_of_design
from ablation.run import prepare
from ablation.sweep import load_sweep
from ablation.train import Settings, Stopped, Training

CPU = Execution("cpu", "fp32", 1)
FASTEST = {"4 groups of 3, 3x3, at 14x14": "2 groups of 6"}
"""What the measurement of these tests finds."""


@pytest.fixture
def found(monkeypatch):
    """The layers measured so far: each is found native but for `FASTEST`, at once."""
    layers = []

    def measured(layer, execution, images):
        layers.append(layer.name)
        return {"layer": layer.name, "chosen": FASTEST.get(layer.name, layer.way(1))}

    monkeypatch.setattr(kernels, "measure", measured)
    monkeypatch.setattr(kernels, "FEW_STEPS", 1)
    return layers


@pytest.fixture
def start(small_sweep, small_fashion, tmp_path):
    """A run's paths, and what trains it."""

    def start(index=1, name="runs", asked="measured"):
        run = load_sweep(small_sweep).runs()[index]
        paths = load_sweep(small_sweep).paths(tmp_path / name, run)
        prepare(run, paths)

        def train(stop_after=None, asked=asked):
            steps = iter(range(10**9))
            stop = lambda: "asked" if stop_after is not None and next(steps) >= stop_after - 1 else None  # noqa: E731
            settings = Settings(gpus=0, data_dir=small_fashion, kernels=asked)
            Training(paths, settings, stop, lambda: True).to_the_end()

        return run, paths, train

    return start


def block(paths):
    return json.loads(paths.run_json.read_text())["execution"]["kernels"]


def test_a_run_computes_as_was_measured_and_says_so(start, found):
    _, paths, train = start()
    train()
    assert block(paths) == FASTEST
    said = [json.loads(line) for line in paths.log.read_text().splitlines()]
    (message,) = [record["message"] for record in said if record.get("event") == "kernels"]
    assert message.startswith("timed 3 grouped convolutions in ")
    assert message.endswith("(4 groups of 3, 3x3, at 14x14: in 2 groups of 6)")


def test_the_choice_is_made_once_a_study(start, found):
    for index in (1, 3):  # two seeds of one arm
        run, paths, _ = start(index)
        chosen = choose(paths, run, CPU, 32, 40, "measured")
        assert dict(chosen.kernels) == FASTEST
    assert len(found) == len(set(found)) == 3
    assert chosen.message is None


def test_what_another_worker_wrote_down_first_holds(start, found):
    run, paths, _ = start()
    choose(paths, run, CPU, 32, 40, "measured")
    files = sorted((paths.runs / paths.sweep / "kernels").rglob("*.json"))
    other = json.loads(files[0].read_text()) | {"chosen": "1 groups of 12"}
    kernels._keep(files[0], other)
    assert dict(choose(paths, run, CPU, 32, 40, "measured").kernels) == FASTEST


def test_other_batches_precisions_and_threads_have_choices_of_their_own(start, found):
    run, paths, _ = start()
    for execution, images in (
        (CPU, 32),
        (CPU, 16),
        (replace(CPU, precision="bf16"), 32),
        (replace(CPU, threads=2), 32),
    ):
        choose(paths, run, execution, images, 40, "measured")
    assert len(found) == 4 * 3


def test_a_network_without_groups_is_not_measured(start, found):
    run, paths, _ = start(0)
    assert choose(paths, run, CPU, 32, 40, "measured").kernels == ()
    assert found == [] and not (paths.runs / paths.sweep / "kernels").exists()


def test_a_short_run_stays_native(start):
    run, paths, _ = start()
    assert choose(paths, run, CPU, 32, kernels.FEW_STEPS - 1, "measured").kernels == ()
    assert not (paths.runs / paths.sweep / "kernels").exists()


def test_a_user_can_ask_for_native(start, found):
    _, paths, train = start(asked="native")
    train()
    assert found == [] and block(paths) == "native"


def test_a_resume_keeps_its_ways_whatever_the_file_says_by_then(start, found):
    _, paths, train = start()
    with pytest.raises(Stopped):
        train(stop_after=25)
    for file in (paths.runs / paths.sweep / "kernels").rglob("*.json"):
        file.unlink()
    train(asked="native")
    assert block(paths) == FASTEST and len(found) == 3


def test_a_resume_of_a_native_run_stays_native(start, found):
    _, paths, train = start()
    with pytest.raises(Stopped):
        train(stop_after=25, asked="native")
    train()
    assert block(paths) == "native" and found == []


def test_an_interrupted_packed_run_gives_the_same_numbers_as_an_undisturbed_one(start, found):
    _, undisturbed, train = start(name="undisturbed")
    train()
    _, paths, train = start()
    with pytest.raises(Stopped):
        train(stop_after=25)
    train()
    one, other = (torch.load(each.weights, weights_only=True) for each in (undisturbed, paths))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_damaged_choice_is_told_with_its_place(start, found):
    run, paths, _ = start()
    choose(paths, run, CPU, 32, 40, "measured")
    file = next((paths.runs / paths.sweep / "kernels").rglob("*.json"))
    file.write_text('{"chosen": "7 groups of 1"}')
    with pytest.raises(UserError, match="can't be computed in 7 groups of 1") as error:
        choose(paths, run, CPU, 32, 40, "measured")
    assert error.value.where == str(file)


def test_a_measurement_times_native_and_says_what_it_found():
    design = design_from_name("resnext11_4x3d")
    layer = layers_of_design(design)[0]
    said = measure(layer, CPU, 8)
    ways = [layer.way(packed) for packed in (1, 2, 4)]
    assert said["chosen"] in ways and list(said["at_first_sight"]) == ways
    assert said["share_of_native_time"]["4 groups of 3"] == 1.0 and said["native_seconds"] > 0


@pytest.mark.parametrize(
    ("factor", "chosen"), [(0.95, "4 groups of 3"), (0.85, "2 groups of 6"), (2.0, "4 groups of 3")]
)
def test_only_a_clear_win_is_taken(monkeypatch, factor, chosen):
    times = {1: 1.0, 2: factor, 4: 3.0}
    monkeypatch.setattr(kernels._Watch, "seconds", lambda self, packed, passes: times[packed])
    monkeypatch.setattr(kernels, "LONG_SECONDS", 9.0)
    layer = layers_of_design(design_from_name("resnext11_4x3d"))[0]
    assert measure(layer, CPU, 8)["chosen"] == chosen


def test_layers_are_timed_in_the_layout_of_the_run(monkeypatch):
    layer = layers_of_design(design_from_name("resnext11_4x3d"))[0]
    for layout, last in (("channels_last", True), ("contiguous", False)):
        monkeypatch.setattr(kernels, "_layout", lambda execution, layout=layout: layout)
        watch = kernels._Watch(layer, CPU, 8)
        assert watch.input.is_contiguous(memory_format=torch.channels_last) == last
        assert watch.conv.weight.is_contiguous(memory_format=torch.channels_last) == last


def test_a_sweep_s_resources_say_whether_to_measure(small_sweep):
    assert "kernels" in SETTINGS
    asked = [load_sweep(small_sweep, more).resources.kernels for more in ((), ("resources.kernels=native",))]
    assert asked == ["measured", "native"]


@pytest.mark.parametrize(("milliseconds", "timed"), [(0.01, 100), (1.0, 16), (9.0, 8)])
def test_as_many_images_are_timed_as_take_little_time(monkeypatch, milliseconds, timed):
    monkeypatch.setattr(kernels._Watch, "first", lambda self, packed: milliseconds / 1e3 * self.images)
    layer = layers_of_design(design_from_name("resnext11_4x3d"))[0]
    assert kernels._Watch(layer, CPU, 100).images == timed
    assert kernels._Watch(layer, CPU, 6).images == 6
