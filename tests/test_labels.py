"""Every measure has one name and one unit, which suits its size."""

import pytest

from analysis.labels import LABELS


@pytest.mark.parametrize(
    ("key", "largest", "scale", "axis"),
    [
        ("seconds", 10, 1, "wall time of a run (seconds)"),
        ("seconds", 600, 60, "wall time of a run (minutes)"),
        ("seconds", 90_000, 3600, "wall time of a run (hours)"),
        ("params", 33_930, 1e3, "parameters (thousands)"),
        ("macs", 4.1e9, 1e9, "MACs (billions)"),
        ("activations", 999, 1, "activations"),
        ("top1_error", 20, 1, "top-1 error (%)"),
    ],
)
def test_an_axis_has_a_unit_that_suits_its_values(key, largest, scale, axis):
    assert LABELS[key].axis(largest) == (scale, axis)


def test_heads_of_columns_are_short_and_say_percent():
    assert [LABELS[key].head for key in ("params", "cardinality", "macs", "published")] == [
        *("params", "C", "MACs", "published, %")
    ]
