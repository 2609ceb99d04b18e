"""Images: sources, splits, and the streams that every arm of a panel shares."""

import gzip

import numpy as np
import pytest
import torch
from PIL import Image

from ablation.data import open_images, order, sequence, split
from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.network import stream
from ablation.recipe import Recipe, recipe_fields


def recipe(**changes):
    return Recipe.model_validate(recipe_fields({"base": "fashion", "batch": 32, "norm_batch": 32, **changes}))


def dataset(name="fashion_mnist", **changes):
    return Dataset.model_validate({"name": name, **changes})


def first_batches(images, seed, epoch=0, first=0):
    return [batch for batch, _ in zip(images.batches(seed, epoch, first), range(3), strict=False)]


@pytest.fixture
def images(small_fashion):
    return open_images(dataset(), recipe(augment=("crop", "flip")), "cpu", small_fashion)


def test_all_of_fashion_mnist_is_read(fashion):
    images = open_images(dataset(), recipe(), "cpu", None)
    assert (images.train_images, images.evaluation_images) == (60_000, 10_000)
    labels = torch.cat([labels for _, labels in images.evaluation()])
    assert torch.bincount(labels).tolist() == [1000] * 10


def test_order_and_augmentation_depend_on_the_seed_and_the_epoch_alone(images, small_fashion):
    again = open_images(dataset(), recipe(augment=("crop", "flip"), lr=0.9), "cpu", small_fashion)
    for (x, y), (x2, y2) in zip(first_batches(images, 1), first_batches(again, 1), strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)
    assert not torch.equal(first_batches(images, 1)[0][0], first_batches(images, 2)[0][0])
    assert not torch.equal(first_batches(images, 1)[0][0], first_batches(images, 1, epoch=1)[0][0])


def test_a_resumed_epoch_goes_on_with_the_same_batches(images):
    assert torch.equal(first_batches(images, 0, first=2)[0][0], first_batches(images, 0)[2][0])


def one_at_a_time(images, changes, seed, epoch, step):
    """The draws of one step, as they are defined, and the images they ask for."""
    size = changes.batch
    chosen = sequence(images.train_images, changes, seed, epoch)[step * size : (step + 1) * size]
    random, side = stream(seed, "augment", epoch, step), images._train.images.shape[1] - 2 * changes.padding
    down, right = (torch.randint(2 * changes.padding + 1, (size, 1), generator=random) for _ in range(2))
    flips = torch.randint(2, (size, 1), generator=random)
    for at in range(size):
        top, left = int(down[at]), int(right[at])
        image = images._train.images[chosen[at], top : top + side, left : left + side]
        yield image.flip(1) if flips[at] else image


@pytest.mark.parametrize("first", [0, 3])
def test_draws_sent_an_epoch_at_a_time_are_those_of_each_step(small_fashion, first):
    changes = recipe(augment=("crop", "flip"), padding=2, batch=96, norm_batch=96)
    images = open_images(dataset(), changes, "cpu", small_fashion)
    for step, (found, labels) in enumerate(images.batches(5, 2, first), start=first):
        expected = torch.stack(list(one_at_a_time(images, changes, 5, 2, step)))
        assert torch.equal(found, images._float(expected))
        assert len(labels) == 96
    assert step == 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("further", [(), ("trivial",)])
