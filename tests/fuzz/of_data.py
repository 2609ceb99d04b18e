"""Parsers of data sets: IDX files, trees, tars and their indexes, pictures, lists."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.mutate import WORDS, Case
from fuzz.parser import Parser
from PIL import Image

from ablation.dataset import Dataset
from ablation.errors import UserError
from ablation.image_folder import glance
from ablation.image_folder.decode import open_picture
from ablation.image_folder.files import WHOLE, File
from ablation.image_folder.index import open_index
from ablation.image_folder.listing import train_files, val_files
from ablation.image_folder.lists import read_classes, read_labels
from ablation.image_folder.tar import class_tars_in, images_in
from ablation.sources import read_small

FOLDER = {"name": "folder", "path": "set", "classes": 2, "resolution": 32, "validation": 1}
MIB = 1 << 20


def idx(shape: tuple[int, ...], data: bytes) -> bytes:
    """An IDX file of bytes."""
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + data


def set_up_idx(folder: Path) -> dict[str, bytes]:
    labels = bytes(range(10)) * 2
    files = {}
    for part, count in (("train", 20), ("t10k", 10)):
        files[f"{part}-images-idx3-ubyte"] = idx((count, 28, 28), bytes(count * 784))
        files[f"{part}-labels-idx1-ubyte"] = idx((count,), labels[:count])
    bomb = zlib.compressobj(9, wbits=31)
    part = bomb.compress(bytes(MIB))
    files["bomb"] = part + b"".join(bomb.compress(bytes(MIB)) for _ in range(300)) + bomb.flush()
    return files


def feed_idx(folder: Path, files: dict[str, bytes], case: Case) -> None:
    root = folder / "idx"
    root.mkdir(exist_ok=True)
    names = [name for name in files if name != "bomb"]
    victim = case.pick(names)
    for name in names:
        for path in (root / name, root / f"{name}.gz"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        data = files[name]
        if name == victim:
            data = _hostile_idx(files, name, case)
        zipped = case.kind % 2 and name == victim
        (root / (f"{name}.gz" if zipped else name)).write_bytes(data)
    train, test, _ = read_small("fashion_mnist", root)
    for pixels in (train, test):
        assert pixels.images.ndim == 4 and len(pixels.images) == len(pixels.labels)
        assert int(pixels.labels.max()) < 10, "a label without a class"


def _hostile_idx(files: dict[str, bytes], name: str, case: Case) -> bytes:
    if case.kind == 1 and case.changes[0][0] == 9 and case.changes[0][2] < 16:
        return files["bomb"]
    data = case.data(files[name])
    if case.kind % 2:
        zipped = gzip.compress(data, 1)
        return case.data(zipped) if case.kind == 3 else zipped
    return data


def picture(kind: str = "JPEG", size: tuple[int, int] = (24, 20)) -> bytes:
    """A small image file."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(size[0] * size[1] * 3, dtype=np.uint8).reshape(*size, 3)).save(buffer, kind)
    return buffer.getvalue()


def set_up_pictures(folder: Path) -> list[bytes]:
    jpeg = picture()
    at = jpeg.index(b"\xff\xc0")
    giant = jpeg[: at + 5] + b"\xff\xf0\xff\xf0" + jpeg[at + 9 :]
    png = picture("PNG")
    giant_png = png[:16] + struct.pack(">II", 60000, 60000) + png[24:29]
    giant_png += struct.pack(">I", zlib.crc32(giant_png[12:])) + png[33:]
    webp, bmp = picture("WEBP"), picture("BMP")
    gif, tiff = picture("GIF"), picture("TIFF")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(canary) (w) file\n"
    return [jpeg, giant, png, giant_png, webp, bmp, gif, tiff, eps]


def feed_picture(folder: Path, files: list[bytes], case: Case) -> None:
    path = folder / "a.jpg"
    path.write_bytes(case.data(case.pick(files)) if case.kind else case.pick(files))
    for decoder in ("pil", "torchvision"):
        _open(path, decoder)


def _open(path: Path, decoder: str) -> None:
    with contextlib.suppress(UserError):
        open_picture(File("train/a/a.jpg", 0, path, WHOLE, path.stat().st_size), decoder)


def member(name: str, data: bytes = b"", **about: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A tar's member; `about` are fields of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in about.items():
        setattr(info, key, value)
    return info, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar of members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def set_up_tar(folder: Path) -> list[bytes]:
    jpeg = picture()
    plain = tar_of(member("a/x.jpg", jpeg), member("y.JPEG", jpeg))
    sparse = tar_of(member("x.jpg", b"", type=tarfile.GNUTYPE_SPARSE))
    return [
        plain,
        tar_of(member("n1.tar", plain), member("n2.tar", plain)),
        *(tar_of(member("x.jpg", type=kind, linkname="/etc/passwd")) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE)),
        *(tar_of(member("x.jpg", type=kind)) for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)),
        sparse,
        tar_of(member("x" * 300 + ".jpg", jpeg)),
        gzip.compress(plain),
    ]


