"""Pairs by seed and the checks beside the pooled test, against scipy and statsmodels called by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW, ttost_ind

from analysis.statistics import compare, correlation_by_seed, resolvable_difference
from analysis.statistics.contrast import holm

RNG = np.random.default_rng(0)
SHARED = 0.4 * np.linspace(-1, 1, 6)
GROUPS = {name: 12 + shift + SHARED + RNG.normal(0, 0.05, 6) for name, shift in (("base", 0), ("a", -0.2), ("b", 0.02))}
SEEDS = {name: list(range(6)) for name in GROUPS}


def contrasts(groups=GROUPS, seeds=SEEDS, **options):
    return {c.a: c for c in compare(groups, "base", seeds=seeds, **options).contrasts}


@settings(max_examples=25, deadline=None)  # statsmodels takes 60 ms a call
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_that_of_statsmodels(p):
    assert holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]) if p else [])


def test_pairs_are_scipys_paired_t_test_with_holm():
    found = contrasts()
    by_hand = {name: stats.ttest_rel(GROUPS[name], GROUPS["base"]) for name in found}
    assert [c.p for c in found.values()] == pytest.approx([test.pvalue for test in by_hand.values()])
    adjusted = multipletests([test.pvalue for test in by_hand.values()], method="holm")[1]
    assert [c.p_adjusted for c in found.values()] == pytest.approx(list(adjusted))
    interval = by_hand["a"].confidence_interval(1 - 0.05 / 2)
    assert (found["a"].low, found["a"].high) == pytest.approx((interval.low, interval.high))
    assert {c.test for c in found.values()} == {"paired"}


def test_what_pairs_resolve_is_that_of_their_own_differences():
    sd = np.std(GROUPS["a"] - GROUPS["base"], ddof=1)
    # a mean of 6 differences is the difference of two means of 12 whose SD is that of the differences
    assert contrasts()["a"].resolvable == pytest.approx(resolvable_difference(sd, 12, 12, 5, contrasts=2))


def test_pairing_pays_where_runs_are_correlated_by_seed():
    assert contrasts()["a"].verdict == "improves"
    assert compare(GROUPS, "base").contrasts[0].kind == "unresolved"
    assert correlation_by_seed(GROUPS, SEEDS) > 0.9


def test_pairs_follow_seed_numbers_not_positions():
    order = [3, 0, 5, 1, 4, 2]
    groups = {**GROUPS, "a": GROUPS["a"][order]}
    assert contrasts(groups, {**SEEDS, "a": order})["a"].p == contrasts()["a"].p


def test_only_common_seeds_with_finite_errors_are_paired():
    groups = {**GROUPS, "a": [*GROUPS["a"][:5], math.nan, 90.0]}
    found = contrasts(groups, {**SEEDS, "a": [*range(6), 77]})["a"]
    by_hand = stats.ttest_rel(GROUPS["a"][:5], GROUPS["base"][:5])
    assert found.p == pytest.approx(by_hand.pvalue)
    assert found.difference == pytest.approx(np.mean(GROUPS["a"][:5] - GROUPS["base"][:5]))


@pytest.mark.parametrize(
    ("errors", "seeds", "why"),
    [
        ([], [], "no finished run of this arm: no verdict"),
        ([12.0], [0], "one seed: no verdict"),
        ([12.0, 12.1, 12.2], [0, 8, 9], "fewer than two common seeds: no verdict"),
        ([12.0, 12.1, 12.2], [7, 8, 9], "fewer than two common seeds: no verdict"),
        (list(GROUPS["base"] - 0.1), [*range(6)], "the differences by seed do not vary: no verdict"),
    ],
)
def test_what_cannot_be_paired_says_why(errors, seeds, why):
    found = contrasts({**GROUPS, "a": errors}, {**SEEDS, "a": seeds})
    assert found["a"].verdict == why and found["a"].kind == "none"
    assert found["b"].p_adjusted == found["b"].p, "the family counts what is tested"


@pytest.mark.parametrize(("seeds", "why"), [([0, 1], "6 errors but 2 seeds"), ([0, 0, 1, 2, 3, 4], "comes twice")])
def test_seeds_that_cannot_be_aligned_are_refused(seeds, why):
    with pytest.raises(ValueError, match=why):
        contrasts(seeds={**SEEDS, "a": seeds})


def test_equivalence_of_pairs_is_that_of_statsmodels():
    apart = GROUPS["b"] - GROUPS["base"]
    for margin in (0.02, 0.05, 0.1, 0.2):
        p = [DescrStatsW(apart).ttost_mean(-margin, margin)[0], 1.0]  # the other contrast's, for Holm
        only = {name: GROUPS[name] for name in ("base", "b")}
        assert contrasts(only, margin=margin)["b"].equivalent == (p[0] <= 0.05)


def test_equivalence_of_two_arms_is_that_of_statsmodels():
    for margin in np.linspace(0.05, 1, 20):
        p = ttost_ind(GROUPS["b"], GROUPS["base"], -margin, margin)[0]
        (found,) = compare({name: GROUPS[name] for name in ("base", "b")}, "base", margin=margin).contrasts
        assert found.equivalent == (p <= 0.05)


@pytest.mark.parametrize("seeds", [None, SEEDS])
def test_welch_is_scipys_beside_either_test(seeds):
    found = contrasts(seeds=seeds)
    for name, c in found.items():
        by_hand = stats.ttest_ind(GROUPS[name], GROUPS["base"], equal_var=False)
        assert c.welch_p == pytest.approx(by_hand.pvalue)


def test_equal_spreads_are_tested_as_brown_and_forsythe_do():
    expected = stats.levene(*GROUPS.values(), center="median").pvalue
    assert compare(GROUPS, "base").spread_p == pytest.approx(expected)
    wide = {**GROUPS, "a": [10, 14, 8, 15, 11, 13.0]}
    assert compare(wide, "base").spread_p < 0.05


@pytest.mark.parametrize(
    "groups",
    [
        {"base": [1.0, 2.0], "a": [1.0, 5.0]},
        {"base": [1.0, 2.0, 3.0], "a": [1.0]},
        {"base": [1.0, 1.0, 1.0], "a": [2.0, 2.0, 2.0]},
    ],
)
def test_spreads_that_cannot_be_tested_are_nan(groups):
    assert math.isnan(compare(groups, "base").spread_p)


def test_correlation_is_the_mean_over_pairs_of_arms():
    matrix = np.corrcoef(list(GROUPS.values()))
    assert correlation_by_seed(GROUPS, SEEDS) == pytest.approx(matrix[np.triu_indices(3, 1)].mean())


def test_what_cannot_even_be_computed_is_no_number_in_a_verdict():
    groups = {name: values[:2] for name, values in GROUPS.items()}
    found = contrasts(groups, {name: range(2) for name in groups}, alpha=1e-5)
    assert {c.verdict for c in found.values()} == {"unresolved (these seeds resolve next to nothing)"}


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_seeds_have_no_correlation(n):
    groups = {name: values[:n] for name, values in GROUPS.items()}
    assert math.isnan(correlation_by_seed(groups, {name: range(n) for name in groups}))


def test_an_arm_that_does_not_vary_has_no_correlation():
    assert math.isnan(correlation_by_seed({"base": GROUPS["base"], "a": [12.1] * 6}, SEEDS))


def test_equal_values_have_no_spread_though_floating_point_leaves_some():
    values = [0.1, 0.1, 0.1]
    assert np.std(values, ddof=1) > 0
    (found,) = compare({"base": values, "a": [0.3, 0.3, 0.3]}, "base").contrasts
    assert found.verdict == "the seeds do not vary: no verdict"


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-50, 50), st.floats(0.01, 100))
def test_a_verdict_does_not_depend_on_unit_or_origin(seed, shift, scale):
    rng = np.random.default_rng(seed)
    groups = {name: rng.normal(0.2 * i, 0.2, 4) for i, name in enumerate(("base", "a", "b"))}
    moved = {name: shift + scale * values for name, values in groups.items()}
    for one, other in zip(compare(groups, "base").contrasts, compare(moved, "base").contrasts, strict=True):
        assert one.kind == other.kind and other.p == pytest.approx(one.p, rel=1e-6)
