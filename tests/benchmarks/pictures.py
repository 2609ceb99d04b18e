"""JPEGs of ImageNet's usual size whose content is like a photograph's, for lack of ImageNet.

Dead leaves: opaque ellipses of all sizes (radii by a power law, as objects at all distances have them) lie over each
other, each of one colour with a shading of its own; over them noise whose amplitude falls with frequency as in
photographs. Such pictures have a photograph's edges, textures and spectrum, which is what decoding time depends on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 500, 375
LEAVES = 1_500
QUALITY = 85
CLASSES = ("n01440764", "n01443537", "n02085620", "n02110185")


def write_pictures(root: Path, train: int, val: int) -> Path:
    """A tree in ILSVRC's layout, `train/CLASS/*.JPEG` and `val/CLASS/*.JPEG`, the same at every call."""
    made = leaves(np.random.default_rng(0))
    for part, count in (("train", train), ("val", val)):
        for index in range(count):
            kind = CLASSES[index % len(CLASSES)]
            path = root / part / kind / f"{kind}_{index:05d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            next(made).save(path, quality=QUALITY, subsampling="4:2:0")
    return root


def leaves(random: np.random.Generator) -> Iterator[Image.Image]:
    """Pictures, RGB, upright every fourth time."""
    index = 0
    while True:
        size = (HEIGHT, WIDTH) if index % 4 == 3 else (WIDTH, HEIGHT)
        grain = _grain(random, size)
        flat = np.asarray(_ellipses(random, size), np.float32)
        yield Image.fromarray((flat + grain).clip(0, 255).astype(np.uint8))
        index += 1


def _ellipses(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size)
    draw = ImageDraw.Draw(image)
    smallest, largest = 3.0, 150.0
    spread = random.random(LEAVES)
    radii = (smallest**-2 - spread * (smallest**-2 - largest**-2)) ** -0.5  # density falls with the radius cubed
    for radius in np.sort(radii)[::-1]:
        x, y = random.random(2) * size
        across, down = radius * random.uniform(0.6, 1.4, 2)
        colour = tuple(random.normal((120, 115, 105), 55).clip(0, 255).astype(int).tolist())
        draw.ellipse((x - across, y - down, x + across, y + down), fill=colour)
    return image


def _grain(random: np.random.Generator, size: tuple[int, int], strength: float = 14.0) -> np.ndarray:
    """(height, width, 3): noise of amplitude 1/frequency, nearly grey."""
    width, height = size
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height)))
    frequency[0, 0] = np.inf
    white = [np.fft.rfft2(random.normal(size=(height, width))) for _ in range(2)]
    planes = [np.fft.irfft2(spectrum / frequency, (height, width)) for spectrum in white]
    grey, colour = (strength * plane / plane.std() for plane in planes)
    return np.stack([grey + 0.2 * colour, grey, grey - 0.2 * colour], -1).astype(np.float32)
