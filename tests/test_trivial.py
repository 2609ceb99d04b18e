"""TrivialAugment: batches in memory are changed as torchvision changes single images."""

import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, TrivialAugmentWide

from ablation.trivial import CHANGES, PARTS, change, changed

THEIRS = TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)
KINDS = list(THEIRS._AUGMENTATION_SPACE)


def image(channels, side):
    random = torch.Generator().manual_seed(channels)
    coarse = torch.rand(1, channels, 7, 8, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (smooth * 200 + 20 + 20 * torch.rand(1, channels, side, side, generator=random)).to(torch.uint8)


def theirs(pixels, kind, strength, sign):
    strengths, signed = THEIRS._AUGMENTATION_SPACE[kind]
    found = strengths(len(PARTS), *pixels.shape[2:])
    magnitude = 0.0 if found is None else float(found[strength]) * (sign if signed else 1)
    options = {"interpolation": InterpolationMode.BILINEAR, "fill": THEIRS._fill}
    return THEIRS._apply_image_or_video_transform(pixels, kind, magnitude, **options)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32)])
def test_each_change_is_torchvisions_to_one_grey_level(kind, channels, side):
    pixels = image(channels, side)
    pixels[pixels == 51] = 52  # rounding decides whether Solarize's bound is beyond it
    pixels[(pixels == 102) | (pixels == 119)] = 120
    for strength in range(0, len(PARTS), 3):
        for sign in (1, -1):
            own = CHANGES[kind](pixels, PARTS[[strength]], torch.tensor([sign]))
            away = own.int() - theirs(pixels, KINDS[kind], strength, sign).int()
            assert own.dtype == torch.uint8 and away.abs().max() <= 1, (strength, sign)


def test_a_batch_is_changed_image_by_image():
    pixels = image(3, 32).permute(0, 2, 3, 1).expand(64, -1, -1, -1)
    found = changed(pixels, 0, "trivial", 1, share=slice(None), batch=64)
    assert found.shape == pixels.shape and len({tuple(one.flatten().tolist()) for one in found}) > 30
    parts = [changed(pixels[share], 0, "trivial", 1, share=share, batch=64) for share in (slice(0, 9), slice(9, 64))]
    assert torch.equal(torch.cat(parts), found)
    assert not torch.equal(found, changed(pixels, 0, "trivial", 2, share=slice(None), batch=64))


def test_an_image_is_changed_by_its_key_alone_and_no_other_stream_moves():
    picture = Image.fromarray(image(3, 32)[0].permute(1, 2, 0).numpy())
    before = torch.get_rng_state()
    found = [change(picture, 0, "trivial", at).tobytes() for at in range(12)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    assert found == [change(picture, 0, "trivial", at).tobytes() for at in range(12)]
    assert len(set(found)) > 6
