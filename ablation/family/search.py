"""The solved knob: a search over whole numbers, with each count kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

from ablation.budget import Budget
from ablation.cost import BATCH, Cost
from ablation.errors import UserError, did_you_mean
from ablation.family.count import checked, price
from ablation.family.declare import Family, Knobs, spelled
from ablation.family.design import FamilyDesign, family_design
from ablation.family.load import source_of
from ablation.solver.clock import TIME, Clock, Timed, time_error, time_of
from ablation.solver.nearest import nearest
from ablation.solver.rule import MATCHES, TOLERANCE, Rule, amount, error_of

MEASURES = ("params", "macs", "activations")
RESIDUALS = (*MEASURES, "memory")
"""What errors are told of: memory follows from params and activations."""
MATCHED = ("params", "macs", "both", "activations", "memory")
"""The match rules that a family can follow; the paper's block is a `Design`'s."""
IGNORED = 12
"""Doublings of the knob, without any change of cost, after which the family is said to ignore it."""
MOST = 1 << 30


@dataclass(frozen=True)
class FamilySolution:
    """One row: a network of a family, its cost, and how far it is from the budget."""

    design: FamilyDesign
    cost: Cost
    budget: Budget
    admissible: bool
    """Whether the matched measures are inside the tolerance; else this is the nearest there is."""
    neighbours: tuple[tuple[int, dict[str, float | None]], ...]
    """The next smaller and the next larger value of the solved knob, with its errors by measure."""
    time: Timed | None = None
    """Of a training step, over the budget's own design's; None where no clock was given or it can't tell."""

    def error(self, measure: str, batch: int = BATCH) -> float | None:
        """How far one of `RESIDUALS`, or `time`, is from the budget, relative; None where that isn't known."""
        if measure == TIME:
            return time_error(self.time, self.budget) if self.time else None
        return error_of(self.budget, self.cost, measure, batch)


def family_rule(
    budget: Budget,
    match: str | None = None,
    tolerance: float = TOLERANCE,
    batch: int = BATCH,
    clock: Clock | None = None,
) -> Rule:
    """The match rule; by default both params and MACs, or what the budget states. Raises UserError."""
    stated = replace(budget, block_params=None)
    if match is not None and match not in (*MATCHED, TIME):
        raise UserError(f"a family can't be matched by {match!r}", remedy=did_you_mean(match, [*MATCHED, TIME]))
    return Rule.of(stated, match, tolerance, batch=batch, clock=clock)


def solve_family(
    family: Family,
    budget: Budget,
    knobs: Knobs,
    match: str | None = None,
    tolerance: float = TOLERANCE,
    image: dict[str, int] | None = None,
    batch: int = BATCH,
    clock: Clock | None = None,
) -> FamilySolution:
    """The network of the family that meets a budget with these knobs, by the knob it is solved for.

    Where there is none (a family of one size), that one, however far from the budget. Else the nearest whole number by
    `match` (one of `MATCHED`; memory of `batch` images; time as `clock` tells it), of two equally near the smaller; a
    multiple of the family's `multiple`. `image` (channels, resolution, classes) is the budget's own design's unless
    given. The answer's cost is counted on its network, and held against the closed form where there is one. Raises
    UserError where the network can't be built, or its cost does not grow with the knob.
    """
    family.check(knobs, free=True)
    rule, base = family_rule(budget, match, tolerance, batch, clock), budget.base
    size = family.images(image or {"channels": base.channels, "resolution": base.resolution, "classes": base.classes})
    search = Search(family, budget, replace(rule, match=_by_cost(rule, budget)), knobs, size)
    if family.solve is None:
        return _solution(search, rule, 1)
    value = search.nearest()
    if rule.match == TIME:
        value = _nearest_in_time(search, rule, value)
    return _solution(search, rule, value)


def _by_cost(rule: Rule, budget: Budget) -> str:
    """The rule to search by; where time is matched, what the search by time begins with."""
    return replace(budget, block_params=None).default_match if rule.match == TIME else rule.match