def test_a_gpu_augments_as_the_cpu_and_no_batch_waits(small_fashion, further):
    changes = recipe(augment=("crop", "flip", *further), batch=64, norm_batch=64)
    here, there = (open_images(dataset(), changes, device, small_fashion) for device in ("cpu", "cuda"))
    list(there.batches(1, 0, 0))  # pinned memory is there now
    torch.cuda.set_sync_debug_mode("default" if further else "error")  # some of torchvision's own changes wait
    try:
        found = list(there.batches(1, 1, 0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (images, labels), (other, truth) in zip(here.batches(1, 1, 0), found, strict=True):
        assert torch.equal(labels, truth.cpu())
        torch.testing.assert_close(images, other.cpu(), rtol=0, atol=0.1)  # a rounded grey level apart


def parts(images, slices):
    """Training batches and evaluation images as ranks see them, put together."""
    batches = [first for share in slices for first, _ in zip(images.batches(5, 1, 0, share), range(1), strict=False)]
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_shares_of_a_batch_are_the_batch(images):
    (x, y), (whole, labels) = parts(images, [slice(0, 12), slice(12, 32)]), first_batches(images, 5, epoch=1)[0]
    assert torch.equal(x, whole) and torch.equal(y, labels)


def test_shares_of_the_evaluation_are_the_evaluation(images, monkeypatch):
    monkeypatch.setattr("ablation.data.EVALUATION_BATCH", 60)
    labels = [y for share in (slice(0, 3), slice(3, 4), slice(4, 4)) for _, y in images.evaluation(share)]
    assert torch.equal(torch.cat(labels), torch.cat([y for _, y in images.evaluation()]))


def test_an_order_is_a_permutation():
    assert order(100, 0, 0).sort().values.tolist() == list(range(100))
    assert not torch.equal(order(100, 0, 0), order(100, 1, 0))


def test_repeated_images_come_as_a_whole_and_each_time_augmented_anew(small_fashion):
    repeated = recipe(repeats=4, augment=("crop", "flip"))
    places = sequence(640, repeated, 0, 1).view(20, 4, 8)
    assert torch.equal(places[:, 0].flatten(), order(640, 0, 1)[:160])
    assert all(torch.equal(places[:, again], places[:, 0]) for again in range(4))
    images = open_images(dataset(), repeated, "cpu", small_fashion)
    batches = first_batches(images, 0)
    x, y = batches[0]
    assert torch.equal(y[:8], y[8:16]) and not torch.equal(x[:8], x[8:16])
    assert torch.equal(first_batches(images, 0, first=2)[0][0], batches[2][0])
    x, y = parts(images, [slice(0, 8), slice(8, 32)])
    assert torch.equal(x, first_batches(images, 5, epoch=1)[0][0])


def test_one_change_of_trivial_augment_leaves_crop_and_flip_as_they_were(small_fashion):
    plain, changed = (
        open_images(dataset(), recipe(augment=("crop", "flip", *more)), "cpu", small_fashion)
        for more in ((), ("trivial",))
    )
    (x, _), (c, _) = first_batches(plain, 0)[0], first_batches(changed, 0)[0]
    same = (x == c).flatten(1).all(1)
    assert same.any() and not same.all()  # the identity is one of the changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"augment": ("jitter",)}, "can't be augmented by jitter"), ({"train_resolution": 20}, "at 20 pixels")],
)
def test_what_images_in_memory_can_not_have(small_fashion, changes, message):
    with pytest.raises(UserError, match=message):
        open_images(dataset(), recipe(**changes), "cpu", small_fashion)


def test_images_are_normalised_and_channels_last(images):
    x, y = first_batches(images, 0)[0]
    assert x.shape == (32, 1, 28, 28) and x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_images_are_the_files_pixels(small_fashion):
    images = open_images(dataset(), recipe(), "cpu", small_fashion)
    raw = np.frombuffer((small_fashion / "t10k-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    x = torch.cat([x for x, _ in images.evaluation()])
    assert torch.allclose((x * 0.3530 + 0.2860) * 255, torch.tensor(raw.copy()).view(-1, 1, 28, 28).float(), atol=1e-3)


def test_crop_and_flip_move_pixels_and_nothing_else(small_fashion):
    plain = open_images(dataset(), recipe(augment=()), "cpu", small_fashion)
    flipped = open_images(dataset(), recipe(augment=("flip",)), "cpu", small_fashion)
    (x, _), (f, _) = first_batches(plain, 0)[0], first_batches(flipped, 0)[0]
    same, mirrored = (f == x).flatten(1).all(1), (f == x.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all() and same.any() and mirrored.any()
    cropped = open_images(dataset(), recipe(augment=("crop",)), "cpu", small_fashion)
    assert first_batches(cropped, 0)[0][0].shape == x.shape


def test_validation_images_are_fixed_and_never_trained_on(small_fashion):
    fit, held_out = split(640, dataset(validation=100))
    assert (len(fit), len(held_out)) == (540, 100)
    assert sorted([*fit.tolist(), *held_out.tolist()]) == list(range(640))
    assert torch.equal(held_out, split(640, dataset(validation=100))[1])
    images = open_images(dataset(validation=100, evaluate="validation"), recipe(), "cpu", small_fashion)
    assert (images.train_images, images.evaluation_images) == (540, 100)


def test_gzipped_files_are_the_same_data_set(small_fashion, tmp_path):
    for path in small_fashion.iterdir():
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    digests = [open_images(dataset(), recipe(), "cpu", root).digest for root in (small_fashion, tmp_path)]
    assert digests[0] == digests[1]


def test_a_missing_data_set_names_the_three_ways(tmp_path, monkeypatch):
    monkeypatch.setattr("ablation.sources._cached", lambda name, download: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(UserError) as error:
        open_images(dataset("cifar10"), recipe(), "cpu", tmp_path)
    for words in ("--data-dir", "ABLATION_DATA", "download", "no network", str(tmp_path)):
        assert words in str(error.value)


def test_a_job_never_downloads_but_finds_what_was_downloaded(monkeypatch, fashion, tmp_path):
    asked = []

    def torchvision(name, root, download):
        asked.append(download)
        raise RuntimeError("Dataset not found")

    monkeypatch.setattr("ablation.sources._torchvision", torchvision)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("ABLATION_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match="a job does not download"):
        open_images(dataset("cifar10"), recipe(), "cpu", None)
    assert asked == [False]


def test_damaged_files_are_named(small_fashion, tmp_path):
    for path in small_fashion.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="train-images-idx3-ubyte: damaged data file"):
        open_images(dataset(), recipe(), "cpu", tmp_path)


@pytest.fixture(scope="session")
def cifar(tmp_path_factory):
    """CIFAR-10 in torchvision's format, with its checksums: random pixels."""
    import hashlib
    import pickle

    root = tmp_path_factory.mktemp("cifar")
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)
    sums = {}
    for name in [*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"]:
        batch = {"data": random.integers(0, 256, (40, 3072), np.uint8), "labels": random.integers(0, 10, 40).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(label) for label in range(10)]}))
    sums["batches.meta"] = hashlib.md5((folder / "batches.meta").read_bytes()).hexdigest()
    return root, sums


def test_cifar_in_torchvisions_format(cifar, monkeypatch):
    import torchvision.datasets

    root, sums = cifar
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [[name, sums[name]] for name in sums if name.startswith("data")])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["batches.meta"]})
    images = open_images(dataset("cifar10", validation=20), recipe(augment=("crop", "flip")), "cpu", root)
    assert (images.train_images, images.evaluation_images) == (200, 40)
    assert first_batches(images, 0)[0][0].shape == (32, 3, 32, 32)


