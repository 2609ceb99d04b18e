"""Designs and their names."""

from dataclasses import replace

import pytest

from ablation.design import TEMPLATES, Design, design_from_dict, design_from_name
from ablation.errors import UserError

NAMES = [
    "resnet50_1x64d",
    "resnext50_32x4d",
    "resnext101_64x4d",
    "resnext29_8x64d",
    "resnext11_6x2-4-9d",
    "resnext50_16x7-14-29-64d",
    "resnext50_32x4d_form-a",
    "resnet50_1x64d_shortcut-projection-only",
    "resnext50_32x4d_form-b_shortcut-none",
    "resnext50_4x3d_small-8",
    "resnext50_4x20d_kernel-5",
    "resnext50_4x2d_form-b_shortcut-none_kernel-7_small-8",
    "resnext50_8x2-4-7-14d_form-a_shortcut-projection-only_small-4",
    "resnext29_8x8d_small-8",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_the_design_that_has_it(name):
    assert design_from_name(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_design_survives_its_dictionary(name):
    design = design_from_name(name)
    assert design_from_dict(design.to_dict()) == design


def test_a_width_doubles_from_stage_to_stage():
    design = design_from_name("resnext50_32x4d")
    assert design.widths == (4, 8, 16, 32)
    assert design.group_widths == (128, 256, 512, 1024)
    assert design.doubles
    assert replace(design, widths=(4, 8, 16, 32)).shape == "32x4d"


def test_widths_that_double_written_out_are_the_same_design():
    assert design_from_name("resnext50_32x4-8-16-32d") == design_from_name("resnext50_32x4d")


def test_a_bent_design_is_named_by_all_its_widths():
    design = design_from_name("resnext50_16x7-14-29-64d")
    assert design.widths == (7, 14, 29, 64)
    assert (design.doubles, design.width) == (False, "7-14-29-64")


@pytest.mark.parametrize("depth", sorted(TEMPLATES))
def test_a_template_has_the_depth_that_names_it(depth):
    assert TEMPLATES[depth].depth == depth


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alexnet", "unknown design 'alexnet'"),
        ("resnext51_32x4d", "unknown depth 51"),
        ("resnext50_32x4-8d", "one entry for each stage"),
        ("resnext50_0x4d", "cardinality must be a whole number of at least 1; got 0"),
        ("resnext50_32x0d", "widths must be whole numbers"),
        ("resnext50_32x4d_form-d", "unknown form 'd'"),
        ("resnext50_32x4d_shortcut-maybe", "unknown shortcut 'maybe'"),
    ],
)
def test_a_name_that_is_no_design_is_a_plain_error(name, said):
    with pytest.raises(UserError, match=said):
        design_from_name(name)


@pytest.mark.parametrize(
    "fields",
    [
        {"blocks": ()},
        {"blocks": (1, 1, 0)},
        {"widths": (4, 8, 1.5)},
        {"classes": 0},
        {"stem": "tiny"},
        {"stem": "small", "resolution": 27},
    ],
)
def test_a_design_that_cannot_be_is_a_plain_error(fields):
    sound = {"blocks": (1, 1, 1), "cardinality": 2, "widths": (4, 8, 16), "outputs": (16, 32, 64)}
    with pytest.raises(UserError):
        Design(**{**sound, **fields})
