"""All simulations, each a function of the number of studies; the number of seeds or the like beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from calibration import effects, images, nulls
from calibration.promise import Promise


@dataclass(frozen=True)
class Simulation:
    """One simulation under one condition."""

    run: Callable[[int, Any], list[Promise]]
    condition: Any
    times: float = 1
    """For the tests: how many times 1,000 studies, so that chance alone stays well inside the bounds."""

    def __call__(self, studies: int) -> list[Promise]:
        return self.run(studies, self.condition)

    @property
    def name(self) -> str:
        condition = "-".join(map(str, self.condition)) if isinstance(self.condition, tuple) else self.condition
        return f"{self.run.__name__}-{condition}"


SEEDS = (3, 5, 10)
SIMULATIONS = (
    *(Simulation(run, n, times=4) for run in (nulls.contrasts, nulls.pairs, nulls.axes_and_line) for n in SEEDS),
    *(Simulation(nulls.recipes, n, times=2) for n in (3, 5)),
    *(Simulation(nulls.margin, n, times=2) for n in SEEDS),
    *(Simulation(nulls.looks, planned, times=2) for planned in ((3, 5, 10), (5, 10))),
    *(Simulation(nulls.unequal, n) for n in (5, 10)),
    *(
        Simulation(run, n, times=3)
        for run in (effects.one_arm, effects.paired, effects.axes, effects.line)
        for n in SEEDS
    ),
    *(Simulation(effects.planned, resolve, times=3) for resolve in (0.2, 0.4)),
    Simulation(effects.shapes, 10, times=0.3),
    *(Simulation(effects.faint_shapes, n, times=0.5) for n in (5, 10)),
    *(Simulation(run, n) for run in (images.new_images, images.beta_images) for n in SEEDS),
    *(Simulation(images.repeats, n) for n in (3, 10)),
    *(Simulation(images.populations, n) for n in (10, 50)),
)
