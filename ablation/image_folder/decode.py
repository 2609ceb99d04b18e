"""Bytes of an image file -> pixels."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ablation.errors import UserError, first_line
from ablation.image_folder.files import File

Picture = Image.Image | Tensor
"""RGB, 8 bits: from PIL, or a tensor (3, height, width)."""
JPEG = b"\xff\xd8"
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM")
"""What may be in an image file, whatever its name says. PIL reads more, and starts Ghostscript for some of it."""
LARGEST = 178_956_970
"""Pixels, of an image of 13,377 x 13,377: what PIL takes at most, and so both decoders."""


class Corrupt(UserError):
    """An image that can't be decoded."""


def decode_pil(data: bytes) -> Image.Image:
    """By PIL, as stored: EXIF's rotation is not applied, transparency is dropped."""
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
        _check_size(*image.size)
        if image.mode.startswith(("I", "F")) or any("16" in str(tile.args) for tile in image.tile):
            raise UserError(f"more than 8 bits a channel (mode {image.mode})")  # of RGB, PIL would drop the lower 8
        return image.convert("RGB")


def decode_torchvision(data: bytes) -> Tensor:
    """By torchvision where it is a JPEG: the same pixels, resized sooner. Others by PIL.

    Raises UserError where this torchvision has no decoder.
    """
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
    except ImportError:
        raise UserError("this torchvision decodes no JPEG", remedy="Set `decoder: pil` in the dataset.") from None
    from torchvision.transforms.v2.functional import pil_to_tensor

    if not data.startswith(JPEG):
        return pil_to_tensor(decode_pil(data))
    _check_size(*jpeg_size(data))
    return decode_jpeg(torch.from_numpy(np.frombuffer(bytearray(data), np.uint8)), mode=ImageReadMode.RGB)


@cache
def _formats() -> list[str]:
    """What this PIL reads of `FORMATS`."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(width: int, height: int) -> None:
    """Raises ValueError where an image is damaged or a bomb: so many pixels that decoding it would fill the memory."""
    if width * height > LARGEST:
        raise ValueError(f"{width}x{height} pixels: no image is so large")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height as a JPEG's frame header says; the largest product where several do, (0, 0) where none does."""
    found, at = [(0, 0)], 2
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 9:
        mark = data[at + 1]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            found.append((int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])))
        if mark == 0xDA and len(found) > 1:
            break
        bare = mark in (0x00, 0x01, 0xFF) or 0xD0 <= mark <= 0xD9
        at += 1 if bare else 2 + int.from_bytes(data[at + 2 : at + 4])
    return max(found, key=lambda size: size[0] * size[1])


DECODERS: dict[str, Callable[[bytes], Picture]] = {"pil": decode_pil, "torchvision": decode_torchvision}


def open_picture(file: File, decoder: str) -> Picture:
    """An image's pixels.

    Raises Corrupt where its bytes are no image; UserError where they can't be had, or have more than 8 bits a channel:
    neither is the image's own fault, and neither is skipped.
    """
    try:
        data = file.read()
    except OSError as error:
        remedy = "Mend the disk or the path; the run goes on from its checkpoint."
        raise UserError(f"can't read this image: {error.strerror}", where=file.where, remedy=remedy) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, of a decoder's future: no fault of the image
            return DECODERS[decoder](data)
    except UserError as error:
        raise UserError(error.message, where=file.where, remedy=error.remedy or "Write it with 8 bits.") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them into
        raise Corrupt(f"can't decode this image: {first_line(error)}", where=file.where, remedy="Replace it.") from None
