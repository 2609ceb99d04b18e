"""The network on every evaluation image, exactly once, whatever the number of ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ablation.data import Images, evaluation_batches
from ablation.distributed import Group
from ablation.execution import Execution
from ablation.shares import even


@dataclass
class Evaluation:
    """The network on every evaluation image."""

    loss: float
    top1_error: float
    top5_error: float
    correct: np.ndarray
    """(images,), bool: which ones the first guess got right."""
    class_errors: list[float | None]
    """Top-1 error over the images of each class; None of a class without images."""


Seen = tuple[float, int, np.ndarray, np.ndarray]
"""Of a batch: summed loss, top-5 hits, (images,) whether the first guess was right, (images,) labels."""


def evaluate(network: nn.Module, images: Images, execution: Execution, classes: int, group: Group) -> Evaluation:
    """The same numbers on every rank: each takes whole batches, and they are put together in the data set's order."""
    share = even(evaluation_batches(images), group.world)[group.rank]
    parts = group.gather(_look(network, images, execution, share))
    seen = [batch for part in parts for batch in part]
    right, labels = np.concatenate([s[2] for s in seen]), np.concatenate([s[3] for s in seen])
    count = images.evaluation_images
    if len(right) != count:
        raise RuntimeError(f"evaluated {len(right)} of {count} images")
    return Evaluation(
        sum(s[0] for s in seen) / count,
        percent(count - right.sum(), count),
        percent(count - sum(s[1] for s in seen), count),
        right,
        class_errors(right, labels, classes),
    )


@torch.inference_mode()
def _look(network: nn.Module, images: Images, execution: Execution, share: slice) -> list[Seen]:
    network.eval()
    seen = []
    for pixels, labels in images.evaluation(share):
        with execution.autocast():
            logits = network(pixels.to(execution.dtype))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = F.cross_entropy(logits, labels, reduction="sum").item()
        hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        seen.append((loss, int(hits.any(1).sum()), hits[:, 0].cpu().numpy(), labels.cpu().numpy()))
    return seen


def class_errors(right: np.ndarray, classes: np.ndarray, count: int) -> list[float | None]:
    """Percent of each of `count` classes' images that were not `right`; both arrays have shape (images,)."""
    images = np.bincount(classes, minlength=count)
    wrong = np.bincount(classes[~right], minlength=count)
    return [percent(int(w), int(n)) if n else None for w, n in zip(wrong, images, strict=True)]


def percent(part: float, whole: int) -> float:
    """A part of a whole, in percent."""
    return 100 * float(part) / whole
