"""Image files as they come: every kind of JPEG and PNG, broken ones, and a node's own copies of tars."""

import io
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as T
from jpegs import WNIDS, folder, open_at, pack_train, pack_val, pictures, recipe, write_tree
from PIL import Image

from ablation.data import open_images
from ablation.errors import UserError
from ablation.image_folder import stage
from ablation.image_folder.decode import Corrupt, open_picture
from ablation.image_folder.files import WHOLE, File


@pytest.fixture(scope="session")
def pixels(small_fashion):
    """One image of Fashion-MNIST at 256 px, RGB: a shirt of three colours."""
    images = pictures(small_fashion)[6]
    bands = [np.asarray(Image.fromarray(image).resize((256, 256))) for image in images[:3]]
    return Image.fromarray(np.stack(bands, -1))


@pytest.fixture(scope="session")
def tree(small_fashion, tmp_path_factory):
    return write_tree(small_fashion, tmp_path_factory.mktemp("pictures") / "tree")


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "tree")


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rotated(image):
    exif = Image.Exif()
    exif[274] = 6  # orientation: turn it by a quarter
    return encoded(image, quality=95, exif=exif)


KINDS = {
    "RGB": lambda image: encoded(image, quality=95),
    "4:2:0": lambda image: encoded(image, quality=75, subsampling=2),
    "progressive": lambda image: encoded(image, quality=95, progressive=True),
    "grey": lambda image: encoded(image.convert("L"), quality=95),
    "CMYK": lambda image: encoded(image.convert("CMYK"), quality=95),
    "EXIF": rotated,
    "PNG in a .jpg": lambda image: encoded(image, "PNG"),
    "RGBA": lambda image: encoded(image.convert("RGBA"), "PNG"),
    "palette": lambda image: encoded(image.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "palette with transparency": lambda image: encoded(image.quantize(64), "PNG", transparency=bytes(range(64))),
}
LOSSY = {"palette", "palette with transparency", "grey", "4:2:0"}


def decoded(data, path, decoder):
    path.write_bytes(data)
    return open_picture(File("train/a/1.jpg", 0, path, WHOLE, len(data)), decoder)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_its_pixels_as_stored_in_rgb(pixels, tmp_path, kind):
    image = decoded(KINDS[kind](pixels), tmp_path / "1.jpg", "pil")
    assert (image.mode, image.size) == ("RGB", pixels.size)
    far = np.abs(np.asarray(image).astype(int) - np.asarray(pixels)).mean()
    assert far < (60 if kind in LOSSY else 3)


@pytest.mark.parametrize("kind", KINDS)
def test_torchvision_decodes_the_pixels_of_pil(pixels, tmp_path, kind):
    pil, tensor = (decoded(KINDS[kind](pixels), tmp_path / "1.jpg", name) for name in ("pil", "torchvision"))
    assert torch.equal(tensor, torch.from_numpy(np.array(pil)).permute(2, 0, 1))


def test_the_decoders_show_the_network_nearly_the_same(tree):
    pil, torchvision = (open_at(tree, decoder=name) for name in ("pil", "torchvision"))
    for images in (lambda it: it.evaluation(), lambda it: it.batches(0, 0, 0)):
        for (x, y), (x2, y2) in zip(images(pil), images(torchvision), strict=True):
            assert torch.equal(y, y2) and (x - x2).abs().max() < 0.05


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data[:20], lambda data: b"", lambda data: b"<html>404</html>"],
    ids=["half", "a header", "empty", "a web page"],
)
def test_a_broken_file_is_corrupt_and_named(pixels, tmp_path, damage, decoder):
    path = tmp_path / "1.jpg"
    path.write_bytes(damage(encoded(pixels)))
    with pytest.raises(Corrupt, match="can't decode this image") as error:
        open_picture(File("train/a/1.jpg", 0, path, WHOLE, 1), decoder)
    assert error.value.where == str(path)


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
def test_sixteen_bits_are_refused_and_never_skipped(pixels, tmp_path, decoder):
    path = tmp_path / "1.png"
    Image.fromarray(np.asarray(pixels.convert("L")).astype(np.uint16) * 257).save(path)
    with pytest.raises(UserError, match="more than 8 bits a channel") as error:
        open_picture(File("train/a/1.png", 0, path, WHOLE, 1), decoder)
    assert not isinstance(error.value, Corrupt)


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
def test_sixteen_bits_of_three_colours_are_refused_too(tmp_path, decoder):
    rows, header = bytes(49) * 8, struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts]
    with pytest.raises(UserError, match="more than 8 bits a channel") as error:
        decoded(b"\x89PNG\r\n\x1a\n" + b"".join(chunks), tmp_path / "1.png", decoder)
    assert not isinstance(error.value, Corrupt)


