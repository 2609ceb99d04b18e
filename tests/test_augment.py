"""Erasing and mixing whole batches: what happens to pixels and labels, and that ranks see parts of one batch."""

import pytest
import torch

from ablation.augment import AREA, BatchAugmentation, augmentation, rectangles
from ablation.recipe import Recipe, recipe_fields

ALL = slice(0, 32)


def recipe(**changes):
    return Recipe.model_validate(recipe_fields({"base": "fashion", "batch": 32, "norm_batch": 8, **changes}))


def batch(share=ALL):
    random = torch.Generator().manual_seed(0)
    images = torch.rand(32, 2, 20, 24, generator=random) + 1
    labels = torch.arange(32) % 5
    return images[share].to(memory_format=torch.channels_last), labels[share]


def augmented(share=ALL, step=3, seed=0, **changes):
    return BatchAugmentation(recipe(**changes), 7, seed, share)(batch(share), step)


BOTH = {"mixup": 0.4, "cutmix": 1.0, "erasing": 0.5}


def test_a_recipe_without_any_costs_nothing():
    assert augmentation(recipe(), 7, 0, ALL) is None
    assert augmentation(recipe(erasing=0.1), 7, 0, ALL) is not None


def test_shares_of_a_batch_are_the_batch():
    whole = augmented(**BOTH)
    parts = [augmented(share, **BOTH) for share in (slice(0, 8), slice(8, 32))]
    for index in (0, 1):
        assert torch.equal(torch.cat([part[index] for part in parts]), whole[index])


def test_draws_depend_on_the_seed_and_the_step_alone():
    first = augmented(**BOTH)[0]
    assert torch.equal(first, augmented(**BOTH, lr=0.9)[0])
    assert not torch.equal(first, augmented(**BOTH, step=4)[0])
    assert not torch.equal(first, augmented(**BOTH, seed=1)[0])


def test_memory_stays_channels_last_and_the_batch_as_it_was():
    given, (images, _) = batch(), augmented(**BOTH)
    assert images.is_contiguous(memory_format=torch.channels_last)
    BatchAugmentation(recipe(**BOTH), 7, 0, ALL)(given, 3)
    assert torch.equal(given[0], batch()[0])


def test_erasing_leaves_one_rectangle_of_the_mean_colour():
    images, labels = augmented(erasing=1.0)
    assert torch.equal(labels, batch()[1])
    for image, before in zip(images, batch()[0], strict=True):
        gone = image == 0
        assert torch.equal(gone[0], gone[1]) and torch.equal(image[~gone], before[~gone])
        rows, columns = gone[0].any(1), gone[0].any(0)
        assert gone[0].sum() == rows.sum() * columns.sum()
        assert AREA[0] * 0.7 < gone[0].float().mean() < AREA[1] * 1.2


def test_as_many_images_are_erased_as_asked():
    erased = [(augmented(erasing=0.25, step=step)[0] == 0).flatten(1).any(1).float().mean() for step in range(40)]
    assert sum(erased) / 40 == pytest.approx(0.25, abs=0.04)


def test_rectangles_lie_inside_and_one_that_never_fits_is_none():
    boxes = rectangles(torch.rand(500, 10, 4), 9, 30)
    top, left, height, width = boxes.unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 9).all() and (left + width <= 30).all()
    assert (height < 9).all() and (width < 30).all()
    assert (rectangles(torch.ones(2, 10, 4), 9, 30) == 0).all()


def partners(values):
    """Each image's partner: its neighbour within its norm_batch."""
    return values.view(4, 8, *values.shape[1:]).roll(1, 1).flatten(0, 1)


def test_mixup_blends_images_and_labels_by_one_weight_a_group():
    (images, labels), (before, classes) = augmented(mixup=0.4), batch()
    hot = torch.nn.functional.one_hot(classes, 7).float()
    weights = (labels - partners(hot)).flatten(1).norm(dim=1) / (hot - partners(hot)).flatten(1).norm(dim=1)
    each = weights.view(4, 8)
    assert torch.allclose(each, each[:, :1].expand(4, 8), atol=1e-5) and len(each[:, 0].unique()) == 4
    w = weights.view(-1, 1, 1, 1)
    torch.testing.assert_close(images, w * before + (1 - w) * partners(before), atol=1e-5, rtol=1e-5)


def test_cutmix_takes_every_pixel_from_one_of_two_and_the_label_is_their_areas():
    (images, labels), (before, classes) = augmented(cutmix=1.0), batch()
    other = partners(before)
    own = (images == before).all(1)
    assert (own | (images == other).all(1)).all()
    share = own.float().mean((1, 2))
    hot = torch.nn.functional.one_hot(classes, 7).float()
    expected = share[:, None] * hot + (1 - share[:, None]) * partners(hot)
    torch.testing.assert_close(labels, expected, atol=1e-5, rtol=1e-5)
    assert (~own).any()


def test_with_both_each_group_gets_one_of_them():
    cut = torch.zeros(0)
    for step in range(30):
        images, _ = augmented(mixup=0.4, cutmix=1.0, step=step)
        own, other = (images == batch()[0]).all(1), (images == partners(batch()[0])).all(1)
        cut = torch.cat([cut, (own | other).flatten(1).all(1).view(4, 8)[:, 0].float()])
    assert 0.35 < cut.mean() < 0.65
