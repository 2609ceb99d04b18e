"""Recipes: schedules as functions of the step, and what is refused."""

import pytest

from ablation.recipe import RECIPES, Recipe, recipe_fields


def recipe(**changes):
    return Recipe.model_validate(recipe_fields({"base": "fashion", **changes}))


def test_steps_drop_by_gamma_after_each_milestone():
    paper = Recipe.model_validate(recipe_fields("imagenet-paper"))
    rates = [paper.lr_at(epoch * 10, 10) for epoch in (0, 29, 30, 60, 90, 99)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.0001, 0.0001])


def test_cosine_falls_from_the_peak_to_almost_zero():
    cosine = recipe(schedule="cosine", epochs=10, lr=0.4)
    assert cosine.lr_at(0, 10) == pytest.approx(0.4)
    assert cosine.lr_at(50, 10) == pytest.approx(0.2)
    assert 0 < cosine.lr_at(99, 10) < 0.001


def test_one_cycle_rises_to_the_peak_and_falls():
    cycle = recipe(epochs=2, lr=0.2, rise=0.25)
    rates = [cycle.lr_at(step, 100) for step in range(200)]
    assert max(rates) == pytest.approx(0.2)
    assert rates.index(max(rates)) in (49, 50)
    assert rates == sorted(rates[:50]) + sorted(rates[50:], reverse=True)
    assert rates[-1] > 0


def test_warm_up_climbs_from_zero():
    warm = recipe(schedule="constant", warmup_epochs=1, lr=0.1)
    assert [warm.lr_at(step, 4) for step in (0, 1, 3, 4)] == pytest.approx([0.025, 0.05, 0.1, 0.1])


def test_warm_up_climbs_from_a_part_of_the_rate():
    warm = recipe(schedule="constant", warmup_epochs=1, warmup_from=0.2, lr=0.1)
    assert [warm.lr_at(step, 4) for step in (0, 1, 3, 4)] == pytest.approx([0.04, 0.06, 0.1, 0.1])


def test_the_released_code_drops_two_epochs_earlier_than_the_paper():
    paper, code = (Recipe.model_validate(recipe_fields(f"cifar-{name}")) for name in ("paper", "code"))
    assert paper.milestones == (150, 225) and code.milestones == (148, 223)
    assert paper.model_copy(update={"milestones": (), "name": ""}) == code.model_copy(
        update={"milestones": (), "name": ""}
    )


def test_only_what_a_later_field_says_is_stated():
    usual, changed = recipe(), recipe(mixup=0.2, train_resolution=20)
    assert changed.model_dump().keys() - usual.model_dump().keys() == {"mixup", "train_resolution"}
    assert Recipe.model_validate(recipe_fields("imagenet-modern")).model_dump()["norm_weight_decay"] == 0.0


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_are_sound(name):
    assert Recipe.model_validate(recipe_fields(name)).name == name


def test_another_schedule_drops_the_milestones():
    assert Recipe.model_validate(recipe_fields({"base": "cifar-paper", "schedule": "cosine"})).milestones == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm_batch": 50}, "multiple of norm_batch"),
        ({"milestones": (1,)}, "milestones belong to schedule: steps"),
        ({"schedule": "steps", "milestones": (2, 1)}, "milestones must rise"),
        ({"lr": 0.0}, "greater than 0"),
        ({"lr": float("nan")}, "finite"),
        ({"augment": ("crop", "cutmix")}, "Input should be"),
        ({"repeats": 3}, "multiple of repeats"),
        ({"norm_batch": 1, "mixup": 0.2}, "one image has nothing to mix with"),
        ({"ema_decay": 1.0}, "less than 1"),
        ({"erasing": 1.5}, "less than or equal to 1"),
    ],
)
def test_unsound_recipes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe(**changes)
