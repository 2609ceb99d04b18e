"""Weighted sums, axes, lines and interactions, against statsmodels called by hand, and each verdict's rule."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from analysis.statistics import axis_contrasts, compare, interaction, linear_contrast, trend

RNG = np.random.default_rng(0)
NAMES = ("c1", "c2", "c4", "c8", "c16")
X = {name: float(i) for i, name in enumerate(NAMES)}


def runs(means, n=5, sd=0.1, seed=0):
    rng = np.random.default_rng(seed)
    sizes = n if isinstance(n, tuple) else (n,) * len(means)
    return {name: rng.normal(mean, sd, k) for name, mean, k in zip(NAMES, means, sizes, strict=False)}


def exact(means, n=8, sd=0.1):
    """Runs with exactly these means and SDs."""
    scatter = stats.zscore(np.arange(n), ddof=1) * sd
    return {name: mean + scatter for name, mean in zip(NAMES, means, strict=True)}


UNEQUAL = runs([12, 11.9, 11.95, 11.7, 11.8], (3, 4, 5, 2, 6))


def frame(groups, x=None):
    rows = [(name, x[name] if x else 0, error) for name, errors in groups.items() for error in errors]
    return pd.DataFrame(rows, columns=["arm", "x", "error"])


def test_a_weighted_sum_is_statsmodels_contrast_of_a_one_way_model():
    weights = {"c1": -0.5, "c2": -0.5, "c8": 1.0}
    fitted = smf.ols("error ~ C(arm) - 1", frame(UNEQUAL)).fit()
    by_hand = fitted.t_test([weights.get(name, 0.0) for name in sorted(NAMES)])
    found = linear_contrast(UNEQUAL, weights)
    assert found.difference == pytest.approx(float(by_hand.effect[0]))
    assert (found.se, found.p) == (pytest.approx(by_hand.sd.item()), pytest.approx(float(by_hand.pvalue)))
    assert (found.low, found.high) == pytest.approx(tuple(by_hand.conf_int()[0]))
    assert (found.df, found.sd) == (15, pytest.approx(math.sqrt(fitted.mse_resid)))


def test_a_family_widens_the_interval_only():
    one, four = (linear_contrast(UNEQUAL, {"c1": 1, "c2": -1}, contrasts=k) for k in (1, 4))
    assert one.p == four.p
    assert (four.high - four.low) / (one.high - one.low) == pytest.approx(
        stats.t.ppf(1 - 0.05 / 8, 15) / stats.t.ppf(0.975, 15)
    )


@pytest.mark.parametrize("errors", [[], [11.0], [math.nan, 11.0]])
def test_a_sum_that_lacks_seeds_has_no_interval(errors):
    assert math.isnan(linear_contrast({**UNEQUAL, "c2": errors}, {"c1": 1, "c2": -1}).low)


def test_axes_of_one_arm_each_are_arms_compared():
    groups = {name: UNEQUAL[name] for name in ("c1", "c2", "c4")}
    by_arm = compare(groups, "c1", margin=0.3).contrasts
    axes = {name: [name] for name in groups}
    assert axis_contrasts(groups, axes, [("c2", "c1"), ("c4", "c1")], margin=0.3) == by_arm


AXES = {"cardinality": ["c8", "c16"], "width": ["c2", "c4"], "depth": ["c1"]}


def test_axes_are_means_of_arms_each_counting_alike():
    (found,) = axis_contrasts(UNEQUAL, AXES, [("cardinality", "width")])
    mean = {name: np.mean(errors) for name, errors in UNEQUAL.items()}
    assert found.difference == pytest.approx((mean["c8"] + mean["c16"]) / 2 - (mean["c2"] + mean["c4"]) / 2)
    one = linear_contrast(UNEQUAL, {"c8": 0.5, "c16": 0.5, "c2": -0.5, "c4": -0.5})
    assert (found.p, found.low, found.high) == pytest.approx((one.p, one.low, one.high))
    assert (found.a, found.b) == ("cardinality", "width")


def test_welch_of_an_axis_has_satterthwaites_df():
    (found,) = axis_contrasts(UNEQUAL, AXES, [("cardinality", "depth")])
    parts = {a: w**2 * np.var(UNEQUAL[a], ddof=1) / len(UNEQUAL[a]) for a, w in (("c8", 0.5), ("c16", 0.5), ("c1", 1))}
    df = sum(parts.values()) ** 2 / sum(v**2 / (len(UNEQUAL[a]) - 1) for a, v in parts.items())
    by_hand = 2 * stats.t.sf(abs(found.difference) / math.sqrt(sum(parts.values())), df)
    assert found.welch_p == pytest.approx(by_hand)


def test_axes_are_a_family_with_the_verdicts_of_arms():
    groups = exact([12, 12.02, 12, 11.5, 11.5])
    pairs = [("cardinality", "width"), ("depth", "cardinality"), ("width", "depth")]
    found = axis_contrasts(groups, AXES, pairs, margin=0.5)
    assert [c.kind for c in found] == ["improves", "worsens", "equivalent"]
    assert found[0].p_adjusted == pytest.approx(3 * found[0].p)


def test_a_shared_arm_cancels():
    axes = {"a": ["c1", "c2"], "b": ["c1", "c4"]}
    (shared,) = axis_contrasts(UNEQUAL, axes, [("a", "b")])
    assert shared.difference == pytest.approx(np.mean(UNEQUAL["c2"]) / 2 - np.mean(UNEQUAL["c4"]) / 2)


def test_an_axis_that_lacks_an_arm_is_another_question():
    (found,) = axis_contrasts({**UNEQUAL, "c16": []}, AXES, [("cardinality", "width")])
    assert found.verdict == "no finished run of c16: no verdict" and math.isnan(found.p)
    (found,) = axis_contrasts({**UNEQUAL, "c16": [11.0]}, AXES, [("cardinality", "width")])
    assert found.verdict == "one seed of c16: no verdict"


def test_axes_that_make_no_contrast_are_refused():
    with pytest.raises(KeyError):
        axis_contrasts(UNEQUAL, AXES, [("cardinality", "resolution")])
    with pytest.raises(KeyError):
        axis_contrasts(UNEQUAL, {**AXES, "width": ["c3"]}, [("cardinality", "width")])
    with pytest.raises(ValueError, match="no arms"):
        axis_contrasts(UNEQUAL, {**AXES, "width": []}, [("cardinality", "width")])
    with pytest.raises(ValueError, match="same arms"):
        axis_contrasts(UNEQUAL, {"a": ["c1", "c2"], "b": ["c2", "c1"]}, [("a", "b")])


def test_the_line_is_statsmodels_with_the_arms_own_scatter():
    data = frame(UNEQUAL, X)
    line = sm.OLS(data.error, sm.add_constant(data.x)).fit()
    full = smf.ols("error ~ C(arm)", data).fit()
    found = trend(UNEQUAL, X)
    assert found.slope == pytest.approx(line.params["x"])
    se = line.bse["x"] * math.sqrt(full.mse_resid / line.mse_resid)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.slope) / se, full.df_resid))
    half = stats.t.ppf(0.975, full.df_resid) * se
    assert (found.low, found.high) == pytest.approx((found.slope - half, found.slope + half))
    assert (found.end_low, found.end_high) == pytest.approx((4 * found.low, 4 * found.high))


def test_lack_of_fit_is_statsmodels_comparison_of_the_two_models():
    data = frame(UNEQUAL, X)
    models = smf.ols("error ~ x", data).fit(), smf.ols("error ~ C(arm)", data).fit()
    assert trend(UNEQUAL, X).lack_of_fit_p == pytest.approx(sm.stats.anova_lm(*models)["Pr(>F)"].iloc[1])


def test_what_a_trend_resolves_is_near_what_is_known():
    resolved = [trend(runs([12] * 5, sd=0.12, seed=seed), X) for seed in range(200)]
    assert np.mean([t.resolvable for t in resolved]) == pytest.approx(0.20, abs=0.015)


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ([12, 11.8, 11.6, 11.4, 11.2], "error falls with x"),
        ([11, 11.2, 11.4, 11.6, 11.8], "error rises with x"),
        ([12, 11.5, 11.2, 11.1, 11.1], "no line: error falls, but not evenly"),
        ([11, 11.5, 11.8, 11.9, 11.9], "no line: error rises, but not evenly"),
        ([12, 12, 12.8, 12, 12], "no line: c4 departs from the line of the others"),
        ([12, 12, 12, 12, 11], "no line: c16 departs from the line of the others"),
        ([12, 11.2, 11.2, 11.2, 11.2], "no line: c1 departs from the line of the others"),
        ([12, 11, 12, 11, 12], "no line: the arms' errors differ, but not along x"),
        ([12, 11.5, 11.2, 11.5, 12], "no line: the arms' errors differ, but not along x"),
    ],
)
def test_each_shape_gets_its_words(means, verdict):
    assert trend(exact(means), X).verdict == verdict


def test_no_slope_is_unresolved_or_within_the_margin():
    flat = exact([12] * 5)
    found = trend(flat, X)
    assert found.verdict == f"unresolved (these seeds resolve {found.resolvable:.2g} end to end)"
    assert trend(flat, X, margin=0.5).verdict == "equivalent within ±0.5 end to end"
    assert trend(flat, X, margin=0.01).kind == "unresolved"


def test_a_small_slope_says_that_it_is_within_the_margin():
    found = trend(exact([12, 11.95, 11.9, 11.85, 11.8], sd=0.02), X, margin=1)
    assert found.verdict == "error falls with x, by less than the margin of 1 end to end" and found.kind == "falls"


def test_the_slope_is_per_unit_of_x_and_the_ends_do_not_depend_on_it():
    one, other = trend(UNEQUAL, X), trend(UNEQUAL, {name: 10 * x - 7 for name, x in X.items()})
    assert other.slope == pytest.approx(one.slope / 10)
    assert (other.end_to_end, other.p, other.resolvable) == pytest.approx((one.end_to_end, one.p, one.resolvable))


def test_two_arms_are_a_line_without_a_test_of_fit():
    two = {name: UNEQUAL[name] for name in ("c1", "c16")}
    found = trend(two, X)
    assert math.isnan(found.lack_of_fit_p)
    assert found.p == pytest.approx(stats.ttest_ind(two["c16"], two["c1"]).pvalue)
    assert found.end_to_end == pytest.approx(two["c16"].mean() - two["c1"].mean())


def test_an_arm_of_one_seed_lends_its_mean():
    groups = {**UNEQUAL, "c4": [11.9], "c8": [math.nan]}
    data = frame({k: v for k, v in groups.items() if k != "c8"}, X)
    assert trend(groups, X).slope == pytest.approx(sm.OLS(data.error, sm.add_constant(data.x)).fit().params["x"])


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ({}, "no finished run: no verdict"),
        ({"c1": [], "c2": [math.nan]}, "no finished run: no verdict"),
        ({"c1": [1.0, 2.0]}, "the arms have one x: no verdict"),
        ({"c1": [1.0], "c2": [2.0], "c4": [4.0]}, "one seed: no verdict"),
        ({"c1": [1.0, 1.0], "c2": [2.0, 2.0]}, "the seeds do not vary: no verdict"),
    ],
)
def test_what_is_no_line_says_why(groups, why):
    found = trend(groups, X)
    assert found.verdict == why and found.kind == "none" and math.isnan(found.slope)


def test_an_arm_without_x_is_an_error():
    with pytest.raises(KeyError):
        trend(UNEQUAL, {"c1": 0.0})
    with pytest.raises(ValueError, match="c4: x is not a finite number"):
        trend(UNEQUAL, {**X, "c4": math.nan})


def table(effects, n=4, sd=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return {
        (recipe, arm): rng.normal(12 + effect, sd, n if isinstance(n, int) else n[i])
        for i, (recipe, row) in enumerate(effects.items())
        for arm, effect in zip(NAMES, row, strict=False)
    }


CROSSED = table({"plain": [0, -0.1, -0.2], "long": [-1, -1.3, -1.5]}, n=(3, 6))


@pytest.mark.parametrize("typ", [2, 3])
def test_interaction_is_statsmodels_two_way_anova(typ):
    rows = [(r, c, error) for (r, c), errors in CROSSED.items() for error in errors]
    data = pd.DataFrame(rows, columns=["recipe", "arm", "error"])
    model = smf.ols("error ~ C(recipe, Sum) * C(arm, Sum)", data).fit()
    by_hand = sm.stats.anova_lm(model, typ=typ).loc["C(recipe, Sum):C(arm, Sum)"]
    found = interaction(CROSSED)
    assert (found.f, found.p) == (pytest.approx(by_hand["F"]), pytest.approx(by_hand["PR(>F)"]))
    assert (found.df1, found.df2) == (by_hand["df"], model.df_resid)


def test_differences_of_differences_are_a_family():
    found = interaction(CROSSED)
    mean = {cell: np.mean(errors) for cell, errors in CROSSED.items()}
    by_hand = (mean["long", "c2"] - mean["long", "c1"]) - (mean["plain", "c2"] - mean["plain", "c1"])
    assert found.differences[0].difference == pytest.approx(by_hand)
    assert (found.differences[0].a, found.differences[0].b) == ("c2 less c1 under long", "c2 less c1 under plain")
    assert min(c.p_adjusted for c in found.differences) == pytest.approx(2 * min(c.p for c in found.differences))


def test_two_by_two_is_one_t_test():
    found = interaction(table({"plain": [0, -0.1], "long": [0, -0.3]}))
    assert found.f == pytest.approx(stats.t.isf(found.differences[0].p / 2, found.df2) ** 2)
    assert found.p == pytest.approx(found.differences[0].p)


def test_an_interaction_is_said_or_left_open():
    strong = interaction(table({"plain": [0, -0.1], "long": [0, -0.9]}))
    assert strong.verdict == "interacts" and strong.differences[0].kind == "differs"
    none = interaction(table({"plain": [0, -0.5], "long": [-1, -1.5]}), margin=1)
    assert none.verdict.startswith("unresolved (these seeds resolve a difference of differences of 0.")
    assert none.differences[0].verdict == "equivalent within ±1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({("long", "c2"): []}, "no finished run of c2 under long: no verdict"),
        ({("long", "c2"): [1.0]}, "one seed of c2 under long: no verdict"),
        ({("longer", "c1"): [1.0, 2.0]}, "no finished run of c2 under longer: no verdict"),
    ],
)
def test_a_table_with_a_hole_has_no_test(change, why):
    found = interaction({**CROSSED, **change})
    assert found.verdict == why and math.isnan(found.p) and found.differences == []


def test_one_recipe_cannot_interact():
    assert interaction({("plain", "c1"): [1, 2], ("plain", "c2"): [1, 2]}).verdict.startswith("fewer than two recipes")
    assert interaction({}).verdict.startswith("fewer than two recipes")
