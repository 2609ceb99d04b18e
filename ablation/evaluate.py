"""The network on every evaluation image, exactly once, whatever the number of ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablation.data import Images, Subset, evaluation_batches
from ablation.dataset import Dataset
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

    def to_dict(self) -> dict[str, Any]:
        """What `result.json` holds of it."""
        kept = ("top1_error", "top5_error", "loss", "class_errors")
        return {**{key: getattr(self, key) for key in kept}, "images": len(self.correct)}


Seen = tuple[float, int, np.ndarray, np.ndarray]
"""Of a batch: summed loss, top-5 hits, (images,) whether the first guess was right, (images,) labels."""


@dataclass(frozen=True)
class View:
    """How a further evaluation differs from the usual one."""

    resolution: int | None = None
    """Pixels a side; None: the data set's."""
    subset: Subset | None = None
    """The network chooses among these classes, and only their images count; None: all."""


USUAL = View()


def evaluate(
    network: nn.Module, images: Images, execution: Execution, classes: int, group: Group, view: View = USUAL
) -> Evaluation:
    """The same numbers on every rank: each takes whole batches, and they are put together in the data set's order."""
    share = even(evaluation_batches(images), group.world)[group.rank]
    parts = group.gather(_look(network, images, execution, share, view))
    seen = [batch for part in parts for batch in part]
    right, labels = np.concatenate([s[2] for s in seen]), np.concatenate([s[3] for s in seen])
    count = view.subset.images if view.subset else images.evaluation_images
    if len(right) != count:
        raise RuntimeError(f"evaluated {len(right)} of {count} images")
    return Evaluation(
        sum(s[0] for s in seen) / count,
        percent(count - right.sum(), count),
        percent(count - sum(s[1] for s in seen), count),
        right,
        class_errors(right, labels, classes),
    )


def further(
    network: nn.Module, images: Images, execution: Execution, dataset: Dataset, group: Group
) -> dict[str, Evaluation]:
    """What the data set asks for beside its usual evaluation, by name."""
    return {
        name: evaluate(
            network, images, execution, dataset.classes, group, View(asked.resolution, images.subsets.get(name))
        )
        for name, asked in dataset.evaluations.items()
    }


@torch.inference_mode()
def _look(network: nn.Module, images: Images, execution: Execution, share: slice, view: View) -> list[Seen]:
    network.eval()
    losses, counts, rights, truths = [], [], [], []
    for pixels, labels in images.evaluation(share, view.resolution):
        with execution.autocast():
            logits = network(execution.ready(pixels))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        asked, truth, labels = _among(view.subset, logits, labels)
        losses.append(F.cross_entropy(asked, truth, reduction="sum"))
        hits = asked.topk(min(5, asked.shape[1])).indices == truth[:, None]
        counts.append(hits.any(1).sum())
        rights.append(hits[:, 0])
        truths.append(labels)
    return _read(losses, counts, rights, truths)


def _read(losses: list[Tensor], counts: list[Tensor], rights: list[Tensor], truths: list[Tensor]) -> list[Seen]:
    """What all batches left on the device, fetched at the end: no batch waits for the one before."""
    if not losses:
        return []
    sizes = [len(right) for right in rights]
    right, labels = (torch.cat(parts).cpu().split(sizes) for parts in (rights, truths))
    sums = zip(torch.stack(losses).tolist(), torch.stack(counts).tolist(), strict=True)
    return [(*both, r.numpy(), t.numpy()) for both, r, t in zip(sums, right, labels, strict=True)]


def _among(subset: Subset | None, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the subset's classes for the images that show them; those images' places among the classes; labels."""
    if subset is None:
        return logits, labels, labels
    classes = torch.tensor(subset.classes, device=labels.device)
    place = torch.full((logits.shape[1],), -1, device=labels.device)
    place[classes] = torch.arange(len(classes), device=labels.device)
    kept = place[labels] >= 0
    return logits[kept][:, classes], place[labels[kept]], labels[kept]


def class_errors(right: np.ndarray, classes: np.ndarray, count: int) -> list[float | None]:
    """Percent of each of `count` classes' images that were not `right`; both arrays have shape (images,)."""
    images = np.bincount(classes, minlength=count)
    wrong = np.bincount(classes[~right], minlength=count)
    return [percent(int(w), int(n)) if n else None for w, n in zip(wrong, images, strict=True)]


def percent(part: float, whole: int) -> float:
    """A part of a whole, in percent."""
    return 100 * float(part) / whole