@pytest.fixture(scope="session")
def tree(small_fashion, tmp_path_factory):
    """An ImageFolder tree of JPEG files made from Fashion-MNIST: three classes, 40 px and more."""
    root = tmp_path_factory.mktemp("trees")
    raw = np.frombuffer((small_fashion / "train-images-idx3-ubyte").read_bytes(), np.uint8, offset=16).reshape(
        -1, 28, 28
    )
    labels = np.frombuffer((small_fashion / "train-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    for label in range(3):
        for index, pixels in enumerate(raw[labels == label][:30]):
            folder = root / "clothes" / ("train" if index < 20 else "val") / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).resize((48 + index, 40)).save(folder / f"{index}.jpg")
    return root


def folder(**changes):
    fields = {"path": "clothes", "classes": 3, "resolution": 32, "validation": 9, **changes}
    return dataset("folder", **fields)


def folder_recipe(**changes):
    return recipe(
        **{"batch": 16, "norm_batch": 16, "augment": ("resized-crop", "flip", "jitter", "lighting"), **changes}
    )


def test_a_tree_of_jpeg_files(tree):
    images = open_images(folder(), folder_recipe(), "cpu", tree)
    assert (images.train_images, images.evaluation_images) == (60, 30)
    x, y = first_batches(images, 0)[0]
    assert x.shape == (16, 3, 32, 32) and set(y.tolist()) <= {0, 1, 2}
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.cat([labels for _, labels in images.evaluation()]).tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_a_tree_has_the_same_streams_however_it_is_read(tree):
    images = open_images(folder(), folder_recipe(), "cpu", tree)
    again = open_images(folder(), folder_recipe(), "cpu", tree)
    assert torch.equal(first_batches(images, 3)[0][0], first_batches(again, 3)[0][0])
    assert torch.equal(first_batches(images, 3, first=1)[0][0], first_batches(images, 3)[1][0])
    assert not torch.equal(first_batches(images, 3)[0][0], first_batches(images, 4)[0][0])


def test_a_tree_trains_at_another_resolution_than_it_is_evaluated_at(tree):
    images = open_images(folder(), folder_recipe(train_resolution=24, augment=("resized-crop",)), "cpu", tree)
    assert first_batches(images, 0)[0][0].shape == (16, 3, 24, 24)
    assert next(images.evaluation())[0].shape == (30, 3, 32, 32)


def test_a_trees_images_are_repeated_and_changed_each_by_its_own_stream(tree):
    modern = folder_recipe(repeats=2, augment=("resized-crop", "flip", "trivial"))
    images = open_images(folder(), modern, "cpu", tree)
    (x, y), again = first_batches(images, 3)[0], first_batches(open_images(folder(), modern, "cpu", tree), 3)[0]
    assert torch.equal(x, again[0])
    assert torch.equal(y[:8], y[8:]) and not torch.equal(x[:8], x[8:])
    plain = open_images(folder(), folder_recipe(repeats=2, augment=("resized-crop", "flip")), "cpu", tree)
    same = (first_batches(plain, 3)[0][0] == x).flatten(1).all(1)
    assert not same.all()


def test_shares_of_a_trees_batch_are_the_batch(tree, monkeypatch):
    monkeypatch.setattr("ablation.image_folder.EVALUATION_BATCH", 8)
    images = open_images(folder(), folder_recipe(), "cpu", tree)
    (x, y), (whole, labels) = parts(images, [slice(0, 4), slice(4, 16)]), first_batches(images, 5, epoch=1)[0]
    assert torch.equal(x, whole) and torch.equal(y, labels)
    shared = [y for share in (slice(0, 3), slice(3, 4), slice(4, 4)) for _, y in images.evaluation(share)]
    assert torch.cat(shared).tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_a_trees_validation_split(tree):
    images = open_images(folder(evaluate="validation"), folder_recipe(), "cpu", tree)
    assert (images.train_images, images.evaluation_images) == (51, 9)
    assert not {file.name for file in images.train} & {file.name for file in images.held_out}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 4}, "3 classes, not 4"),
        ({"path": "hats"}, "no folder"),
        ({"validation": 60, "evaluate": "validation"}, "set aside"),
    ],
)
def test_a_tree_that_is_not_what_the_sweep_says(tree, change, message):
    with pytest.raises(UserError, match=message):
        open_images(folder(**change), folder_recipe(), "cpu", tree)


def test_a_damaged_image_is_named(tree, tmp_path):
    import shutil

    shutil.copytree(tree / "clothes", tmp_path / "clothes")
    (tmp_path / "clothes" / "val" / "class1" / "25.jpg").write_bytes(b"not a picture")
    images = open_images(folder(), folder_recipe(), "cpu", tmp_path)
    with pytest.raises(UserError, match=r"25\.jpg"):
        list(images.evaluation())


def test_a_batch_larger_than_the_data_is_refused(small_fashion):
    from ablation.data import steps_an_epoch

    images = open_images(dataset(), recipe(batch=1024, norm_batch=1024), "cpu", small_fashion)
    with pytest.raises(UserError, match="more than the 640 training images"):
        steps_an_epoch(images, images.recipe)
