"""What bits, looks and repeats tell, and whole populations: against numbers by hand and each rule."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    compare_populations,
    edf,
    edf_band,
    estimate,
    example_interval,
    look_alphas,
    sd_of_pair,
    sd_of_runs,
    win_again,
)


def bits(runs, images=2000, seed=0, share=0.9):
    """Runs that agree on most images: each image has its own chance to be got right."""
    rng = np.random.default_rng(seed)
    chance = rng.beta(4.5 * share, 4.5 * (1 - share), images)
    return rng.random((runs, images)) < chance


def test_the_noise_of_a_pair_is_that_of_the_images_on_which_they_differ():
    a, b = np.zeros(10_000, bool), np.zeros(10_000, bool)
    a[:300], b[200:500] = True, True  # 400 images on which exactly one is right
    assert sd_of_pair(a, b) == pytest.approx(100 * math.sqrt(0.04 / 20_000))
    assert sd_of_pair(a, a) == 0


def test_more_runs_are_the_mean_over_pairs():
    runs = bits(5)
    pairs = [sd_of_pair(runs[i], runs[j]) ** 2 for i in range(5) for j in range(i)]
    assert sd_of_runs(runs) == pytest.approx(math.sqrt(np.mean(pairs)))


def test_the_noise_is_the_sd_over_seeds_where_images_flip_independently():
    runs = bits(400)
    sd = np.std(100 * (1 - runs.mean(axis=1)), ddof=1)
    assert sd_of_pair(runs[0], runs[1]) == pytest.approx(sd, rel=0.15)


def test_one_run_has_no_noise_and_other_images_are_refused():
    assert math.isnan(sd_of_runs(bits(1)))
    with pytest.raises(ValueError, match="same images"):
        sd_of_pair(np.ones(5), np.ones(6))
    for shape in [(3,), (2, 0)]:
        with pytest.raises(ValueError, match="images"):
            sd_of_runs(np.ones(shape))


def test_the_interval_for_new_images_by_hand():
    a, b = bits(3, seed=1), bits(5, seed=2, share=0.8)
    found = example_interval(a, b)
    per_image = 100 * (b.mean(axis=0) - a.mean(axis=0))
    assert found.difference == pytest.approx(100 * (b.mean() - a.mean()))
    assert found.example_se == pytest.approx(stats.sem(per_image))
    over_seeds = [np.var(100 * r.mean(axis=1), ddof=1) / len(r) for r in (a, b)]
    assert found.seed_se == pytest.approx(math.sqrt(sum(over_seeds)))
    half = (found.high - found.low) / 2
    assert max(found.seed_se, found.example_se) < half / stats.t.ppf(0.975, found.df)
    assert half / stats.t.ppf(0.975, found.df) <= math.hypot(found.seed_se, found.example_se) * (1 + 1e-12)


def test_a_single_image_and_seed_is_counted_once():
    a, b = bits(3, images=50, seed=1), bits(3, images=50, seed=2)
    found = example_interval(a, b)
    flips = 0.0
    for right in (a, b):
        wrong = 100.0 * ~right
        left = wrong - wrong.mean(0) - wrong.mean(1, keepdims=True) + wrong.mean()
        flips += (left**2).sum() / (2 * 49) / (3 * 50)
    total = found.seed_se**2 + found.example_se**2 - flips
    expected = max(total, found.seed_se**2, found.example_se**2)
    assert ((found.high - found.low) / 2 / stats.t.ppf(0.975, found.df)) ** 2 == pytest.approx(expected)


def test_the_interval_turns_with_the_arms():
    a, b = bits(3, seed=1), bits(3, seed=2, share=0.8)
    one, other = example_interval(a, b), example_interval(b, a)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.difference < 0, "a has the lower error"


def test_one_seed_compares_two_networks_only():
    found = example_interval(bits(1, seed=1), bits(3, seed=2))
    assert math.isnan(found.low) and math.isnan(found.seed_se) and found.example_se > 0
    lone = example_interval(bits(1, seed=1)[0], bits(1, seed=2)[0])
    assert math.isnan(lone.high) and math.isfinite(lone.difference)


def test_what_has_no_runs_or_no_spread_has_no_interval():
    assert math.isnan(example_interval(np.ones((0, 10)), np.ones((3, 10))).difference)
    assert math.isnan(example_interval(np.ones((3, 10)), np.ones((3, 10))).low)
    assert math.isnan(example_interval(np.ones((3, 1)), np.zeros((3, 1))).low)
    with pytest.raises(ValueError, match="same images"):
        example_interval(np.ones((3, 10)), np.ones((3, 11)))


def test_looks_spend_alpha_and_most_of_it_last():
    levels = look_alphas([3, 5, 10])
    assert sum(levels) == pytest.approx(0.05) and levels == sorted(levels)
    assert levels[-1] > 0.9 * 0.05
    assert look_alphas([7]) == [0.05]
    assert sum(look_alphas(range(3, 11), alpha=0.01)) == pytest.approx(0.01)


def test_a_half_way_look_spends_what_is_published():
    # Lan and DeMets' O'Brien-Fleming spending at half the information, two-sided 5%: 0.00305
    assert look_alphas([5, 10])[0] == pytest.approx(0.00305, abs=5e-6)


@pytest.mark.parametrize("planned", [[], [5, 3], [3, 3], [0, 5]])
def test_looks_that_do_not_rise_are_refused(planned):
    with pytest.raises(ValueError, match="rising"):
        look_alphas(planned)


def arms(*means, n=5, sd=0.1):
    return {f"a{i}": estimate(mean + sd * np.linspace(-1, 1, n)) for i, mean in enumerate(means)}


def test_a_clear_winner_wins_again_and_equal_arms_share():
    clear = win_again(arms(10, 11, 12), 0.1, 12)
    assert clear["a0"] > 0.99 and sum(clear.values()) == pytest.approx(1)
    equal = win_again(arms(10, 10, 10, 10), 0.1, 16)
    assert all(share == pytest.approx(0.25, abs=0.02) for share in equal.values())


def test_a_lead_of_one_standard_error_is_no_safe_win():
    shares = win_again(arms(9.955, 10, 10, 10), 0.1, 16)
    assert 0.25 < shares["a0"] < 0.5


def test_equal_seeds_agree_and_others_differ():
    found = arms(10, 10.1, 10.2)
    assert win_again(found, 0.1, 12) == win_again(found, 0.1, 12) != win_again(found, 0.1, 12, seed=1)


def test_an_arm_without_runs_cannot_win_and_no_scatter_gives_no_share():
    assert math.isnan(win_again({**arms(10, 11), "none": estimate([])}, 0.1, 8)["none"])
    assert all(map(math.isnan, win_again(arms(10, 11), math.nan, 0).values()))
    assert win_again(arms(10), 0.1, 4) == {"a0": 1.0}
    assert win_again({}, math.nan, 0) == {}
    assert win_again(arms(10, 11, sd=0), 0.0, 8) == {"a0": 1.0, "a1": 0.0}


def test_edf_is_scipys():
    values = [3.0, 1.0, math.nan, 2.0, 2.0]
    x, share = edf(values)
    by_hand = stats.ecdf([3.0, 1.0, 2.0, 2.0]).cdf
    assert [share[x <= q][-1] for q in by_hand.quantiles] == pytest.approx(list(by_hand.probabilities))


def test_the_band_is_as_wide_as_the_inequality_says():
    x, low, high = edf_band(np.arange(200))
    half = math.sqrt(math.log(2 / 0.05) / 400)
    assert high[50] - low[50] == pytest.approx(2 * half)
    assert low.min() >= 0 and high.max() <= 1 and len(x) == 200


def test_no_design_has_no_edf():
    assert [len(part) for part in edf_band([])] == [0, 0, 0]


RNG = np.random.default_rng(3)
POPULATIONS = {"c1": RNG.normal(12, 1, 60), "c32": RNG.normal(11, 1, 50), "same": RNG.normal(12, 1, 40)}


def test_populations_are_compared_as_scipy_does():
    found = compare_populations(POPULATIONS)
    for c in found:
        a, b = POPULATIONS[c.a], POPULATIONS["c1"]
        assert c.probability == pytest.approx(1 - stats.mannwhitneyu(a, b).statistic / len(a) / len(b))
        assert c.p == pytest.approx(max(stats.mannwhitneyu(a, b).pvalue, stats.brunnermunzel(a, b).pvalue))
        assert c.low < c.probability < c.high
    assert [c.kind for c in found] == ["improves", "unresolved"]
    assert found[0].p_adjusted == pytest.approx(2 * found[0].p)


def test_a_population_that_loses_worsens():
    (found,) = compare_populations({"c32": POPULATIONS["c32"], "c1": POPULATIONS["c1"]})
    assert found.verdict == "worsens" and found.probability < 0.5


def test_ties_count_half():
    (found,) = compare_populations({"a": [1.0, 2.0], "b": [1.0, 2.0]})
    assert found.probability == 0.5 and found.p == pytest.approx(1)
    (found,) = compare_populations({"a": [1.0, 1.0], "b": [1.0, 1.0]})
    assert found.p == 1 and found.kind == "unresolved"


@pytest.mark.parametrize(("n", "kind"), [(3, "unresolved"), (5, "improves")])
def test_populations_wholly_apart_need_enough_designs_all_the_same(n, kind):
    (found,) = compare_populations({"a": np.arange(10, 10 + n), "b": np.arange(n)})
    assert found.probability == found.high == 1 and 0.2 < found.low < 1
    assert found.kind == kind


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, 1.0]])
def test_too_few_designs_have_no_test(values):
    (found,) = compare_populations({"a": [1.0, 2.0, 3.0], "b": values})
    assert found.verdict == "too few designs: no verdict" and math.isnan(found.p)


def test_one_population_has_nothing_to_compare():
    assert compare_populations({"a": [1.0]}) == compare_populations({}) == []
