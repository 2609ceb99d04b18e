"""Many cases for one parser: drawn by Hypothesis, each judged, what was found kept with the case that found it."""

import time
import warnings
from collections import Counter
from dataclasses import dataclass, field

from fuzz.guard import bounded
from fuzz.mutate import CASES, Case
from fuzz.parser import Parser, ground
from hypothesis import HealthCheck, Phase, given, seed, settings

BATCH = 5_000
"""Cases of one Hypothesis run: it remembers what it drew."""


@dataclass
class Outcome:
    """What came of a parser's cases."""

    cases: int = 0
    slowest: float = 0.0
    """Seconds of CPU of the slowest case."""
    kinds: Counter[str] = field(default_factory=Counter)
    """How many findings of each kind: traceback, execution, outside, time."""
    examples: dict[str, Case] = field(default_factory=dict)
    """Of each finding, the first case that made it."""


def fuzz(parser: Parser, cases: int, start: int = 0) -> Outcome:
    """Feed so many cases, drawn from seed `start` on."""
    outcome, number = Outcome(), start
    with ground(parser) as place, bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning is no finding: commands print it

        def judge(case: Case) -> None:
            began = time.process_time()
            finding = place.finding(case)
            outcome.slowest = max(outcome.slowest, time.process_time() - began)
            outcome.cases += 1
            if finding:
                outcome.kinds[finding.partition(":")[0]] += 1
                outcome.examples.setdefault(finding, case)

        while outcome.cases < cases:
            _draw(judge, min(BATCH, cases - outcome.cases), number)
            number += 1
    return outcome


def _draw(judge: object, cases: int, number: int) -> None:
    """One Hypothesis run; it judges as many cases, or fewer where it draws one twice."""

    @seed(number)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES)
    def draw(case: Case) -> None:
        judge(case)  # type: ignore[operator]

    draw()
