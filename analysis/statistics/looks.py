"""Looking at a study before its last seed: what each registered look may spend of the error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from scipy import stats

from .estimates import ALPHA


def look_alphas(planned: Sequence[int], alpha: float = ALPHA) -> list[float]:
    """The two-sided level at each registered look, `planned` being seeds an arm at each (rising), last look last.

    A look spends what Lan and DeMets' spending function of O'Brien-Fleming type allows it, 4 - 4 Phi(z / sqrt(t)) with
    z the 1 - alpha / 4 quantile and t the share of seeds in, less what earlier looks spent. The levels add up to alpha,
    so by the union bound the false claims of all looks together stay within alpha whatever is tested at each (Holm's
    family, pairs, a trend); it is conservative, for looks at the same runs agree more than the bound supposes.
    Early looks get very little: they are there for effects far above the margin.
    Raises ValueError where `planned` is empty, not rising or below 1.
    """
    if not planned or min(planned) < 1 or any(b <= a for a, b in pairwise(planned)):
        raise ValueError(f"looks {list(planned)}: give the seeds per arm at each look, rising, such as 3, 5, 10")
    quantile = float(stats.norm.ppf(1 - alpha / 4))
    spent = [4 * float(stats.norm.sf(quantile / math.sqrt(seeds / planned[-1]))) for seeds in planned[:-1]]
    return [now - before for before, now in pairwise([0.0, *spent, alpha])]
