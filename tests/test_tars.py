"""ILSVRC's tars read in place are the tree that unpacking them gives."""

import gzip
import io
import os
import shutil
import tarfile

import pytest
import torch
from jpegs import WNIDS, class_tar, flatten_val, open_at, pack_train, pack_val, write_tree

from ablation.errors import UserError


@pytest.fixture(scope="session")
def tree(small_fashion, tmp_path_factory):
    return write_tree(small_fashion, tmp_path_factory.mktemp("tars") / "tree")


@pytest.fixture
def tars(tree, tmp_path):
    return pack_val(tree, pack_train(tree, tmp_path / "tars"))


def streams(images):
    """What a run sees of them: an epoch, and the evaluation."""
    return [tensor for batch in (*images.batches(3, 1, 0), *images.evaluation()) for tensor in batch]


def same(images, others):
    assert (images.digest, images.train_images) == (others.digest, others.train_images)
    assert all(torch.equal(a, b) for a, b in zip(streams(images), streams(others), strict=True))
    return True


def test_tars_give_the_streams_of_the_tree(tree, tars):
    assert same(open_at(tree), open_at(tars))


def test_class_tars_and_flat_files_give_the_streams_of_the_tree(tree, tmp_path):
    root = flatten_val(tree, tmp_path / "mixed")
    for kind in (tree / "train").iterdir():
        (root / "train").mkdir(exist_ok=True)
        (root / "train" / f"{kind.name}.tar").write_bytes(class_tar(list(kind.iterdir())))
    assert same(open_at(tree), open_at(root))


def test_a_validation_split_is_that_of_the_tree_and_needs_no_test_images(tree, tars):
    (tars / "ILSVRC2012_img_val.tar").unlink()
    split = {"evaluate": "validation"}
    assert same(open_at(tree, **split), open_at(tars, **split))


def test_headers_are_read_once(tars, capsys):
    first = open_at(tars).digest
    assert capsys.readouterr().err.count("reading the headers") == 2
    assert open_at(tars).digest == first
    assert not capsys.readouterr().err
    assert (tars / "ILSVRC2012_img_train.tar.index").read_text().count("\n") == 1 + 24


