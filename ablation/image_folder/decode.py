"""Bytes of an image file -> pixels."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ablation.errors import UserError, first_line
from ablation.image_folder.files import File

Picture = Image.Image | Tensor
"""RGB, 8 bits: from PIL, or a tensor (3, height, width)."""
JPEG = b"\xff\xd8"


class Corrupt(UserError):
    """An image that can't be decoded."""


def decode_pil(data: bytes) -> Image.Image:
    """By PIL, as stored: EXIF's rotation is not applied, transparency is dropped."""
    with Image.open(io.BytesIO(data)) as image:
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
    return decode_jpeg(torch.from_numpy(np.frombuffer(bytearray(data), np.uint8)), mode=ImageReadMode.RGB)


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
