"""The statistics against scipy called by hand, facts that are known, and each verdict's rule."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import analysis.statistics
from analysis.statistics import compare, estimate, pooled_sd, resolvable_difference

GROUPS = {
    "base": [12.1, 12.3, 12.0],
    "better": [11.2, 11.4, 11.1],
    "same": [12.2, 12.0, 12.1],
    "worse": [13.4, 13.1, 13.3],
}


def contrast(groups, name, **options):
    (found,) = [c for c in compare(groups, "base", **options).contrasts if c.a == name]
    return found


def test_all_that_is_public_is_there_and_documented():
    public = {name: getattr(analysis.statistics, name) for name in analysis.statistics.__all__}
    assert all(item.__doc__ for item in public.values())
    assert "ALPHA" in public and not [name for name in public if name.startswith("_")]


def test_estimate_is_scipys_t_interval():
    values = [12.1, 12.5, 11.9, 12.2]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.n, found.mean) == (4, pytest.approx(np.mean(values)))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_no_seed_gives_no_number(values):
    found = estimate(values)
    assert found.n == 0 and math.isnan(found.mean) and math.isnan(found.low)


def test_one_seed_gives_a_mean_without_interval():
    found = estimate([12.0, math.nan, math.inf])
    assert (found.n, found.mean) == (1, 12.0) and math.isnan(found.sd) and math.isnan(found.high)


def test_two_arms_pooled_are_students_t_test():
    a, b = GROUPS["better"], GROUPS["base"]
    found = contrast({"base": b, "better": a}, "better")
    expected = stats.ttest_ind(a, b)
    interval = expected.confidence_interval()
    assert found.p == found.p_adjusted == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_contrasts_use_the_sd_pooled_over_all_arms_and_holm():
    groups = {**GROUPS, "worse": [*GROUPS["worse"], 13.0, 13.2]}
    found = compare(groups, "base")
    residuals = np.concatenate([np.array(v) - np.mean(v) for v in groups.values()])
    df = len(residuals) - len(groups)
    sd = math.sqrt(np.sum(residuals**2) / df)
    assert (found.sd, found.df) == (pytest.approx(sd), df)
    errors = [sd * math.sqrt(1 / len(groups[c.a]) + 1 / 3) for c in found.contrasts]
    p = [2 * stats.t.sf(abs(c.difference) / e, df) for c, e in zip(found.contrasts, errors, strict=True)]
    assert [c.p for c in found.contrasts] == pytest.approx(p)
    assert [c.p_adjusted for c in found.contrasts] == pytest.approx(multipletests(p, method="holm")[1])
    bonferroni = [stats.t.ppf(1 - 0.05 / 6, df) * e for e in errors]
    assert [c.high - c.difference for c in found.contrasts] == pytest.approx(bonferroni)


def test_pooled_sd_of_single_seeds_is_undefined():
    sd, df = pooled_sd({"a": estimate([1.0]), "b": estimate([2.0])})
    assert math.isnan(sd) and df == 0


@pytest.mark.parametrize(("seeds", "known"), [(3, 0.39), (5, 0.28)])
def test_resolvable_difference_of_five_arms(seeds, known):
    found = resolvable_difference(0.12, seeds, seeds, 5 * (seeds - 1), contrasts=4)
    assert round(found, 2) == known


@pytest.mark.parametrize(("seeds", "known"), [(3, 0.37), (5, 0.24), (10, 0.16)])
def test_resolvable_difference_of_two_arms(seeds, known):
    assert round(resolvable_difference(0.12, seeds, seeds, 2 * (seeds - 1)), 2) == known


def test_resolvable_difference_is_found_with_the_power_promised():
    rng = np.random.default_rng(0)
    difference = resolvable_difference(0.12, 5, 5, 8)
    a, b = rng.normal(difference, 0.12, (5, 4000)), rng.normal(0, 0.12, (5, 4000))
    assert np.mean(stats.ttest_ind(a, b).pvalue < 0.05) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("df", [1, 2, 5, 1000])
def test_resolvable_difference_is_defined_for_few_and_many_seeds(df):
    assert resolvable_difference(1.0, 2, 2, df, contrasts=4) > 2.5


def test_nothing_is_resolvable_without_an_sd():
    assert math.isnan(resolvable_difference(math.nan, 3, 3, 0))


def test_lower_error_improves_and_higher_worsens():
    assert contrast(GROUPS, "better").verdict == "improves"
    assert contrast(GROUPS, "worse").verdict == "worsens"
    assert contrast(GROUPS, "better").difference == pytest.approx(-0.9)


def test_a_claim_that_rests_on_equal_spreads_says_so():
    groups = {
        "base": [11.2, 12.8, 12.4],
        "better": [10.0, 10.1, 10.2],
        "c": [12.1, 12.2, 12.3],
        "d": [12.0, 12.1, 12.2],
    }
    found = contrast(groups, "better")
    by_hand = [
        stats.ttest_ind(groups[name], groups["base"], equal_var=False).pvalue for name in groups if name != "base"
    ]
    assert found.welch_adjusted == pytest.approx(3 * by_hand[0]) and found.p_adjusted < 0.05 < found.welch_adjusted
    assert found.verdict == "improves, if spreads are equal" and found.kind == "improves"


def test_what_the_seeds_cannot_tell_apart_is_unresolved_with_what_they_could():
    found = contrast(GROUPS, "same")
    assert found.kind == "unresolved"
    assert found.verdict == f"unresolved (these seeds resolve {found.resolvable:.2g})"


def test_equivalent_only_with_a_margin_that_two_one_sided_tests_pass():
    assert contrast(GROUPS, "same", margin=1.0).verdict == "equivalent within ±1"
    assert contrast(GROUPS, "same", margin=0.1).kind == "unresolved"
    assert contrast(GROUPS, "same").kind == "unresolved"


def test_equivalence_is_scipys_two_one_sided_tests():
    a, b = np.array(GROUPS["same"]), np.array(GROUPS["base"])
    for margin in np.linspace(0.05, 0.6, 23):
        upper = stats.ttest_ind(a - margin, b, alternative="less").pvalue
        lower = stats.ttest_ind(a + margin, b, alternative="greater").pvalue
        found = contrast({"base": b, "same": a}, "same", margin=margin)
        assert found.equivalent == (max(upper, lower) <= 0.05)


def test_a_small_real_difference_says_that_it_is_within_the_margin():
    groups = {"base": [10.0, 10.01, 10.02], "better": [9.90, 9.91, 9.92]}
    assert contrast(groups, "better", margin=0.5).verdict == "improves, by less than the margin of 0.5"


@pytest.mark.parametrize("groups", [{"base": [12.0], "a": [11.0]}, {"base": [12.0, 12.1, 12.2], "a": [11.0]}])
def test_one_seed_gets_no_interval_and_no_verdict(groups):
    found = contrast(groups, "a")
    assert found.verdict == "one seed: no verdict" and found.kind == "none"
    assert math.isnan(found.low) and math.isnan(found.p_adjusted)
    assert found.difference == pytest.approx(11.0 - np.mean(groups["base"]))


def test_an_arm_without_runs_has_no_verdict_and_does_not_widen_the_family():
    with_empty = compare({**GROUPS, "empty": []}, "base")
    assert with_empty.contrasts[-1].verdict == "no finished run of this arm: no verdict"
    assert with_empty.contrasts[:-1] == compare(GROUPS, "base").contrasts


def test_a_baseline_without_runs_leaves_every_contrast_open():
    found = compare({**GROUPS, "base": []}, "base")
    assert {c.verdict for c in found.contrasts} == {"no finished run of the baseline: no verdict"}


def test_seeds_that_do_not_vary_give_no_verdict():
    found = contrast({"base": [12.0, 12.0], "a": [11.0, 11.0]}, "a")
    assert found.verdict == "the seeds do not vary: no verdict"


def test_a_diverged_seed_is_left_out():
    assert compare({**GROUPS, "same": [*GROUPS["same"], math.nan]}, "base") == compare(GROUPS, "base")


@pytest.mark.parametrize("seed", range(20))
def test_an_interval_that_excludes_zero_never_stands_beside_unresolved(seed):
    rng = np.random.default_rng(seed)
    groups = {name: rng.normal(0.15 * i, 0.15, 3) for i, name in enumerate(["base", "a", "b", "c", "d"])}
    for c in compare(groups, "base").contrasts:
        assert c.kind in ("improves", "worsens") or c.low <= 0 <= c.high


@pytest.mark.parametrize("seed", range(5))
def test_no_verdict_ever_says_that_there_is_no_effect(seed):
    rng = np.random.default_rng(seed)
    groups = {name: rng.normal(10, 0.2, 3) for name in ("base", "a", "b")}
    for margin in (None, 0.5):
        assert not [c for c in compare(groups, "base", margin=margin).contrasts if "no effect" in c.verdict]
