"""At which look a panel's runs are, what of it was registered: whether there may be a verdict, and on which seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablation.registration import Registration, content_of
from ablation.sweep import Panel, Sweep
from analysis.statistics import ALPHA, look_alphas


@dataclass(frozen=True)
class Look:
    """The seeds that a verdict reads, and the level that is left for it."""

    seeds: tuple[int, ...]
    alpha: float
    """Of this look; the sweep's over all of its looks."""
    number: int
    """1 is the first; 0: no look has all of its runs yet, so what is seen is interim."""
    of: int
    more: tuple[int, ...] = ()
    """Seeds that this look does not read: of a later look, or added after the registration."""

    @property
    def interim(self) -> bool:
        """Whether there may be no verdict yet."""
        return self.number == 0


def look_of(sweep: Sweep, pending: set[int], registered: Registration | None) -> Look:
    """The last look of a panel none of whose runs are pending; seeds added since the registration are in none.

    `pending` are the seeds of the panel's runs that may still finish.
    """
    seeds, looks = plan_of(sweep, registered)
    alphas = look_alphas(looks)
    for number in range(len(looks), 0, -1):
        own = seeds[: looks[number - 1]]
        if not pending & set(own):
            rest = tuple(seed for seed in sweep.seeds if seed not in own)
            return Look(own, alphas[number - 1], number, len(looks), rest)
    return Look(sweep.seeds, ALPHA, 0, len(looks))


def confirming(sweep: Sweep, pending: set[int], registered: Sequence[Registration]) -> Look | None:
    """The seeds that were added to the registered ones at first, all finished: they may confirm or refute.

    Once: seeds that were added later still would be another look at the same question, and are not read.
    """
    planned = plan_of(sweep, registered[0] if registered else None)[0]
    longer = next((later for later in registered[1:] if set(later.content["seeds"]) - set(planned)), None)
    wanted = sweep.seeds if longer is None else longer.content["seeds"]
    added = tuple(seed for seed in wanted if seed in sweep.seeds and seed not in planned)
    if len(added) < 2 or pending & set(added):
        return None
    return Look(added, ALPHA, 1, 1)


def plan_of(sweep: Sweep, registered: Registration | None) -> tuple[tuple[int, ...], Sequence[int]]:
    """The registered seeds that the sweep still has, and the looks at them."""
    if registered is None:
        return sweep.seeds, sweep.looks
    seeds = tuple(seed for seed in registered.content["seeds"] if seed in sweep.seeds)
    looks = [look for look in registered.content["looks"] if look <= len(seeds)]
    return seeds, looks or [max(len(seeds), 1)]


def exploratory(sweep: Sweep, panel: Panel, registered: Registration | None) -> dict[str, str]:
    """Why an arm's contrast to the baseline is exploratory, by arm; empty where all is as it was registered."""
    if registered is None:
        return {}
    then, now = registered.content, content_of(sweep)
    before, own = then["panels"].get(panel.name), now["panels"][panel.name]
    whole = _after(registered) or _left_out(then, now, before, own) or _whole(then, now, before, own)
    if whole or before is None:
        return {arm.name: whole or "the panel was added" for arm in panel.arms}
    arms, base = before["arms"], panel.baseline
    moved = arms.get(base) != own["arms"][base]
    return {
        arm.name: "the baseline was changed" if moved else "added" if arm.name not in arms else "changed"
        for arm in panel.arms
        if moved or arms.get(arm.name) != own["arms"][arm.name]
    }


def _after(registered: Registration) -> str:
    return f"registered when {registered.known} of the runs had told something" if registered.known else ""


def _left_out(then: dict[str, Any], now: dict[str, Any], before: dict[str, Any] | None, own: dict[str, Any]) -> str:
    """What was registered and is no longer there: choosing runs afterwards, or a smaller family of tests."""
    if not set(then["seeds"]) <= set(now["seeds"]):
        return "registered seeds were left out"
    if before is not None and not before["arms"].keys() <= own["arms"].keys():
        return "registered arms were left out"
    return ""


def _whole(then: dict[str, Any], now: dict[str, Any], before: dict[str, Any] | None, own: dict[str, Any]) -> str:
    """What makes every contrast of a panel exploratory."""
    for key in ("metric", "margin", "pairs"):
        if then["evidence"].get(key) != now["evidence"][key]:
            return f"the {key} was changed"
    for key in ("precision", "engine"):
        if then[key] != now[key]:
            return f"the {key} was changed"
    for key in ("budget", "dataset", "baseline"):
        if before is not None and before[key] != own[key]:
            return f"the {key} was changed"
    return ""
