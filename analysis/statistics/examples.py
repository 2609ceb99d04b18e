"""What the correctness bits of runs tell: the noise of seeds from two runs, and a difference for new images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .estimates import ALPHA, t_quantile


def sd_of_pair(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """SD of top-1 error over seeds, in percent points, from two runs' correctness, bool of shape (images,).

    100 x sqrt(share of images on which exactly one is right / (2 x images)): the SD if runs differ image by image
    independently. That is all of it for a network trained long; after a short training whole runs are better or worse
    than others too, and the number is a lower bound. Raises ValueError as `sd_of_runs` does.
    """
    return sd_of_runs(np.stack(_same_images(right_a, right_b)))


def sd_of_runs(right: ArrayLike) -> float:
    """As `sd_of_pair`, from the mean share over all pairs of an arm's runs; bool of shape (runs, images).

    NaN with fewer than two runs. Raises ValueError where the array has no images or another shape.
    """
    array = np.asarray(right, dtype=bool)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"correctness of shape {array.shape}; (runs, images) with at least one image is needed")
    runs, images = array.shape
    if runs < 2:
        return math.nan
    count = array.sum(axis=0)
    share = float(np.mean(count * (runs - count))) / (runs * (runs - 1) / 2)
    return 100 * math.sqrt(share / (2 * images))


@dataclass(frozen=True)
class ExampleInterval:
    """Error of `a` less that of `b` in percent points, for new images and new seeds. Undefined numbers are NaN."""

    difference: float
    low: float
    high: float
    """Ends of the interval that holds for other test images of the same kind, and other seeds."""
    seed_se: float
    """Standard error over seeds, on these images."""
    example_se: float
    """Standard error over images, for these seeds' mean."""
    df: float
    """Satterthwaite's degrees of freedom."""


def example_interval(right_a: ArrayLike, right_b: ArrayLike, alpha: float = ALPHA) -> ExampleInterval:
    """A difference's interval for new images and new seeds, from correctness, bool of shape (seeds, images) an arm.

    All runs see the same images, so seeds and images are crossed: the variance is that over images, plus that over
    seeds, less that of a single seed on a single image, which both contain (as for errors clustered two ways; Cameron,
    Gelbach and Miller 2011). It is never taken below the larger of the first two, so small studies err towards wide.
    Seeds of a and b are not paired. With one seed of an arm only `difference` and `example_se` are known: they compare
    two networks, not two architectures. Raises ValueError where the arms' images differ in number.
    """
    a, b = (np.atleast_2d(np.asarray(right, dtype=bool)) for right in (right_a, right_b))
    _check_images(a.shape, b.shape)
    if not (len(a) and len(b)):
        return ExampleInterval(*[math.nan] * 6)
    images, apart = a.shape[1], 100 * (b.mean(axis=0) - a.mean(axis=0))
    over_images = float(apart.var(ddof=1)) / images if images > 1 else math.nan
    (over_a, flips_a), (over_b, flips_b) = _seed_variance(a), _seed_variance(b)
    over_seeds = over_a + over_b
    total = max(over_images + over_seeds - flips_a - flips_b, over_images, over_seeds)
    difference, half, df = float(apart.mean()), math.nan, math.nan
    if math.isfinite(over_images + over_seeds) and total > 0:
        df = total**2 / (over_images**2 / (images - 1) + over_a**2 / (len(a) - 1) + over_b**2 / (len(b) - 1))
        half = t_quantile(1 - alpha / 2, df) * math.sqrt(total)
    return ExampleInterval(
        difference, difference - half, difference + half, math.sqrt(over_seeds), math.sqrt(over_images), df
    )


def _seed_variance(right: np.ndarray) -> tuple[float, float]:
    """Variance of an arm's mean error over its seeds, and the part of it that single images' flips make up."""
    seeds, images = right.shape
    if seeds < 2:
        return math.nan, math.nan
    errors = 100.0 * ~right
    means = errors.mean(axis=1)
    left = errors - errors.mean(axis=0) - means[:, None] + means.mean()
    flips = float(np.sum(left**2)) / ((seeds - 1) * max(images - 1, 1))
    return float(means.var(ddof=1)) / seeds, flips / (seeds * images)


def _same_images(right_a: ArrayLike, right_b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    _check_images(a.shape, b.shape)
    return a, b


def _check_images(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a[-1:] != b[-1:]:
        raise ValueError(f"correctness over {a[-1:]} and {b[-1:]} images; both must be over the same images")