def _nearest_in_time(search: Search, rule: Rule, value: int) -> int:
    assert rule.clock and search.family.solve
    rule.clock.bounds(search.design(value), search.family.solve)

    def errors(n: int) -> list[float]:
        assert rule.clock
        timed = time_of(rule.clock, search.budget, search.design(n * search.step), near=True)
        return [time_error(timed, search.budget)]

    return nearest(errors, max(1, value // search.step)) * search.step


def _solution(search: Search, rule: Rule, value: int) -> FamilySolution:
    design, budget = search.design(value), search.budget
    timed = time_of(rule.clock, budget, design) if rule.match == TIME and rule.clock else rule.time(budget, design)
    missed = [time_error(timed, budget)] if rule.match == TIME and timed else search.errors(value)
    steps = (value - search.step, value + search.step) if search.family.solve else ()
    around = [near for near in steps if near > 0]
    return FamilySolution(
        design=design,
        cost=checked(search.family, search.at(value), search.image),
        budget=budget,
        admissible=max(map(abs, missed)) <= rule.tolerance,
        neighbours=tuple((near, search.all_errors(near)) for near in around if search.fits(near)),
        time=timed,
    )


@dataclass
class Search:
    """A search for the solved knob: doubling until the budget lies between two values, then halving between them."""

    family: Family
    budget: Budget
    rule: Rule
    knobs: Knobs
    image: dict[str, int]
    seen: dict[int, Cost] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """What the knob is a multiple of."""
        return self.family.step(self.knobs)

    @property
    def measures(self) -> tuple[str, ...]:
        """What is matched."""
        return MATCHES[self.rule.match]

    def at(self, value: int) -> Knobs:
        """All knobs, with the solved one at a value, where there is one."""
        return {**self.knobs, self.family.solve: value} if self.family.solve else dict(self.knobs)

    def design(self, value: int) -> FamilyDesign:
        """The network at a value of the solved knob."""
        return family_design(self.family.name, self.at(value), source_of(self.family.name), **self.image)

    def cost(self, value: int) -> Cost:
        """The cost at a value of the knob; held against those seen before. Raises UserError where it does not grow."""
        if value not in self.seen:
            self.seen[value] = price(self.family, self.at(value), self.image)
            self._must_grow()
        return self.seen[value]

    def amount(self, value: int, measure: str) -> int | None:
        """One measure at a value; None where the family's closed form doesn't give it."""
        found, batch = self.cost(value), self.rule.batch
        unknown = measure == "memory" and found.activations is None
        return None if unknown else amount(found, measure, batch)

    def errors(self, value: int) -> list[float]:
        """The relative errors of what is matched."""
        if self.amount(value, self.measures[-1]) is None:
            raise UserError(f"the closed form of {self.family.name} gives no activations", remedy="Add them.")
        found = [self.all_errors(value)[measure] for measure in self.measures]
        return [error for error in found if error is not None]

    def all_errors(self, value: int) -> dict[str, float | None]:
        """The relative error of every measure that is known; None elsewhere."""
        batch, price = self.rule.batch, self.cost(value)
        known = {measure: self.amount(value, measure) is not None for measure in RESIDUALS}
        return {m: error_of(self.budget, price, m, batch) if known[m] else None for m in RESIDUALS}

    def fits(self, value: int) -> bool:
        """Whether a neighbour can be built: that it can't is no fault of the answer."""
        try:
            self.cost(value)
        except UserError:
            return False
        return True

    def nearest(self) -> int:
        """The value whose largest absolute error is least; of two equally near, the smaller. Raises UserError."""
        low, high = self._bracket()
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if sum(self.errors(middle * self.step)) < 0 else (low, middle)
        tried = [n * self.step for n in (low, high) if n]
        return min(tried, key=lambda value: max(map(abs, self.errors(value))))

    def _bracket(self) -> tuple[int, int]:
        low, high = 0, 1
        while sum(self.errors(high * self.step)) < 0:
            low, high = high, 2 * high
            if high * self.step > MOST or (high >> IGNORED and self._constant()):
                self._refuse()
        if low == 0:
            self.cost(2 * self.step)  # the least is too large already: does it grow at all?
            if self._constant():
                self.cost((1 << IGNORED) * self.step)
            if self._constant():
                self._refuse()
        return low, high

    def _matched(self, value: int) -> list[int | None]:
        return [self.amount(value, measure) for measure in self.measures]

    def _constant(self) -> bool:
        return len({tuple(self._matched(value)) for value in self.seen}) == 1

    def _refuse(self) -> None:
        knob, first, last = self.family.solve, min(self.seen), max(self.seen)
        if not self._constant():
            raise UserError(
                f"{self.family.name} stays below the budget {self.budget.name} up to {knob}={last}",
                remedy="Ask for a smaller budget, or solve for another knob.",
            )
        raise UserError(
            f"{self.family.name} ignores its knob {knob}: {self._said(first)} at {knob}={first} and at {knob}={last}",
            remedy=f"Use {knob} in the network, or solve for another knob: @family(solve=...).",
        )

    def _must_grow(self) -> None:
        values, knob = sorted(self.seen), self.family.solve
        for one, two in pairwise(values):
            pairs = zip(self._matched(one), self._matched(two), strict=True)
            if any(a is not None and b is not None and b < a for a, b in pairs):
                raise UserError(
                    f"the cost of {self.family.name} does not grow with {knob}: {self._said(one)} at {knob}={one}, "
                    f"{self._said(two)} at {knob}={two}" + (f" ({spelled(self.knobs)})" if self.knobs else ""),
                    remedy="Solve for a knob that it grows with: @family(solve=...).",
                )

    def _said(self, value: int) -> str:
        return ", ".join(f"{n:,} {m}" for n, m in zip(self._matched(value), self.measures, strict=True))
