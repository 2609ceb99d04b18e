"""Whole runs on image files, in one process and in two: class lists as ImageNet-5K's, broken images."""

import json
import shutil

import pytest
import torch
from jpegs import WNIDS, open_at, write_tree
from several import processes

from ablation.budget import budget_design
from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.family import cost_of
from ablation.records import read_records
from ablation.run import prepare
from ablation.sweep import load_sweep
from ablation.train import Settings, Training

SWEEP = """\
question: Which evaluation?
panels:
  - name: small
    budget: fashion
    dataset: DATASET
    recipe: {base: fashion, epochs: 2, batch: 8, norm_batch: 4, augment: [resized-crop], lr: 0.05}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: PARAMS, macs: MACS}
seeds: 1
precision: fp64
resources: {gpus: 0, threads: 1}
"""
FURTHER = {"48": {"resolution": 48}, "2-way": {"classes": [WNIDS[0], WNIDS[2]]}, "listed": {"classes": "two.txt"}}


@pytest.fixture(scope="session")
def tree(small_fashion, tmp_path_factory):
    root = write_tree(small_fashion, tmp_path_factory.mktemp("evaluations") / "tree", train=8, val=5)
    (root / "two.txt").write_text(f"{WNIDS[2]}\n{WNIDS[0]}\n")
    return root


@pytest.fixture
def start(tree, tmp_path):
    """Make a run's folder below a name, of a data set that is the tree with changes; a function that trains it."""

    def start(name="runs", root=tree, **changes):
        fields = {"name": "folder", "path": root.name, "classes": 3, "resolution": 32, "validation": 3, **changes}
        path = tmp_path / f"{name}.yaml"
        path.write_text(_sweep(fields))
        sweep = load_sweep(path)
        run = sweep.runs()[0]
        paths = sweep.paths(tmp_path / "runs", run)
        prepare(run, paths)
        where = {"runs": str(tmp_path / "runs"), "sweep": sweep.name, "id": run.id, "data": str(root.parent)}

        def train(stop_after=None, world=1):
            if world > 1:
                return processes(world, 1, {**where, "evaluation_batch": 4})
            steps = iter(range(10**9))

            def stop():
                return "asked" if stop_after is not None and next(steps) >= stop_after - 1 else None

            training = Training(paths, Settings(0, 1, data_dir=root.parent), stop, lambda: True)
            training.to_the_end()
            return training

        return paths, train

    return start


def _sweep(fields):
    price = cost_of(Dataset.model_validate(fields).fit(budget_design("fashion")))
    text = SWEEP.replace("DATASET", json.dumps(fields))
    return text.replace("PARAMS", str(price.params)).replace("MACS", str(price.macs))


def evaluations(paths):
    return json.loads(paths.result.read_text())["evaluations"]


@pytest.mark.slow
def test_two_ranks_evaluate_as_one_does(start):
    (one, alone), (two, together) = start("one", evaluations=FURTHER), start("two", evaluations=FURTHER)
    alone()
    assert together(world=2) == ["done"] * 2
    for name, found in evaluations(one).items():
        assert evaluations(two)[name] == {**found, "loss": pytest.approx(found["loss"])}
        assert one.bits(name).read_bytes() == two.bits(name).read_bytes()


@pytest.mark.parametrize(
    ("further", "words"),
    [
        ({"classes": ["n09"]}, "evaluation few: class 'n09' is not among those trained on"),
        ({"classes": []}, "evaluation few: no image shows any of its classes"),
        ({"classes": "none.txt"}, r"none\.txt: can't read this list"),
    ],
)
def test_classes_that_are_not_there_are_refused_before_training(start, further, words):
    paths, train = start(evaluations={"few": further})
    with pytest.raises(UserError, match=words):
        train()
    assert not paths.log.exists()


def test_imagenet5k_is_trained_on_its_list_and_tested_5k_way_and_1k_way(start, tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "in5k")
    shutil.rmtree(root / "val" / WNIDS[2])  # as of ImageNet-5K: only 1K's classes have validation images
    (root / "classes.txt").write_text("\n".join(WNIDS))
    (root / "classes_1k.txt").write_text("\n".join(WNIDS[:2]))
    way = {"1K-way": {"classes": "classes_1k.txt"}}
    paths, train = start(name="in5k", root=root, class_list="classes.txt", evaluations=way)
    train()
    found = evaluations(paths)
    assert [found[name]["images"] for name in ("test", "1K-way")] == [10, 10]
    assert found["1K-way"]["top1_error"] <= found["test"]["top1_error"]  # fewer classes to mistake it for


def test_imagenet5k_names_its_list():
    dataset = Dataset.model_validate("imagenet5k")
    assert (dataset.classes, dataset.class_list, dataset.path) == (5000, "classes.txt", "imagenet5k")


@pytest.fixture
def broken(tree, tmp_path):
    """The tree with one training file cut short, by its name and path."""
    root = shutil.copytree(tree, tmp_path / "broken")
    path = sorted((root / "train" / WNIDS[1]).iterdir())[3]
    path.write_bytes(path.read_bytes()[:400])
    return root, f"train/{WNIDS[1]}/{path.name}", path


def named(paths):
    return [r["message"] for r in read_records(paths.log) if r.get("event") == "warning" and "decoded" in r["message"]]


def test_skip_of_whole_images_counts_none_and_trains_as_stop_does(start):
    (one, train), (two, again) = start("stop"), start("skip", corrupt="skip")
    train(), again()
    weights = [torch.load(paths.weights, weights_only=True) for paths in (one, two)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert json.loads(two.result.read_text())["broken_images"] == 0
    assert "broken_images" not in json.loads(one.result.read_text())


@pytest.mark.slow
def test_two_ranks_name_a_broken_image_once(start, broken):
    root, _, _ = broken
    paths, train = start(root=root, corrupt="skip")
    assert train(world=2) == ["done"] * 2
    assert len(named(paths)) == 1 and json.loads(paths.result.read_text())["broken_images"] == 1


def test_after_the_last_image_of_a_class_comes_its_first(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "last")
    last = sorted((root / "train" / WNIDS[1]).iterdir())[-1]
    last.write_bytes(b"")
    images = open_at(root, corrupt="skip")
    at = [file.path for file in images.train].index(last)
    assert images._fit.picture(at)[0].tobytes() == open_at(tree)._fit.picture(8)[0].tobytes()


@pytest.mark.parametrize("corrupt", ["stop", "skip"])
def test_a_broken_test_image_always_stops(start, tree, tmp_path, corrupt):
    root = shutil.copytree(tree, tmp_path / "tested")
    path = sorted((root / "val" / WNIDS[0]).iterdir())[0]
    path.write_bytes(path.read_bytes()[:400])
    paths, train = start(root=root, corrupt=corrupt)
    with pytest.raises(UserError, match="none of these is skipped") as error:
        train()
    assert error.value.where == str(path) and not paths.result.exists()
