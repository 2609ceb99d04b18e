"""`plan --seeds`, `--resolve`, `--within`: what so many seeds tell apart, what that costs, and what can be paid."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.budget import Budget
from ablation.cost import memory
from ablation.errors import UserError
from ablation.plan.new_file import LARGE_RECIPE, RECIPES, usual_dataset
from ablation.solver import Clock

if TYPE_CHECKING:
    from ablation.recipe import Recipe


@dataclass(frozen=True)
class Noise:
    """The SD of top-1 error over seeds, in points, and how well it is known."""

    sd: float
    low: float
    high: float
    """Where the true SD lies with 95%; or what published studies range over."""
    source: str


_CIFAR = Noise(0.15, 0.08, 0.56, "published: CIFAR-10 0.08 (8x64d, 300 epochs), 0.15 (64 epochs), 0.56 (4 epochs)")
PRIORS = {
    "imagenet": Noise(0.15, 0.11, 0.18, "published: ResNets on ImageNet differ by 0.11 to 0.18 between seeds"),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "fashion_mnist": Noise(0.35, 0.09, 0.67, "measured: 2 epochs, five arms of 3 seeds, 0.09 to 0.67, 0.35 pooled"),
}
"""Points of top-1 error by data set, where no pilots are."""
IMAGES = {"imagenet": 1_281_167, "cifar10": 50_000, "cifar100": 50_000, "fashion_mnist": 60_000}
"""To train on."""
SCALES = (0.25, 0.5, 1.0, 2.0)
UNITS = {"m": 1 / 60, "h": 1.0, "d": 24.0}
BYTES = {"MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Seeds:
    """What was asked for."""

    seeds: str | None
    resolve: float | None
    pilots: Path | None
    within: str | None
    memory: str | None

    @property
    def anything(self) -> bool:
        """Whether anything was."""
        return any(value is not None for value in (self.seeds, self.resolve, self.within, self.memory, self.pilots))


def parse_hours(text: str) -> float:
    """`60h`, `90m`, `3d` as hours. Raises UserError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhd])", text.strip().lower())
    if not match or not float(match[1]):
        raise UserError(f"--within {text!r} is no time", remedy="Write it like 60h, 90m or 3d: of one device.")
    return float(match[1]) * UNITS[match[2]]


def parse_bytes(text: str) -> int:
    """`24GB` or `80GiB` as bytes. Raises UserError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG]I?B)", text.strip().upper())
    if not match or not float(match[1]):
        raise UserError(f"--memory {text!r} is no size", remedy="Write it like 24GB or 80GiB.")
    return round(float(match[1]) * BYTES[match[2]])


def plan_seeds(wanted: Seeds, budget: Budget, arms: int, clock: Clock | None) -> dict[str, Any]:
    """What `--json` holds under `evidence`. Raises UserError where something can't be read, or a time is needed."""
    _consistent(wanted)
    if arms < 2:
        raise UserError("one design has nothing to be compared with", remedy="Ask for several: --cardinality 1 2 4.")
    from analysis.pilots import noise_of

    noise = Noise(*noise_of(wanted.pilots)) if wanted.pilots else PRIORS[_dataset(budget)]
    answer: dict[str, Any] = {
        **{"arms": arms, "contrasts": arms - 1, "alpha": 0.05, "power": 0.8, "test": "two-sided t, SD pooled, Holm"},
        "noise": vars(noise),
    }
    if wanted.within:
        return answer | {"within": _within(wanted, budget, arms, noise, clock)}
    return answer | _seeds(wanted, budget, arms, noise, clock)


def _consistent(wanted: Seeds) -> None:
    """Raises UserError for options that would be ignored."""
    asked = [name for name in ("seeds", "resolve") if getattr(wanted, name) is not None]
    if wanted.within and asked:
        raise UserError(f"--{asked[0]} can't go with --within, which says the seeds itself", remedy="Leave one out.")
    if wanted.memory and not wanted.within:
        raise UserError("--memory says what fits with --within", remedy="Add --within 60h.")
    if wanted.pilots and not (wanted.within or asked):
        raise UserError("--pilots tells noise to plan with", remedy="Add --seeds auto --resolve 0.2, or --seeds 5.")
    if wanted.resolve is not None and wanted.seeds not in (None, "auto"):
        raise UserError("--resolve asks for seeds that --seeds already says", remedy="Leave one out.")


def _seeds(wanted: Seeds, budget: Budget, arms: int, noise: Noise, clock: Clock | None) -> dict[str, Any]:
    number = _number(wanted, arms, noise.sd)
    hours = _hours(budget, clock, usual_recipe(budget).epochs)
    few, many = (_number(wanted, arms, sd) for sd in (noise.low, noise.high))
    return {
        "seeds": number,
        "range": [few, many] if wanted.seeds in (None, "auto") else None,
        "resolves": resolved(noise.sd, number, arms) if number else None,
        "resolves_range": [resolved(sd, number, arms) for sd in (noise.low, noise.high)] if number else None,
        "runs": arms * number if number else None,
        "device_hours": arms * number * hours if number and hours else None,
    }