def test_a_torchvision_without_its_decoder_breaks_no_image(pixels, tmp_path, monkeypatch):
    monkeypatch.delattr("torchvision.io.decode_jpeg")
    with pytest.raises(UserError, match="decoder: pil") as error:
        decoded(KINDS["RGB"](pixels), tmp_path / "1.jpg", "torchvision")
    assert not isinstance(error.value, Corrupt)


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
def test_modern_augmentation_at_a_training_resolution_is_that_of_the_tars(tree, tmp_path, decoder):
    modern = recipe(augment=("resized-crop", "flip", "trivial"), train_resolution=48)
    plain = recipe(augment=("resized-crop", "flip"), train_resolution=48)
    tars = pack_val(tree, pack_train(tree, tmp_path / "tars"))
    streams = [
        [x for x, _ in open_images(folder(root, decoder=decoder), kind, "cpu", root.parent).batches(3, 1, 0)]
        for root, kind in ((tree, modern), (tars, modern), (tree, plain))
    ]
    assert streams[0][0].shape == (8, 3, 48, 48)
    assert all(torch.equal(a, b) for a, b in zip(*streams[:2], strict=True))
    assert not torch.equal(streams[0][0], streams[2][0])


def test_a_file_that_can_not_be_read_is_no_corrupt_image(copy):
    images = open_at(copy, corrupt="skip")
    images.train[0].path.unlink()
    with pytest.raises(UserError, match="can't read this image: No such file"):
        list(images.batches(0, 0, 0))


def in_place(root, number):
    return sorted((root / "train" / WNIDS[1]).iterdir())[number]


def test_a_broken_training_image_stops_by_default_and_plainly(copy):
    in_place(copy, 3).write_bytes(b"broken")
    with pytest.raises(UserError, match="can't decode this image") as error:
        list(open_at(copy).batches(0, 0, 0))
    assert error.value.where == str(in_place(copy, 3)) and "Traceback" not in str(error.value)


def test_a_broken_member_of_a_tar_is_named(copy, tmp_path):
    in_place(copy, 3).write_bytes(b"broken")
    tars = pack_val(copy, pack_train(copy, tmp_path / "tars"))
    with pytest.raises(UserError, match="can't decode") as error:
        list(open_at(tars).batches(0, 0, 0))
    tar, name = tars / "ILSVRC2012_img_train.tar", in_place(copy, 3).relative_to(copy)
    assert error.value.where == f"{tar}: {name}"


def skipped(root, epoch=0):
    """Labels and images of an epoch, in the order of the data set, and the broken ones' names."""
    images = open_at(root, corrupt="skip")
    plain = images._fit.picture
    return [np.asarray(plain(index)[0]) for index in range(images.train_images)], images


def test_a_broken_training_image_gives_way_to_the_next_of_its_class(copy):
    whole, _ = skipped(copy)
    for number in (3, 4, 7):
        in_place(copy, number).write_bytes(b"broken")
    now, images = skipped(copy)
    first = 8  # of the second class
    stands_for = {first + 3: first + 5, first + 4: first + 5, first + 7: first}
    for index, picture in enumerate(now):
        assert np.array_equal(picture, whole[stands_for.get(index, index)])
    list(images.batches(0, 0, 0))
    names = {in_place(copy, number).relative_to(copy).as_posix() for number in (3, 4, 7)}
    assert images.broken == names


def test_every_other_image_of_the_epoch_stays_as_it_was(copy):
    before = torch.cat([x for x, _ in open_at(copy, corrupt="skip").batches(0, 0, 0)])
    in_place(copy, 0).write_bytes(b"broken")
    after = torch.cat([x for x, _ in open_at(copy, corrupt="skip").batches(0, 0, 0)])
    assert (before != after).flatten(1).any(1).sum() == 1


