"""The designs of a space as Parquet holds them: a row a design, its name, its costs, how far it is off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ablation.design import TEMPLATES, Design
from ablation.space import MEASURES, Chunk, Integers, Space

if TYPE_CHECKING:
    from pyarrow import Array, Table


def to_table(space: Space, chunk: Chunk, inside: Any) -> Table:
    """A chunk as a table; `inside` is a mask, or one answer for all. Errors are relative, null where not stated."""
    import pyarrow as pa

    columns: dict[str, Any] = {"name": names(space.budget.base, chunk)}
    columns["blocks"] = pa.FixedSizeListArray.from_arrays(chunk.blocks.T.ravel(), len(space.blocks))
    for name in ("cardinality", "width", *MEASURES):
        columns[name] = pa.array(np.asarray(getattr(chunk, name), dtype=np.int64))
    for name in ("params", "macs"):
        target = getattr(space.budget, name)
        errors = None if target is None else (getattr(chunk, name) - target) / target
        columns[f"{name}_error"] = pa.nulls(len(chunk), pa.float64()) if errors is None else pa.array(errors)
    columns["inside"] = pa.array(np.broadcast_to(inside, len(chunk)))
    return pa.table(columns)


def names(base: Design, chunk: Chunk) -> Array:
    """`Design.name` of each: blocks and shapes are few beside designs, so each of those is spelled once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    spans = [(int(counts.min()), np.ptp(counts) + 1) if len(counts) else (0, 1) for counts in chunk.blocks]
    offset = [counts - low for counts, (low, _) in zip(chunk.blocks, spans, strict=True)]
    blocks = pa.array(np.ravel_multi_index(offset, [span for _, span in spans])).dictionary_encode()
    distinct = np.unravel_index(blocks.dictionary.to_numpy(), [span for _, span in spans])
    depth, rest = _around(base, np.stack([own + low for own, (low, _) in zip(distinct, spans, strict=True)]))
    wider = int(chunk.width.max(initial=0)) + 1
    shapes = pa.array(chunk.cardinality * wider + chunk.width).dictionary_encode()
    spelled = [f"_{paths}x{width}d" for paths, width in (divmod(code, wider) for code in shapes.dictionary.to_pylist())]
    family = pc.if_else(pa.array(chunk.cardinality == 1), "resnet", "resnext")
    parts = depth.take(blocks.indices), pa.array(spelled, pa.string()).take(shapes.indices), rest.take(blocks.indices)
    return pc.binary_join_element_wise(family, *parts, "")


def _around(base: Design, blocks: Integers) -> tuple[Array, Array]:
    """For each column of blocks what stands before C and d in a name, and after."""
    import pyarrow as pa
    import pyarrow.compute as pc

    usual = np.zeros(blocks.shape[1], bool)
    for template in TEMPLATES.values():
        if len(template.blocks) == len(blocks):
            usual |= (blocks == np.array(template.blocks)[:, None]).all(0)
    counts = [pa.array(count).cast(pa.string()) for count in blocks]
    spelled = pc.if_else(pa.array(usual), "", pc.binary_join_element_wise("_blocks", *counts, "-"))
    own = "_blocks-" + "-".join(map(str, base.blocks))
    kind = base.with_width(1).name.partition("x1d")[2].removeprefix(own)  # of form and shortcut, which all share
    return pa.array(3 * blocks.sum(0) + 2).cast(pa.string()), pc.binary_join_element_wise(spelled, kind, "")
