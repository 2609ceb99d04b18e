"""Studies that were begun before a field was added go on: their runs keep their ids."""

from pathlib import Path
from typing import ClassVar

import pytest

from ablation.stated import Stated
from ablation.sweep import load_sweep

SWEEPS = Path(__file__).parent.parent / "sweeps"


class Paint(Stated):
    later: ClassVar[frozenset[str]] = frozenset({"gloss"})
    colour: str = "red"
    gloss: float = 0.0


def test_a_later_field_is_stated_where_it_says_something():
    assert Paint().model_dump() == {"colour": "red"}
    assert Paint(gloss=0.5).model_dump(mode="json") == {"colour": "red", "gloss": 0.5}
    assert Paint(gloss=0.5).model_dump(exclude={"gloss"}) == {"colour": "red"}
    assert Paint.model_validate(Paint(gloss=0.5).model_dump()) == Paint(gloss=0.5)


@pytest.mark.parametrize(
    ("sweep", "first", "last"),
    [
        ("table3", "resnet50_1x64d-s0-f30fc97f7b", "resnext101_32x4d-s2-cc2740f245"),
        ("fashion_mnist", "resnet11_1x8d-s0-9e3113e219", "resnext11_6x2-4-9d-s2-91058c0502"),
        ("fashion_mnist_learning_rate", "resnet11_1x8d-s0-0caa284c5b", "resnext11_6x2-4-9d-s0-3bfb1a2139"),
    ],
)
def test_runs_of_engine_version_1_keep_their_ids(sweep, first, last):
    runs = load_sweep(SWEEPS / f"{sweep}.yaml").runs()
    assert (runs[0].id, runs[-1].id) == (first, last)
