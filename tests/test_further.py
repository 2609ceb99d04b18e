"""Further evaluations of the final network: at another resolution, among fewer classes."""

import json
import shutil

import numpy as np
import pytest
import ranks
import torch
import torch.nn.functional as F
from jpegs import WNIDS, recipe, write_tree
from several import prepared, processes

from ablation.cost import cost
from ablation.data import open_images
from ablation.dataset import Dataset
from ablation.design import design_from_name
from ablation.errors import UserError
from ablation.network import Network
from ablation.records import read_records
from ablation.run import load_run
from ablation.sweep import load_sweep

IN_MEMORY = "panels.0.dataset.evaluations={large: {resolution: 36}, few: {classes: [7, 2, 5]}}"
SHORT = "panels.0.recipe.epochs=1"


@pytest.fixture(scope="module")
def tree(small_fashion, tmp_path_factory):
    return write_tree(small_fashion, tmp_path_factory.mktemp("further") / "tree", train=12)


def of_tree(tree, **changes):
    """The override that trains a sweep's arms on the images of a tree."""
    fields = {"name": "folder", "path": tree.name, "classes": 3, "resolution": 32, "validation": 6, **changes}
    return f"panels.0.dataset={json.dumps(fields)}"


def trained(sweep, data, runs, *overrides, world=1):
    """The result of a run, and its paths."""
    paths, where = prepared(sweep, data, runs, *overrides, index=0)
    said = processes(world, 1, where) if world > 1 else [ranks.train(**where)]
    assert said == ["done"] * world
    return json.loads(paths.result.read_text()), paths


def test_a_result_holds_each_evaluation_with_its_bits(small_sweep, small_fashion, tmp_path):
    result, paths = trained(small_sweep, small_fashion, tmp_path / "runs", IN_MEMORY, SHORT)
    assert list(result["evaluations"]) == ["test", "large", "few"]
    for name, evaluation in result["evaluations"].items():
        right = np.unpackbits(np.frombuffer(paths.bits(name).read_bytes(), np.uint8), count=evaluation["images"])
        assert 100 * (1 - right.mean()) == pytest.approx(evaluation["top1_error"])
    assert result["evaluations"]["large"]["images"] == 200 > result["evaluations"]["few"]["images"]


