"""A probe: real steps of real networks in processes of their own, and what price makes of them."""

import json
import pickle
from dataclasses import replace

import pytest

from ablation import probe as module
from ablation.errors import UserError
from ablation.price import price
from ablation.probe import probe, probe_job
from ablation.run import read_json
from ablation.sweep import load_sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """A sweep of two designs, and what a probe found of them."""
    folder = tmp_path_factory.mktemp("probe")
    path = folder / "tiny.yaml"
    path.write_text("""\
question: Is it quick?
panels:
  - name: small
    budget: fashion
    dataset: {name: fashion_mnist, validation: 100}
    recipe: {base: fashion, epochs: 2, batch: 32, norm_batch: 16}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
      - {design: resnext11_4x3d, params: 32782, macs: 1243424}
      - {design: resnext11_4x3d, name: again, params: 32782, macs: 1243424}
seeds: 2
resources: {gpus: 0, parallel: 1}
""")
    sweep = load_sweep(path)
    said = []
    return sweep, folder / "runs", probe(sweep, folder / "runs", say=said.append), said


def test_each_distinct_design_is_measured_once(probed):
    _, _, answer, said = probed
    assert [entry["design_name"] for entry in answer["designs"]] == ["resnet11_1x8d", "resnext11_4x3d"]
    assert len(said) == 2


def test_the_numbers_are_those_of_training(probed):
    for entry in probed[2]["designs"]:
        assert 0 < entry["seconds_a_step"] < 60
        assert entry["images_per_second"] == pytest.approx(32 / entry["seconds_a_step"])
        assert 0 < entry["evaluation_seconds_an_image"] < entry["seconds_a_step"]
        assert entry["peak_memory_bytes"] > 4 * 3 * 33_000, "weights, gradients and momentum at least"
        assert entry["fastest_layout"] == min(entry["layouts"], key=entry["layouts"].get)


def test_the_baseline_is_run_side_by_side(probed):
    baseline, other = probed[2]["designs"]
    assert baseline["side_by_side"]["1"] == baseline["images_per_second"]
    assert str(baseline["fastest_side_by_side"]) in baseline["side_by_side"]
    assert other["side_by_side"] is None


def test_the_file_holds_what_was_found_and_that_images_were_none(probed):
    sweep, runs, answer, _ = probed
    (path,) = (runs / sweep.name / "probes").glob("*.json")
    assert read_json(path) == json.loads(json.dumps(answer))
    assert answer["images"] == "random numbers" and answer["device"] == "cpu"


def test_price_uses_a_probe_by_hand_the_same(probed):
    sweep, runs, answer, _ = probed
    cost = price(sweep, runs, [run.id for run in sweep.runs()])
    entry = answer["designs"][0]
    epoch = 60_000 // 32 * entry["seconds_a_step"] + 10_000 * entry["evaluation_seconds_an_image"]
    assert cost.arms[0].hours == pytest.approx(2 * epoch / 3600)
    assert cost.arms[0].how.startswith("a probe") and not cost.unknown
    assert cost.arms[0].device == answer["device_name"]


def test_a_probe_of_another_batch_prices_nothing(probed):
    sweep, runs, _, _ = probed
    other = load_sweep(sweep.path, ["panels.0.recipe.batch=64"])
    assert len(price(other, runs, [run.id for run in other.runs()]).unknown) == 2


def test_a_later_probe_keeps_what_an_earlier_one_found_of_others(probed):
    sweep, runs, answer, _ = probed
    (path,) = (runs / sweep.name / "probes").glob("*.json")
    first, second = answer["designs"]
    module._save(path.parent, {**answer, "designs": [{**second, "seconds_a_step": 1.0}]})
    kept = {entry["design_name"]: entry["seconds_a_step"] for entry in read_json(path)["designs"]}
    assert kept == {first["design_name"]: first["seconds_a_step"], second["design_name"]: 1.0}


def test_a_job_can_be_pickled_and_queued_again(probed):
    sweep, runs, _, _ = probed
    job = pickle.loads(pickle.dumps(probe_job(sweep, runs)))
    assert job == probe_job(sweep, runs)
    assert job.checkpoint().function == job


def test_a_gpu_that_is_not_there_is_a_users_mistake(probed, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    sweep = probed[0]
    asks = replace(sweep, resources=sweep.resources.model_copy(update={"gpus": 1}))
    with pytest.raises(UserError, match="asks for a GPU"):
        probe(asks, tmp_path)


def test_a_process_that_dies_is_said_and_not_waited_for(probed, tmp_path):

    task = replace(probe_job(probed[0], tmp_path).tasks[0], design=None)
    answer = module._together(task, 1, everything=True)
    assert answer == [{"error": "its process ended with 1"}]