def test_a_folder_that_can_not_be_written_leaves_the_index_in_the_cache(tars, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("train", "val"):
        (tars / f"ILSVRC2012_img_{name}.tar.index").mkdir()
    open_at(tars)
    assert len(list((tmp_path / "cache").rglob("*.index"))) == 2
    capsys.readouterr()
    open_at(tars)
    assert not capsys.readouterr().err


def test_a_tar_that_changed_is_read_again(tree, tars, tmp_path):
    before = open_at(tars).digest
    other = shutil.copytree(tree, tmp_path / "other")
    (other / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG").unlink()
    pack_train(other, tars)
    images = open_at(tars)
    assert images.digest != before and images.train_images == 23


@pytest.mark.parametrize("damage", [b"", b"{}\n0\tn01440764", b"\xff\xfe"])
def test_a_damaged_index_is_made_anew(tree, tars, damage):
    open_at(tars)
    index = tars / "ILSVRC2012_img_train.tar.index"
    whole = index.read_bytes()
    for bad in (damage, whole[:-9], whole.replace(b"\t", b"\t9", 2)):
        index.write_bytes(bad)
        assert open_at(tars).digest == open_at(tree).digest
        assert index.read_bytes() == whole


def member(name, content=b"", **fields):
    about = tarfile.TarInfo(name)
    about.size = len(content)
    for field, value in fields.items():
        setattr(about, field, value)
    return about, content


def a_tar(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for about, content in members:
            archive.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


def header(name, size, kind=tarfile.REGTYPE):
    about = tarfile.TarInfo(name)
    about.size, about.type = size, kind
    return about.tobuf(tarfile.GNU_FORMAT)


IMAGE = member("1.jpg", b"x" * 600)
BAD = {
    "a way out": (a_tar(member("../1.jpg", b"x")), "no name of a file below"),
    "an absolute path": (a_tar(member("/etc/1.jpg", b"x")), "no name of a file below"),
    "a line break": (a_tar(member("1\n2.jpg", b"x")), "no name of a file below"),
    "a link": (a_tar(member("1.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")), "a link"),
    "a hard link": (a_tar(IMAGE, member("2.jpg", type=tarfile.LNKTYPE, linkname="1.jpg")), "a link"),
    "a device": (a_tar(member("1.jpg", type=tarfile.CHRTYPE)), "special file"),
    "twice": (a_tar(IMAGE, IMAGE), "stands twice"),
    "cut in an image": (a_tar(IMAGE)[:900], "reaches beyond the tar's end"),
    "cut after an image": (a_tar(IMAGE)[:1536], "no end mark"),
    "a damaged header": (a_tar(IMAGE)[:1536] + b"y" * 1024, "damaged or cut short"),
    "an absurd size": (header("1.jpg", 1 << 40) + bytes(2048), "reaches beyond the tar's end"),
    "an absurd long name": (header("././@LongLink", 1 << 30, tarfile.GNUTYPE_LONGNAME), "a header of"),
    "compressed": (gzip.compress(a_tar(IMAGE)), "gunzip"),
    "no image": (a_tar(member("readme.txt", b"x")), "a class without images"),
    "nothing": (b"", "not a plain, whole tar"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_a_class_tar_that_is_not_sound_is_refused_and_named(tars, content, words):
    good = a_tar(IMAGE)
    inner = {"n01.tar": good, "n02.tar": content, "n03.tar": good}
    whole = a_tar(*(member(name, data) for name, data in inner.items()))
    (tars / "ILSVRC2012_img_train.tar").write_bytes(whole)
    with pytest.raises(UserError) as error:
        open_at(tars)
    assert words in str(error.value) and "n02.tar" in str(error.value)


def test_an_image_of_absurd_size_is_refused(tars, monkeypatch):
    monkeypatch.setattr("ablation.image_folder.tar.LARGEST", 500)
    with pytest.raises(UserError, match="bytes: no image is so large"):
        open_at(tars)


def test_a_training_tar_of_anything_but_class_tars_is_refused(tars):
    (tars / "ILSVRC2012_img_train.tar").write_bytes(a_tar(IMAGE))
    with pytest.raises(UserError, match=r"'1\.jpg' is not a class's tar"):
        open_at(tars)


def test_a_tar_that_is_cut_while_it_is_read_is_named(tars):
    images = open_at(tars)
    os.truncate(tars / "ILSVRC2012_img_val.tar", 5000)
    with pytest.raises(UserError, match="shorter than its index says"):
        list(images.evaluation())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [f"{line} tench" for line in lines], "'tench' is not among the training classes"),
        (lambda lines: [line.replace(WNIDS[1], "65") for line in lines], "65 is a number, and kits number"),
        (lambda lines: [line.split()[1] for line in lines][:-1], "11 labels for 12 images"),
        (lambda lines: [*lines[:-1], lines[0]], "stands twice"),
        (lambda lines: ["ILSVRC2012_val_0.JPEG n01440764", *lines[1:]], "is not among the images"),
        (lambda lines: [lines[0].split()[1], *lines[1:]], "two kinds of lines"),
        (lambda lines: [line.replace(WNIDS[1], "n0") for line in lines], "'n0' is not among the training classes"),
        (lambda lines: [], "an empty list"),
    ],
)
def test_a_list_of_labels_that_is_not_understood_is_refused_with_its_place(tars, change, words):
    lines = (tars / "val.txt").read_text().splitlines()
    (tars / "val.txt").write_text("\n".join(change(lines)))
    with pytest.raises(UserError, match=words) as error:
        open_at(tars)
    assert error.value.where.startswith(str(tars / "val.txt"))


def test_flat_images_without_a_list_are_refused(tars):
    (tars / "val.txt").unlink()
    with pytest.raises(UserError, match=r"which class each of 12 images shows is not said: no list .*val\.txt"):
        open_at(tars)


def test_a_class_list_picks_classes_and_the_test_set_may_have_fewer(tree, tars, tmp_path):
    few = shutil.copytree(tree, tmp_path / "few")
    shutil.rmtree(few / "val" / WNIDS[2])
    for root in (few, pack_val(few, tars)):
        (root / "classes.txt").write_text(f"{WNIDS[2]}\n\n{WNIDS[0]}\n")
        listed = {"class_list": "classes.txt", "classes": 2, "evaluate": "validation", "validation": 2}
        images = open_at(root, **listed)
        assert images.train_images == 14 and {file.label for file in images.train} == {0, 1}
    shutil.rmtree(few / "val" / WNIDS[1])
    images = open_at(few, class_list="classes.txt", classes=2)
    assert torch.cat([labels for _, labels in images.evaluation()]).tolist() == [0] * 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n01440764\n", "1 classes, not 2"),
        ("n01440764\nn09\n", "class 'n09' of .* is not there"),
        ("n01440764\nn01440764\n", "stands in line 1 too"),
        ("n01440764\n../up\n", "is no class name"),
    ],
)
def test_a_class_list_that_does_not_fit_is_refused(tree, tmp_path, text, words):
    root = shutil.copytree(tree, tmp_path / "tree")
    (root / "classes.txt").write_text(text)
    with pytest.raises(UserError, match=words):
        open_at(root, class_list="classes.txt", classes=2)


def test_test_images_of_a_class_that_is_not_listed_are_refused(tree, tmp_path):
    root = shutil.copytree(tree, tmp_path / "tree")
    (root / "classes.txt").write_text("\n".join(WNIDS[:2]))
    with pytest.raises(UserError, match=f"class '{WNIDS[2]}' is not among the training classes"):
        open_at(root, class_list="classes.txt", classes=2)
