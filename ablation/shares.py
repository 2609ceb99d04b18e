"""How the images of an optimiser step are shared among ranks: whole batch-norm groups, as even as they come."""

from __future__ import annotations

from itertools import pairwise

from ablation.errors import UserError


def even(items: int, ranks: int) -> list[slice]:
    """`items` things in a row as one slice a rank; the first ranks get one more where they do not divide."""
    each, more = divmod(items, ranks)
    ends = [0]
    for rank in range(ranks):
        ends.append(ends[-1] + each + (rank < more))
    return [slice(start, stop) for start, stop in pairwise(ends)]


def shares(batch: int, norm_batch: int | None, ranks: int) -> list[slice]:
    """Which images of a batch each rank trains on: contiguous, whole groups of `norm_batch`.

    Raises UserError where there are fewer groups than ranks: a batch norm's images can't be split.
    """
    groups = _groups(batch, norm_batch)
    if groups < ranks:
        size = norm_batch or batch
        raise UserError(
            f"{ranks} processes can't share a batch of {batch}: batch norm sees {size} images at a time, "
            f"which makes {groups} group{'s' * (groups > 1)}",
            remedy=f"Ask for at most {groups} process{'es' * (groups > 1)} a run (nodes x gpus, or x tasks), "
            "or lower norm_batch in the recipe, which makes another arm.",
        )
    size = batch // groups
    return [slice(size * part.start, size * part.stop) for part in even(groups, ranks)]


def waiting(batch: int, norm_batch: int | None, ranks: int) -> str | None:
    """What is lost where ranks do not divide the groups; None where they do."""
    groups = _groups(batch, norm_batch)
    most, idle = -(-groups // ranks), -groups % ranks
    if not idle:
        return None
    return (
        f"{groups} batch-norm groups on {ranks} processes: {idle} of them wait{'s' * (idle == 1)} for one group in "
        f"every step, {idle / (most * ranks):.0%} of the time paid for; numbers of processes that divide {groups} "
        "do not wait"
    )


def micro_batches(share: slice, micro: int) -> list[slice]:
    """The images of a share as slices of `micro` each, the last one smaller where they do not divide."""
    return [slice(at, min(at + micro, share.stop)) for at in range(share.start, share.stop, micro)]


def check_micro_batch(micro: int | None, batch: int, norm_batch: int | None) -> None:
    """Raises UserError where so many images at a time would split a batch-norm group."""
    size = norm_batch or batch
    if micro is not None and micro % size:
        raise UserError(
            f"micro_batch {micro} splits batch norm's groups of {size} images",
            remedy=f"Set resources.micro_batch to a multiple of {size}, or leave it out.",
        )


def _groups(batch: int, norm_batch: int | None) -> int:
    return batch // norm_batch if norm_batch else 1