def test_what_is_evaluated_further_changes_nothing_else(small_sweep, small_fashion, tmp_path):
    plain, one = trained(small_sweep, small_fashion, tmp_path / "plain")
    further, two = trained(small_sweep, small_fashion, tmp_path / "further", IN_MEMORY)
    assert further["evaluations"]["test"] == plain["evaluations"]["test"]
    weights = [torch.load(paths.weights, weights_only=True) for paths in (one, two)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_fewer_classes_are_a_softmax_over_those_and_over_their_images(small_sweep, small_fashion, tmp_path):
    result, paths = trained(small_sweep, small_fashion, tmp_path / "runs", IN_MEMORY, SHORT)
    run = load_run(paths)
    network = Network(run.design).double()
    network.load_state_dict(torch.load(paths.weights, weights_only=True))
    network.eval()
    images = open_images(run.dataset, run.recipe, "cpu", small_fashion)
    with torch.inference_mode():
        seen = [(network(x.double()), y) for x, y in images.evaluation()]
    logits, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
    kept = (labels == 2) | (labels == 5) | (labels == 7)
    asked, truth = logits[kept][:, [2, 5, 7]], torch.tensor([0, 0, 0, 0, 0, 1, 0, 2])[labels[kept]]
    found = result["evaluations"]["few"]
    assert found["images"] == int(kept.sum())
    assert found["top1_error"] == pytest.approx(100 * (asked.argmax(1) != truth).double().mean().item())
    assert found["loss"] == pytest.approx(F.cross_entropy(asked, truth).item())
    assert [label for label, error in enumerate(found["class_errors"]) if error is not None] == [2, 5, 7]


@pytest.mark.slow
def test_several_processes_evaluate_every_image_once(small_sweep, small_fashion, tmp_path):
    one, alone = trained(small_sweep, small_fashion, tmp_path / "one", IN_MEMORY, SHORT)
    two, together = trained(small_sweep, small_fashion, tmp_path / "two", IN_MEMORY, SHORT, world=2)
    for name in ("large", "few"):
        assert one["evaluations"][name]["images"] == two["evaluations"][name]["images"]
        assert alone.bits(name).read_bytes() == together.bits(name).read_bytes()


def test_files_are_cropped_from_the_same_part_of_the_picture_at_320(tree):
    dataset = Dataset.model_validate(json.loads(of_tree(tree, resolution=224).partition("=")[2]))
    images = open_images(dataset, recipe(), "cpu", tree.parent)
    small, large = (next(iter(images.evaluation(resolution=side)))[0] for side in (None, 320))
    assert small.shape[1:] == (3, 224, 224) and large.shape[1:] == (3, 320, 320)
    again = F.interpolate(large, (224, 224), mode="bilinear", antialias=True)
    assert (again - small).abs().mean() < 0.1 * small.std()


def test_a_run_on_files_is_evaluated_further(small_sweep, tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "data" / tree.name)
    (root / "two.txt").write_text(f"{WNIDS[2]}\n{WNIDS[0]}\n")
    evaluations = {"48": {"resolution": 48}, "2-way": {"classes": "two.txt"}}
    overrides = [of_tree(root, evaluations=evaluations), 'panels.0.recipe.augment=["flip"]', SHORT, *counted(root)]
    result, _ = trained(small_sweep, root.parent, tmp_path / "runs", *overrides)
    images = {name: evaluation["images"] for name, evaluation in result["evaluations"].items()}
    assert images == {"test": 12, "48": 12, "2-way": 8}


def counted(root):
    """What the arms of the small sweep cost on the images of a tree."""
    dataset = Dataset.model_validate(json.loads(of_tree(root).partition("=")[2]))
    for index, name in enumerate(("resnet11_1x8d", "resnext11_4x3d")):
        price = cost(dataset.fit(design_from_name(name)))
        yield f"panels.0.arms.{index}.params={price.params}"
        yield f"panels.0.arms.{index}.macs={price.macs}"


@pytest.mark.parametrize("stops", [None, 2])
def test_a_broken_training_image_is_named_once_and_counted(small_sweep, tree, tmp_path, stops):
    root = shutil.copytree(tree, tmp_path / "data" / tree.name)
    bad = sorted((root / "train" / WNIDS[1]).iterdir())[2]
    bad.write_bytes(b"broken")
    overrides = [of_tree(root, corrupt="skip"), 'panels.0.recipe.augment=["flip"]', *counted(root)]
    overrides += ["panels.0.recipe.batch=12", "panels.0.recipe.norm_batch=12"]
    paths, where = prepared(small_sweep, root.parent, tmp_path / "runs", *overrides, index=0)
    if stops:
        assert ranks.train(**where, stop=stops).startswith("stopped")
    assert ranks.train(**where) == "done"
    warnings = [r["message"] for r in read_records(paths.log) if r.get("event") == "warning"]
    assert [bad.name in message for message in warnings] == [True]
    assert json.loads(paths.result.read_text())["broken_images"] == 1


def test_a_class_that_is_not_trained_on_is_refused(small_sweep, small_fashion, tmp_path):
    override = "panels.0.dataset.evaluations={few: {classes: [1, 12]}}"
    paths, where = prepared(small_sweep, small_fashion, tmp_path, override)
    assert "class '12' is not among those trained on" in ranks.train(**where)
    assert not paths.result.exists()


@pytest.mark.parametrize(
    ("evaluations", "words"),
    [
        ("{odd: {resolution: 33}}", "evaluation odd: the small stem folds 2x2 pixels"),
        ("{test: {resolution: 32}}", "test is the usual evaluation"),
        ("{a: {}}", "needs another resolution, or classes"),
        ("{a: {resolutoin: 32}}", "resolution"),
        ("{a.b: {resolution: 32}}", "pattern"),
        ("{a: {classes: list.txt}}", "has no folder"),
    ],
)
def test_an_evaluation_that_can_not_be_is_refused_when_the_sweep_is_read(small_sweep, evaluations, words):
    with pytest.raises(UserError, match=words):
        load_sweep(small_sweep, [f"panels.0.dataset.evaluations={evaluations}"])


FIXED = """\
from torch import nn

from ablation.family import family


@family(solve="width")
def net(width, channels, resolution, classes):
    maps = nn.Conv2d(channels, width, 3, padding=1)
    return nn.Sequential(maps, nn.Flatten(), nn.Linear(width * resolution**2, classes))
"""


@pytest.mark.parametrize(("side", "fine"), [(28, True), (36, False)])
def test_a_family_of_one_resolution_is_refused_before_a_launch(tmp_path, side, fine):
    from ablation.family import check_resolution, family_design, source_of

    (tmp_path / "blocks.py").write_text(FIXED)
    name = f"{tmp_path / 'blocks.py'}:net"
    design = family_design(name, {"width": 4}, source_of(name), channels=1, resolution=28, classes=10)
    if fine:
        return check_resolution(design, side)
    with pytest.raises(UserError, match="built for 28 pixels, fails on an image of 1x36x36"):
        check_resolution(design, side)
