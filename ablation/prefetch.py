"""Batches made ready on a GPU beside the step under way, on a stream of their own."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ablation.data import Batch


def beside(batches: Iterator[Batch], device: str) -> Iterator[Batch]:
    """The same batches. On a GPU what makes them (copies from pinned memory, augmentation) runs while the step before
    does; on the CPU they are passed on as they come."""
    if device != "cuda":
        yield from batches
        return
    side, main = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(main)  # the data set was put there by it
    while True:
        with torch.cuda.stream(side):
            batch = next(batches, None)
        if batch is None:
            return
        main.wait_stream(side)
        for tensor in batch:
            tensor.record_stream(main)  # its memory is not given away before the step has read it
        yield batch