def test_a_class_of_broken_images_stops(copy):
    for path in (copy / "train" / WNIDS[1]).iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(UserError, match=f"no image of train/{WNIDS[1]} can be decoded"):
        list(open_at(copy, corrupt="skip").batches(0, 0, 0))


def test_a_broken_test_image_always_stops(copy):
    path = next((copy / "val" / WNIDS[1]).iterdir())
    path.write_bytes(b"broken")
    with pytest.raises(UserError, match="can't decode this image") as error:
        list(open_at(copy, corrupt="skip").evaluation())
    assert error.value.where == str(path)


def test_an_empty_class_is_refused(copy):
    shutil.rmtree(copy / "train" / WNIDS[1])
    (copy / "train" / WNIDS[1]).mkdir()
    with pytest.raises(UserError, match=f"{WNIDS[1]}: a class without images"):
        open_at(copy)


@pytest.fixture
def tars(tree, tmp_path):
    return pack_val(tree, pack_train(tree, tmp_path / "tars"))


@pytest.fixture
def disk(tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATION_STAGE", str(tmp_path / "disk"))
    return tmp_path / "disk"


def test_tars_are_copied_once_and_read_from_there(tars, disk, monkeypatch, capsys):
    with monkeypatch.context() as without:
        without.delenv("ABLATION_STAGE")
        plain = open_at(tars)
    images = open_at(tars)
    assert {file.path.parent.parent for file in images.train + images.held_out} == {disk}
    assert (images.digest, images.source, images.warnings) == (plain.digest, plain.source, [])
    for (x, _), (x2, _) in zip(images.evaluation(), plain.evaluation(), strict=True):
        assert torch.equal(x, x2)
    capsys.readouterr()
    open_at(tars)
    assert not capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_that_ask_at_once_copy_once(tars, disk):
    import subprocess
    import sys

    code = "import sys; from pathlib import Path; from ablation.image_folder.stage import stage; "
    code += "stage([Path(sys.argv[1])], Path(sys.argv[2]))"
    command = [sys.executable, "-c", code, str(tars / "ILSVRC2012_img_train.tar"), str(disk)]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert "".join(said).count("copying") == 1
    assert len(list(disk.rglob("*.tar"))) == 1


def test_a_copy_that_is_not_whole_is_made_again(tars, disk):
    path = open_at(tars).train[0].path
    os.truncate(path, 100)
    list(open_at(tars).batches(0, 0, 0))
    assert path.stat().st_size == (tars / "ILSVRC2012_img_train.tar").stat().st_size


def test_without_room_tars_are_read_where_they_lie_with_a_warning(tars, disk, monkeypatch):
    monkeypatch.setattr(stage, "SPARE", 1 << 60)
    images = open_at(tars)
    assert images.train[0].path.parent == tars and "GB free" in images.warnings[0]


def test_a_disk_that_fills_up_is_a_warning_and_leaves_no_part(tars, disk, monkeypatch):
    def full(source, target):
        target.write_bytes(b"part")
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    images = open_at(tars)
    assert images.train[0].path.parent == tars and "No space left" in images.warnings[0]
    assert not list(disk.rglob("*.part"))


def test_a_tree_is_not_copied_and_says_so(tree, disk):
    assert "only tars are copied" in open_at(tree).warnings[0]


@pytest.mark.parametrize("decoder", ["pil", "torchvision"])
def test_bytes_until_the_device_are_the_floats_of_torchvisions_own_way(tree, decoder):
    images, plain = open_at(tree, decoder=decoder), []
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (images.dataset.facts.mean, images.dataset.facts.std))
    for file in images.held_out:
        picture = T.center_crop(T.resize(open_picture(file, decoder), [73], antialias=True), [64])
        pixels = picture if decoder == "torchvision" else T.pil_to_tensor(picture)
        plain.append((T.to_dtype(pixels, torch.float32, scale=True) - mean) / std)
    shown = torch.cat([x for x, _ in images.evaluation()])
    assert torch.equal(shown, torch.stack(plain)) and shown.is_contiguous(memory_format=torch.channels_last)
