"""What each measure is called, and its unit: the one place that figures, tables and sentences read."""

from __future__ import annotations

from dataclasses import dataclass

_COUNTS = ((1e9, 1e9, "billions"), (1e6, 1e6, "millions"), (1e3, 1e3, "thousands"))
_TIMES = ((3 * 3600.0, 3600.0, "hours"), (3 * 60.0, 60.0, "minutes"))
"""From which largest value on, divided by what, and what that unit is called."""


@dataclass(frozen=True)
class Label:
    """The words for one measure."""

    name: str
    """In a sentence or beside an axis."""
    short: str = ""
    """At the head of a column; empty: the name."""
    unit: str = ""
    units: tuple[tuple[float, float, str], ...] = ()
    """Larger units, for values that need them."""

    @property
    def head(self) -> str:
        """At the head of a column."""
        return (self.short or self.name) + (f", {self.unit}" if self.unit == "%" else "")

    def axis(self, largest: float = 0.0) -> tuple[float, str]:
        """What to divide values up to `largest` by, and what then stands beside their axis: `MACs (billions)`."""
        for least, scale, unit in self.units:
            if largest >= least:
                return scale, f"{self.name} ({unit})"
        return 1.0, f"{self.name} ({self.unit})" if self.unit else self.name


LABELS = {
    "top1_error": Label("top-1 error", unit="%"),
    "top5_error": Label("top-5 error", unit="%"),
    "train_error": Label("training error", unit="%"),
    "params": Label("parameters", "params", units=_COUNTS),
    "macs": Label("MACs", units=_COUNTS),
    "activations": Label("activations", units=_COUNTS),
    "memory": Label("memory", unit="GB"),
    "block_params": Label("parameters of a block", "block params", units=_COUNTS),
    "seconds": Label("wall time of a run", "time", "seconds", _TIMES),
    "time": Label("time"),
    "cardinality": Label("cardinality C", "C"),
    "width": Label("width d", "d"),
    "group_width": Label("width of all paths C·d", "C·d"),
    "epoch": Label("epoch"),
    "difference": Label("difference", unit="points"),
    "published": Label("published", unit="%"),
}
"""By the key that frames, sweeps and records use."""
