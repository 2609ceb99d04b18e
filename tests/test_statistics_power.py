"""Seeds needed and what an SD is worth, against known values, scipy and statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from analysis.statistics import resolvable_difference, sd_range, seeds_needed


@pytest.mark.parametrize(("contrasts", "known"), [(1, 24), (4, 34)])
def test_the_papers_last_step_needs_the_seeds_that_are_known(contrasts, known):
    assert seeds_needed(0.12, 0.1, arms=2, contrasts=contrasts) == known


@pytest.mark.parametrize("resolve", [0.08, 0.1, 0.15, 0.2, 0.4])
def test_two_arms_need_what_statsmodels_says(resolve):
    exact = TTestIndPower().solve_power(effect_size=resolve / 0.12, alpha=0.05, power=0.8)
    assert seeds_needed(0.12, resolve, arms=2, contrasts=1) == math.ceil(exact)


@pytest.mark.parametrize("arms", [2, 5, 9])
@pytest.mark.parametrize("resolve", [0.07, 0.2, 0.5])
def test_the_number_is_the_smallest_that_resolves(arms, resolve):
    def resolved(n):
        return resolvable_difference(0.12, n, n, arms * (n - 1), contrasts=arms - 1)

    n = seeds_needed(0.12, resolve, arms=arms, contrasts=arms - 1)
    assert resolved(n) <= resolve and (n == 2 or resolved(n - 1) > resolve)


def test_never_fewer_than_two_seeds_and_none_beyond_the_most():
    assert seeds_needed(0.12, 100, arms=5, contrasts=4) == 2
    assert seeds_needed(0.12, 0.01, arms=5, contrasts=4) > 1000
    assert seeds_needed(0.12, 0.01, arms=5, contrasts=4, most=1000) is None
    n = seeds_needed(0.12, 0.2, arms=5, contrasts=4)
    assert seeds_needed(0.12, 0.2, arms=5, contrasts=4, most=n) == n
    assert seeds_needed(0.12, 0.2, arms=5, contrasts=4, most=n - 1) is None


def test_more_power_and_smaller_levels_need_more_seeds():
    plain = seeds_needed(0.12, 0.1, arms=5, contrasts=4)
    assert seeds_needed(0.12, 0.1, arms=5, contrasts=4, power=0.9) > plain
    assert seeds_needed(0.12, 0.1, arms=5, contrasts=4, alpha=0.01) > plain


@pytest.mark.parametrize("options", [{"sd": 0}, {"sd": math.nan}, {"sd": math.inf}, {"resolve": 0}, {"resolve": -1}])
def test_what_is_not_a_positive_number_is_refused(options):
    with pytest.raises(ValueError, match="positive"):
        seeds_needed(**{"sd": 0.12, "resolve": 0.1, **options}, arms=5, contrasts=4)


def test_one_arm_has_nothing_to_resolve():
    with pytest.raises(ValueError, match="1 arms"):
        seeds_needed(0.12, 0.1, arms=1, contrasts=1)


def test_the_sd_of_twenty_seeds_is_known_as_well_as_known():
    low, high = sd_range(1.0, 19)
    assert (round(low, 2), round(high, 2)) == (0.76, 1.46)


def test_the_range_of_an_sd_holds_it_as_often_as_promised():
    found = np.random.default_rng(0).normal(0, 0.12, (4000, 4)).std(axis=1, ddof=1)
    inside = [low < 0.12 < high for low, high in (sd_range(sd, 3, 0.9) for sd in found)]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.015)
    assert sd_range(2.0, 3)[1] == pytest.approx(2 * math.sqrt(3 / stats.chi2.ppf(0.025, 3)))


@pytest.mark.parametrize(("sd", "df"), [(0.1, 0), (math.nan, 3)])
def test_no_sd_has_no_range(sd, df):
    assert all(map(math.isnan, sd_range(sd, df)))
