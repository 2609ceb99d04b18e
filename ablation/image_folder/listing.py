"""Which images a data set has: in folders or in tars, the same names in the same order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.image_folder.files import WHOLE, Entry, File, is_image
from ablation.image_folder.index import open_index
from ablation.image_folder.lists import LABELS, read_classes, read_labels
from ablation.image_folder.tar import class_tars_in, images_in

TRAIN_TARS = ("ILSVRC2012_img_train.tar", "train.tar")
VAL_TARS = ("ILSVRC2012_img_val.tar", "val.tar")


@dataclass(frozen=True)
class Listing:
    """One part of a data set (train, val): its classes, and the images of each."""

    where: Path
    classes: Collection[str]
    entries: Callable[[str], list[Entry]]
    """The images of a class, in order; none where it has none."""


def train_files(root: Path, dataset: Dataset) -> tuple[list[str], list[File]]:
    """Sorted class names, and the training images, class by class. Raises UserError."""
    listing = train_listing(root, dataset)
    names = class_names(root, dataset, listing)
    return names, _files("train", listing, names, empty=False)


def val_files(root: Path, dataset: Dataset, classes: list[str]) -> list[File]:
    """The validation images (which runs are tested on), class by class. Raises UserError.

    With a class list some classes may have none, as ImageNet-5K has ImageNet-1K's.
    """
    listing = val_listing(root, dataset, classes)
    strays = set(listing.classes) - set(classes)
    if strays:
        raise UserError(f"class {min(strays)!r} is not among the training classes", where=str(listing.where))
    return _files("val", listing, classes, empty=bool(dataset.class_list))


def class_names(root: Path, dataset: Dataset, listing: Listing) -> list[str]:
    """The classes to train on, sorted: all that are there, or those of the list. Raises UserError."""
    if not dataset.class_list:
        _count(len(listing.classes), dataset, listing.where)
        return sorted(listing.classes)
    path = root / dataset.class_list
    wanted = read_classes(path)
    _count(len(wanted), dataset, path)
    if missing := set(wanted) - set(listing.classes):
        raise UserError(f"class {min(missing)!r} of {path} is not there", where=str(listing.where))
    return wanted


def _count(found: int, dataset: Dataset, where: Path) -> None:
    if found != dataset.classes:
        remedy = "Mend that, or dataset.classes."
        raise UserError(f"{found} classes, not {dataset.classes}", where=str(where), remedy=remedy)


def _files(part: str, listing: Listing, names: list[str], *, empty: bool) -> list[File]:
    files: list[File] = []
    for label, name in enumerate(names):
        found = listing.entries(name)
        if not found and not empty:
            raise UserError("a class without images", where=str(listing.where / name))
        files += [entry.label(part, name, label) for entry in found]
    return files


def train_listing(root: Path, dataset: Dataset) -> Listing:
    """`train/CLASS/`, or `train/CLASS.tar`, or a tar of such tars. Raises UserError where none is there."""
    folder = root / "train"
    if folder.is_dir():
        tars = {path.stem: path for path in sorted(folder.glob("*.tar"))}
        return _tree(folder) if not tars or any(_subfolders(folder)) else _class_tars(folder, tars, root, dataset)
    return _indexed(_tar(root, TRAIN_TARS, "train", dataset), class_tars_in)


def val_listing(root: Path, dataset: Dataset, classes: list[str]) -> Listing:
    """`val/CLASS/`, or `val/` or a tar of files with the list `val.txt`. Raises UserError where none is there."""
    folder = root / "val"
    if not folder.is_dir():
        tar = _tar(root, VAL_TARS, "val", dataset)
        flat = [
            _flat(entry) for entry in open_index([tar], _beside(tar), partial(images_in, kind="")).classes.get("", [])
        ]
        return _labelled(tar, sorted(flat), root, classes)
    if any(_subfolders(folder)):
        return _tree(folder)
    flat = [Entry(entry.name, Path(entry.path), WHOLE, entry.stat().st_size) for entry in _images_of(folder)]
    return _labelled(folder, sorted(flat), root, classes)


def _flat(entry: Entry) -> Entry:
    return entry._replace(name=entry.name.rpartition("/")[2])


def _labelled(where: Path, entries: list[Entry], root: Path, classes: list[str]) -> Listing:
    """Files in no class's folder, with the list of their classes."""
    names = [entry.name for entry in entries]
    if not names or len(set(names)) < len(names):
        raise UserError("a file name stands twice" if names else "no images", where=str(where))
    if not (root / LABELS).exists():
        raise UserError(
            f"which class each of {len(names)} images shows is not said: no list {root / LABELS}",
            where=str(where),
            remedy="Write `FILENAME CLASS` on each line; docs/images.md tells how to make it from a kit's.",
        )
    found: dict[str, list[Entry]] = {}
    for entry, kind in zip(entries, read_labels(root / LABELS, names, set(classes)), strict=True):
        found.setdefault(kind, []).append(entry)
    return Listing(where, found.keys(), lambda name: found.get(name, []))


def _tree(folder: Path) -> Listing:
    return Listing(folder, list(_subfolders(folder)), lambda name: _walk(folder / name))


def _subfolders(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if entry.is_dir())


def _images_of(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if is_image(entry.name) and entry.is_file())


def _walk(folder: Path) -> list[Entry]:
    """Every image below a class's folder, those of folders in it too."""
    found: list[Entry] = []
    for base, _, _ in os.walk(folder):
        inside = os.path.relpath(base, folder)
        before = "" if inside == "." else f"{inside}/"
        found += [Entry(before + e.name, Path(e.path), WHOLE, e.stat().st_size) for e in _images_of(base)]
    return sorted(found, key=lambda entry: entry.name.split("/"))


def _class_tars(folder: Path, tars: dict[str, Path], root: Path, dataset: Dataset) -> Listing:
    """A tar for each class; of those, the ones that the list names."""
    wanted: Iterable[str] = read_classes(root / dataset.class_list) if dataset.class_list else tars
    used = [tars[name] for name in sorted(wanted) if name in tars]
    digest = hashlib.sha256("\n".join(tar.name for tar in used).encode()).hexdigest()[:8]
    beside = folder.with_name(f"{folder.name}.{digest}.index")
    index = open_index(used, beside, lambda tar: images_in(tar, tar.stem))
    return Listing(folder, tars.keys(), lambda name: index.classes.get(name, []))


def _indexed(tar: Path, read: Callable[[Path], Iterator[tuple[str, str, int, int]]]) -> Listing:
    index = open_index([tar], _beside(tar), read)
    return Listing(tar, index.classes.keys(), lambda name: index.classes.get(name, []))


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.index")


def _tar(root: Path, names: tuple[str, ...], part: str, dataset: Dataset) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise UserError(
        f"data set {dataset.name} not found: no folder {root / part}, and no {' or '.join(names)} beside it",
        remedy="Mend the data root; docs/images.md tells what may lie there.",
    )
