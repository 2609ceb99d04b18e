"""The paper's numbers, as they are printed."""

import pytest

from ablation.cost import cost
from ablation.design import design_from_name
from ablation.errors import UserError
from analysis.published import comparable, published, published_value, select


def test_every_table_is_there():
    assert sorted({row.table for row in published()}) == ["3", "4", "5", "6", "7", "8", "residual"]


def test_table_3_in_its_order():
    errors = [row.value for row in select(table="3")]
    assert errors == [23.9, 23.0, 22.6, 22.3, 22.2, 22.0, 21.7, 21.4, 21.3, 21.2]


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        ({"table": "4", "design": "resnet101_1x100d", "metric": "top5_error"}, 5.7),
        ({"table": "residual", "design": "resnext50_32x4d", "setting": "without shortcut"}, 26.1),
        ({"table": "5", "arm": "Inception-v4", "setting": "299", "metric": "top1_error"}, 20.0),
        ({"table": "6", "design": "resnext50_32x4d", "setting": "1K-way", "metric": "top1_error"}, 24.4),
        ({"table": "7", "design": "resnext29_8x64d", "dataset": "cifar100"}, 17.77),
        ({"table": "8", "design": "resnext101_32x4d", "metric": "ap"}, 30.0),
        ({"design": "resnext50_32x4d", "dataset": "imagenet", "metric": "top1_error", "setting": "224"}, 22.2),
    ],
)
def test_lookup(wanted, value):
    assert published_value(**wanted) == value


def test_every_design_has_a_name_that_can_be_built():
    names = {row.design for row in published() if row.design}
    assert [name for name in names if design_from_name(name).name != name] == []


def test_table_7s_parameters_are_ours_rounded():
    for row in select(table="7", metric="params"):
        if row.design:
            assert cost(design_from_name(row.design)).params == pytest.approx(row.value, abs=1e5)


def test_tables_agree_where_they_overlap():
    seen: dict[tuple, float] = {}
    for row in published():
        if row.design and row.dataset == "imagenet" and row.setting in ("224", "with shortcut"):
            assert seen.setdefault((row.design, row.metric), row.value) == row.value


@pytest.mark.parametrize("wanted", [{"design": "resnext50_16x7d"}, {"table": "3"}])
def test_none_or_several_numbers_are_an_error(wanted):
    with pytest.raises(UserError, match="published numbers for"):
        published_value(**wanted)


def test_an_unknown_field_is_an_error():
    with pytest.raises(UserError, match="Did you mean design"):
        select(desing="x")


def test_only_the_papers_data_sets_are_comparable():
    assert comparable("imagenet") and comparable("cifar10")
    assert not comparable("fashion_mnist") and not comparable("coco")
