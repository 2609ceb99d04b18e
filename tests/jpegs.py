"""Real image files: Fashion-MNIST at 256 pixels, as an ImageFolder tree and as ILSVRC's tars."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from ablation.data import open_images
from ablation.dataset import Dataset
from ablation.recipe import Recipe, recipe_fields

WNIDS = ("n01440764", "n01443537", "n02085620")


def pictures(fashion: Path) -> dict[int, list[np.ndarray]]:
    """Images (28, 28), uint8, by label."""
    raw = np.frombuffer((fashion / "train-images-idx3-ubyte").read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer((fashion / "train-labels-idx1-ubyte").read_bytes(), np.uint8, offset=8)
    return {label: list(raw[labels == label]) for label in range(10)}


def write_tree(fashion: Path, root: Path, train: int = 8, val: int = 4, wnids=WNIDS) -> Path:
    """`train/WNID/` and `val/WNID/` of JPEG files whose longer side is 256 px or more, all of unlike sizes."""
    images = pictures(fashion)
    for label, wnid in enumerate(wnids):
        for index in range(train + val):
            part, name = ("train", f"{wnid}_{97 * index % 1009}") if index < train else ("val", _val_name(label, index))
            path = root / part / wnid / f"{name}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (256 + 8 * index, 240 + 4 * label)
            Image.fromarray(images[label][index]).resize(size, Image.Resampling.BICUBIC).convert("RGB").save(path)
    return root


def _val_name(label: int, index: int) -> str:
    return f"ILSVRC2012_val_{(31 * (10 * index + label)) % 997:08d}"


def pack_train(tree: Path, root: Path) -> Path:
    """ILSVRC2012_img_train.tar: a tar of class tars, neither classes nor files in order."""
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as whole:
        for folder in sorted((tree / "train").iterdir(), reverse=True):
            content = class_tar(sorted(folder.iterdir(), reverse=True))
            about = tarfile.TarInfo(f"{folder.name}.tar")
            about.size = len(content)
            whole.addfile(about, io.BytesIO(content))
    return root


def class_tar(files: list[Path]) -> bytes:
    """A tar of files, by their names alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            archive.add(path, path.name)
    return buffer.getvalue()


def pack_val(tree: Path, root: Path) -> Path:
    """ILSVRC2012_img_val.tar, flat, and val.txt."""
    files = sorted((tree / "val").glob("*/*"), key=lambda path: path.name, reverse=True)
    (root / "ILSVRC2012_img_val.tar").write_bytes(class_tar(files))
    (root / "val.txt").write_text("".join(f"{path.name} {path.parent.name}\n" for path in files))
    return root


def flatten_val(tree: Path, root: Path) -> Path:
    """`val/` with no class's folder, and val.txt: a class a line, in the order of names."""
    files = sorted((tree / "val").glob("*/*"), key=lambda path: path.name)
    (root / "val").mkdir(parents=True)
    for path in files:
        shutil.copy(path, root / "val" / path.name)
    (root / "val.txt").write_text("".join(f"{path.parent.name}\n" for path in files))
    return root


def folder(root: Path, **changes) -> Dataset:
    """The data set of a tree or of tars at `root`, below its parent."""
    fields = {"name": "folder", "path": root.name, "classes": 3, "resolution": 64, "validation": 6, **changes}
    return Dataset.model_validate(fields)


def recipe(**changes) -> Recipe:
    """Every augmentation, batches of 8."""
    augment = ("resized-crop", "flip", "jitter", "lighting")
    return Recipe.model_validate(
        recipe_fields({"base": "fashion", "batch": 8, "norm_batch": 8, "augment": augment, **changes})
    )


def open_at(root: Path, **changes):
    """The images at `root`."""
    return open_images(folder(root, **changes), recipe(), "cpu", root.parent)