def feed_tar(folder: Path, tars: list[bytes], case: Case) -> None:
    path = folder / "train.tar"
    if case.kind < 3:
        data = tar_of(member(case.word()[:200].encode("utf-8", "ignore").decode() + ".jpg", picture()))
    else:
        data = case.data(case.pick(tars))
    path.write_bytes(data)
    for read in (class_tars_in, lambda tar: images_in(tar, "n1")):
        with contextlib.suppress(UserError):
            for _, name, offset, size in read(path):
                assert offset >= 0 and offset + size <= len(data), "a member outside its tar"
                assert not name.startswith("/") and ".." not in name.split("/"), name


def set_up_index(folder: Path) -> tuple[bytes, list[bytes]]:
    path = folder / "train.tar"
    path.write_bytes(tar_of(member("x.jpg", picture()), member("y.jpg", picture())))
    index = open_index([path], folder / "train.tar.index", lambda tar: images_in(tar, "n1"))
    return index.path.read_bytes(), [path.read_bytes()]


def feed_index(folder: Path, shared: tuple[bytes, list[bytes]], case: Case) -> None:
    """An index file that was changed, its digest with it."""
    path, index = folder / "train.tar", folder / "train.tar.index"
    head, _, body = shared[0].partition(b"\n")
    body = case.data(body)
    about = json.loads(head) | {"sha256": hashlib.sha256(body).hexdigest()}
    index.write_bytes(json.dumps(about).encode() + b"\n" + body if case.kind != 5 else case.data(shared[0]))
    found = open_index([path], index, lambda tar: images_in(tar, "n1"))
    size = path.stat().st_size
    for entries in found.classes.values():
        assert all(entry.offset >= 0 and entry.offset + entry.size <= size for entry in entries)


SPECIAL = (
    "fifo",
    "device",
    "link to a device",
    "link out",
    "link to itself",
    "folder",
    "huge",
    "empty",
    "link to a folder",
)


def feed_tree(folder: Path, shared: Any, case: Case) -> None:
    """A tree of image files with one strange thing in it, somewhere."""
    root = folder / "set"
    shutil.rmtree(root, ignore_errors=True)
    for part in ("train", "val"):
        for kind in ("a", "b"):
            (root / part / kind).mkdir(parents=True)
            (root / part / kind / "x.jpg").write_bytes(shared)
    where = case.pick(("train/a", "train/a", "train/a", "val/a", "train", "val/b", "val", "."), 1)
    name = case.pick(("y.jpg", "c", *WORDS[:30]), 2) if case.kind < 3 else "y.jpg"
    plain = name.replace("/", "_").replace("\0", "_").encode("utf-8", "replace").decode() or "z"
    path = root / where / plain[:80]
    with contextlib.suppress(OSError):  # a name that is taken, or none
        _strange(case.pick(SPECIAL), path)
    dataset = Dataset.model_validate(FOLDER)
    names, train = train_files(root, dataset)
    for file in [*train, *val_files(root, dataset, names)]:
        with contextlib.suppress(UserError):
            open_picture(file, "pil")
    glance(dataset, folder)


def _strange(what: str, path: Path) -> None:
    make = {
        "fifo": lambda: os.mkfifo(path),
        "device": lambda: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5)),
        "link to a device": lambda: path.symlink_to("/dev/zero"),
        "link out": lambda: path.symlink_to("/etc/passwd"),
        "link to itself": lambda: path.symlink_to(path),
        "folder": lambda: path.mkdir(),
        "huge": lambda: _sparse(path),
        "empty": lambda: path.touch(),
        "link to a folder": lambda: path.symlink_to(".."),
    }
    make[what]()


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


LIST = b"n01440764\nn01443537\nn02085620\n"
LABELS = b"a.jpg n01440764\nb.jpg n01443537\n"


def feed_lists(folder: Path, shared: Any, case: Case) -> None:
    path = folder / "classes.txt"
    path.write_bytes(case.data(LIST if case.kind % 2 else LABELS))
    with contextlib.suppress(UserError):
        for name in read_classes(path):
            assert "/" not in name and name not in (".", "..") and "\0" not in name, name
    read_labels(path, ["a.jpg", "b.jpg"], {"n01440764", "n01443537"})


PARSERS = [
    Parser("idx", "IDX files, gzipped or not; gzip bombs", set_up_idx, feed_idx),
    Parser("pictures", "image files; giant dimensions", set_up_pictures, feed_picture),
    Parser("tars", "tars: links, devices, paths out", set_up_tar, feed_tar),
    Parser("index", "a tar's index, its digest forged", set_up_index, feed_index),
    Parser("tree", "folders: links, fifos, devices, huge files", lambda folder: picture(), feed_tree),
    Parser("lists", "class and label lists", lambda folder: None, feed_lists),
]