def _number(wanted: Seeds, arms: int, sd: float) -> int | None:
    """The seeds asked for, or those that resolve what is asked for; None where that takes too many to count."""
    from analysis.statistics import seeds_needed

    if wanted.seeds not in (None, "auto"):
        return _whole(str(wanted.seeds))
    if wanted.resolve is None:
        raise UserError("--seeds auto needs a difference", remedy="Say how many points: --resolve 0.2.")
    if not (math.isfinite(wanted.resolve) and wanted.resolve > 0):
        raise UserError(f"--resolve {wanted.resolve:g} must be above 0", remedy="It is in points of top-1 error: 0.2.")
    return seeds_needed(sd, wanted.resolve, arms=arms, contrasts=arms - 1)


def _whole(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise UserError(f"--seeds {text} must be auto or a whole number of at least 2", remedy="One seed has no noise.")
    return int(text)


def resolved(sd: float, seeds: int, arms: int) -> float:
    """The smallest true difference that so many seeds an arm resolve, in points."""
    from analysis.statistics import resolvable_difference

    return resolvable_difference(sd, seeds, seeds, arms * (seeds - 1), contrasts=arms - 1)


def _dataset(budget: Budget) -> str:
    """The data set that `--write` gives a panel of this budget."""
    base = budget.base
    image = {"channels": base.channels, "resolution": base.resolution, "classes": base.classes}
    return str(usual_dataset(image)["name"])


def usual_recipe(budget: Budget) -> Recipe:
    """The recipe that `--write` gives a panel of this budget."""
    from ablation.recipe import Recipe, recipe_fields

    return Recipe.model_validate(recipe_fields(RECIPES.get(_dataset(budget), LARGE_RECIPE)))


def _hours(budget: Budget, clock: Clock | None, epochs: int) -> float | None:
    """Of one run at the budget on the clock's device, evaluation not counted; None without a clock."""
    if clock is None:
        return None
    about = clock.about(budget.of)
    return budget.scale * about["seconds"] / about["batch"] * IMAGES[_dataset(budget)] * epochs / 3600


def _within(wanted: Seeds, budget: Budget, arms: int, noise: Noise, clock: Clock | None) -> list[dict[str, Any]]:
    """For multiples of the budget and of the recipe's epochs: the seeds that can be paid, and what they resolve."""
    assert wanted.within
    limit, recipe = parse_hours(wanted.within), usual_recipe(budget)
    if clock is None:
        raise UserError("--within needs times", remedy="Add --times here, or --times with a folder of runs.")
    rows = []
    for scale in SCALES:
        needs = _memory(budget, scale, recipe.batch)
        for epochs in sorted({recipe.epochs, max(1, recipe.epochs // 3)}, reverse=True):
            hours = scale * (_hours(budget, clock, epochs) or math.nan)
            seeds = int(limit / (arms * hours))
            fits = wanted.memory is None or needs is None or needs <= parse_bytes(wanted.memory)
            found = resolved(noise.sd, seeds, arms) if seeds > 1 and fits else None
            shape = {"scale": scale, "epochs": epochs, "hours_a_run": hours, "memory": needs, "fits": fits}
            rows.append({**shape, "seeds": seeds if fits else 0, "resolves": found})
    return rows


def _memory(budget: Budget, scale: float, batch: int) -> int | None:
    if budget.params is None or budget.activations is None:
        return None
    return int(memory(round(scale * budget.params), round(scale * budget.activations), batch))


def show_seeds(evidence: dict[str, Any], budget: Budget) -> None:
    """Print the answer."""
    answer = evidence["evidence"]
    noise = answer["noise"]
    known = f"{noise['low']:.3f} to {noise['high']:.3f}; {noise['source']}"
    print(f"Noise between seeds: SD {noise['sd']:.3f} points ({known}).")
    recipe = usual_recipe(budget).name
    if "within" in answer:
        _show_within(answer["within"], recipe)
        return
    if answer["seeds"] is None:
        print("More than 10,000 seeds would be needed: ask for a larger difference.")
        return
    few_many = f" ({answer['range'][0]} to {answer['range'][1]} over that range)" if answer["range"] else ""
    low, high = answer["resolves_range"]
    print(
        f"{answer['seeds']} seeds an arm{few_many}, {answer['runs']} runs, resolve {answer['resolves']:.2g} points "
        f"({low:.2g} to {high:.2g}) between any of {answer['contrasts']} arms and the baseline, with 80% power "
        f"({answer['test']})."
    )
    hours = answer["device_hours"]
    cost = f"{hours:.3g} device-hours of training by the recipe {recipe}" if hours else "not priced: add --times"
    print(f"Their cost: {cost}. The true SD decides: plan again when pilots are in (--pilots runs/...).")


def _show_within(rows: list[dict[str, Any]], recipe: str) -> None:
    from rich.table import Table

    from ablation.plan.table import print_table

    table = Table(title=f"What can be paid, by the recipe {recipe}", title_justify="left")
    for heading in ("budget", "epochs", "hours a run", "memory", "seeds an arm", "resolves, points"):
        table.add_column(heading, justify="right")
    for row in rows:
        size = f"{row['memory'] / 1e9:.3g} GB" if row["memory"] else "-"
        seeds = str(row["seeds"]) if row["fits"] else "too large"
        found = f"{row['resolves']:.2g}" if row["resolves"] else "-"
        table.add_row(f"{row['scale']:g}x", str(row["epochs"]), f"{row['hours_a_run']:.3g}", size, seeds, found)
    print_table(table)
    print("The noise is taken to be the same throughout; shorter training is noisier. Evaluation is not in the hours.")
