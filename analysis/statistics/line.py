"""Errors along an axis: one line through all runs, and whether a line is what the arms follow at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .contrast import t_test, verdict
from .estimates import ALPHA, POWER, Estimate, estimate, pooled_sd, t_above, t_quantile
from .power import detectable_shift


@dataclass(frozen=True)
class Trend:
    """The line through the arms' errors, and what may be said about it. Undefined numbers are NaN."""

    slope: float
    """Change of error per unit of x: points per doubling where x is a log2."""
    low: float
    high: float
    """Ends of the slope's t-interval."""
    p: float
    """Two-sided, of the slope against zero."""
    end_to_end: float
    """Slope times the range of x: what the line gains or loses from its first arm to its last."""
    end_low: float
    end_high: float
    resolvable: float
    """The smallest true change end to end that such seeds resolve with 80% power, at the SD found."""
    lack_of_fit_p: float
    """F test of the arms' means about the line against their seeds' scatter; NaN with fewer than three arms."""
    df: int
    equivalent: bool
    """Whether two one-sided tests place the change end to end within the margin."""
    verdict: str

    @property
    def kind(self) -> str:
        """falls, rises, equivalent, unresolved; `no line` where a line is refused; `none` where nothing was tested."""
        starts = {"error falls": "falls", "error rises": "rises", "no line": "no line"}
        starts |= {"equivalent": "equivalent", "unresolved": "unresolved"}
        return next((kind for start, kind in starts.items() if self.verdict.startswith(start)), "none")


class _Arms:
    """Arms along x, with the SD pooled over them; the line is weighted least squares, the same as through all runs."""

    def __init__(self, estimates: Mapping[str, Estimate], at: Mapping[str, float], sd: float, df: int) -> None:
        self.estimates, self.at, self.sd, self.df = estimates, at, sd, df
        self.n = np.array([arm.n for arm in estimates.values()])
        self.x = np.array([at[name] for name in estimates])
        self.reach = float(np.ptp(self.x)) if estimates else 0.0

    @cached_property
    def slope(self) -> float:
        return float(np.sum(self.n * self._away * self._means)) / self._spread

    @property
    def se(self) -> float:
        return self.sd / math.sqrt(self._spread)

    @property
    def p(self) -> float:
        return t_test(self.slope, self.se, self.df)

    @property
    def lack_of_fit(self) -> float:
        """P of F: scatter of the arms' means about the line against that of seeds."""
        free = len(self.n) - 2
        if free < 1:
            return math.nan
        left = self._means - np.average(self._means, weights=self.n) - self.slope * self._away
        return float(stats.f.sf(float(np.sum(self.n * left**2)) / free / self.sd**2, free, self.df))

    def without(self, name: str) -> _Arms:
        rest = {other: arm for other, arm in self.estimates.items() if other != name}
        return _Arms(rest, self.at, self.sd, self.df)

    @property
    def _means(self) -> np.ndarray:
        return np.array([arm.mean for arm in self.estimates.values()])

    @property
    def _away(self) -> np.ndarray:
        return self.x - np.average(self.x, weights=self.n)

    @property
    def _spread(self) -> float:
        return float(np.sum(self.n * self._away**2))


def trend(
    groups: Mapping[str, ArrayLike], x: Mapping[str, float], *, alpha: float = ALPHA, margin: float | None = None
) -> Trend:
    """Least-squares line of errors, shape (n,) an arm, on `x` (arm -> number, such as log2 C), over all runs.

    The slope's standard error comes from the arms' own scatter over seeds (the pooled SD, "pure error"), not from the
    residuals about the line: where the arms follow a curve, residuals hold the curve too; where they follow a line, all
    that is lost is a few degrees of freedom. What the verdict says, each test at level `alpha`:

    - *error falls with x* / *error rises with x*: the slope differs from zero and the arms agree with a line. A
      monotone effect that is not quite straight is called so too, until the seeds can see that it bends.
    - *no line: ...*: lack of fit. Then no trend is claimed. It goes on "error falls, but not evenly" where the slope
      differs from zero whichever one arm is left out (a plateau, a bend); else "NAME departs from the line of the
      others" where these agree with a line without it (one outlier; a step after the first arm is one too);
      else "the arms' errors differ, but not along x".
    - *equivalent within ±margin end to end*, where a margin is given and two one-sided tests pass.
    - *unresolved*, with the change end to end that these seeds resolve.

    An outlier among few arms or seeds can pass for a line: the contrasts beside the trend show which arms differ.
    Arms without runs are left out; those with one seed count, their scatter taken from the others.
    Raises KeyError where an arm has no x, ValueError where it is not a finite number.
    """
    if wrong := [name for name in groups if not math.isfinite(x[name])]:
        raise ValueError(f"{', '.join(wrong)}: x is not a finite number")
    estimates = {name: arm for name, arm in ((name, estimate(v)) for name, v in groups.items()) if arm.n}
    arms = _Arms(estimates, {name: float(x[name]) for name in groups}, *pooled_sd(estimates))
    if none := _why_none(arms):
        nan = math.nan
        return Trend(nan, nan, nan, nan, nan, nan, nan, nan, nan, arms.df, False, none)
    return _tested(arms, alpha, margin)


def _why_none(arms: _Arms) -> str:
    if arms.reach <= 0:
        return "the arms have one x: no verdict" if arms.estimates else "no finished run: no verdict"
    if math.isnan(arms.sd):
        return "one seed: no verdict"
    return "" if arms.sd > 0 else "the seeds do not vary: no verdict"


def _tested(arms: _Arms, alpha: float, margin: float | None) -> Trend:
    half = t_quantile(1 - alpha / 2, arms.df) * arms.se
    low, high = arms.slope - half, arms.slope + half
    end, end_se, misfit = arms.slope * arms.reach, arms.se * arms.reach, arms.lack_of_fit
    # a line has to pass the test of fit as well, and 1 - alpha of all lines do
    power = POWER if math.isnan(misfit) else POWER / (1 - alpha)
    resolvable = detectable_shift(arms.df, alpha=alpha, power=power) * end_se
    equivalent = margin is not None and t_above((margin - abs(end)) / end_se, arms.df) <= alpha
    if misfit <= alpha:
        words = f"no line: {_shape(arms, alpha)}"
    else:
        claim = f"error {'falls' if end < 0 else 'rises'} with x" if arms.p <= alpha else ""
        words = verdict(claim, equivalent, margin, resolvable, " end to end")
    ends = low * arms.reach, high * arms.reach
    return Trend(arms.slope, low, high, arms.p, end, *ends, resolvable, misfit, arms.df, equivalent, words)


def _shape(arms: _Arms, alpha: float) -> str:
    """What the arms do instead of following a line, from what they do with each one left out."""
    rest = {name: arms.without(name) for name in arms.estimates}
    rest = {name: others for name, others in rest.items() if others.reach > 0}
    for sign, word in ((-1, "falls"), (1, "rises")):
        if all(others.slope * sign > 0 and others.p <= alpha for others in rest.values()):
            return f"error {word}, but not evenly"
    fits = {name: others.lack_of_fit for name, others in rest.items()}
    alone = max(fits, key=lambda name: -1.0 if math.isnan(fits[name]) else fits[name])
    if fits[alone] > alpha:
        return f"{alone} departs from the line of the others"
    return "the arms' errors differ, but not along x"
