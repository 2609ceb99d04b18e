"""What training descends, and what a network guesses: of one network, or of several members that train side by side."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablation.execution import Execution


def forward(
    model: nn.Module, execution: Execution, images: Tensor, labels: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """The loss to descend and the logits of a batch, in fp32 or better; see `cross_entropy`."""
    with execution.autocast():
        logits = model(execution.ready(images))
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cross_entropy(logits, labels, label_smoothing), logits


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean over images; summed over members, so that each of them gets the gradient that it would get alone.

    `logits`: (images, classes), or (images, classes, members). `labels`: (images,), int64; or (images, classes), the
    part of each class in a mixed image.
    """
    if labels.is_floating_point():
        labels = labels.to(logits.dtype)
    if logits.ndim == 2:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    members = logits.shape[2]
    each = labels.unsqueeze(-1).expand(*labels.shape, members)
    return members * F.cross_entropy(logits, each, label_smoothing=label_smoothing)


def told(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """What is recorded of a pass: the loss, of members their mean; and the guesses, (images, classes), of members the
    log of their mean probability."""
    if logits.ndim == 2:
        return loss, logits
    members = logits.shape[2]
    return loss / members, logits.log_softmax(1).logsumexp(2) - math.log(members)


def truth(labels: Tensor) -> Tensor:
    """The label of each image, (images,): of a mixed one, that of its greater part."""
    return labels.argmax(1) if labels.is_floating_point() else labels
