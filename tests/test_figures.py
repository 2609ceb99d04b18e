"""Figures draw what the frames hold, with t-intervals, and always the same bytes."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from studies import TRUTH, panel_fields, sweep_fields, write_study

from analysis.classes import class_differences
from analysis.collect import collect
from analysis.figures import (
    FIGURES,
    applicable,
    axes,
    contrasts,
    design_space,
    draw,
    error_vs_cardinality,
    error_vs_cost,
    files,
    learning_curves,
    style,
    to_svg,
    write_figures,
)
from analysis.figures.errors import COSTS, front
from analysis.figures.spread import class_differences as draw_classes
from analysis.figures.spread import error_distributions
from analysis.findings import findings
from analysis.statistics import estimate
from analysis.tables import ladder_frame


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    sweep, runs = write_study(tmp_path_factory.mktemp("study"))
    found = collect(sweep, runs)
    return sweep, found, findings(sweep, found)


@pytest.fixture
def ax():
    with style():
        yield axes(1)[1][0]


def test_bars_are_t_intervals_at_each_cardinality(ax, study):
    _, found, finding = study
    error_vs_cardinality(ax, finding, found, "top1_error", "error")
    (bars,) = ax.containers
    low_high = [segment[:, 1] for segment in bars.lines[2][0].get_segments()]
    expected = [estimate(found.errors("width 8", arm.name)) for arm in finding[0].panel.arms]
    assert np.allclose(low_high, [(e.low, e.high) for e in expected])
    assert list(bars.lines[0].get_xdata()) == [1, 2, 3, 4, 6]


def test_every_run_is_a_dot(ax, study):
    _, found, finding = study
    error_vs_cardinality(ax, finding, found, "top1_error", "error")
    dots = np.concatenate(
        [line.get_ydata() for line in ax.lines if line.get_marker() == "o" and line.get_ls() == "None"]
    )
    assert sorted(dots) == sorted(found.runs["top1_error"])


def test_cardinality_ticks_are_whole_numbers_on_a_log2_axis(ax, study):
    _, found, finding = study
    error_vs_cardinality(ax, finding, found, "top1_error", "error")
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3", "4", "6"]
    assert ax.get_xscale() == "log" and not ax.get_xticks(minor=True).size


@pytest.mark.parametrize(("dataset", "hollow"), [("imagenet", 1), ("fashion_mnist", 0)])
def test_published_errors_stand_hollow_and_only_on_the_papers_data(ax, tmp_path, dataset, hollow):
    arms = [{"design": name, "published": {"top1_error": 22.0}} for name in ("resnet50_1x64d", "resnext50_32x4d")]
    if dataset == "fashion_mnist":
        arms = [{**arm, "design": d} for arm, d in zip(arms, ("resnet11_1x8d", "resnext11_4x3d"), strict=True)]
    budget = "resnet50" if dataset == "imagenet" else "fashion"
    panel = panel_fields(arms, name="p", dataset=dataset, budget=budget, recipe="fashion")
    sweep, runs = write_study(tmp_path, {"question": "?", "panels": [panel]})
    found = collect(sweep, runs)
    error_vs_cardinality(ax, findings(sweep, found), found, "top1_error", "error")
    assert len([line for line in ax.lines if line.get_markerfacecolor() == "none"]) == hollow


def test_learning_curves_end_at_the_runs_errors(ax, study):
    sweep, found, _ = study
    learning_curves(ax, sweep.panels[0], found.epochs, "error")
    ends = {line.get_label(): line.get_ydata()[-1] for line in ax.lines if line.get_label().endswith("d")}
    for arm in sweep.panels[0].arms:
        assert ends[arm.design.shape] == pytest.approx(np.mean(found.errors("width 8", arm.name)))


def test_time_is_that_of_the_runs(ax, study):
    _, found, (finding,) = study
    error_vs_cost(ax, finding, found, "top1_error", "error", "seconds")
    x = [container.lines[0].get_xdata()[0] for container in ax.containers]
    assert x == pytest.approx(list(found.runs.groupby("arm", sort=False)["seconds"].mean()))
    assert ax.get_xlabel() == "wall time of a run (seconds)"


def test_arms_differ_in_marker_and_colour(ax, study):
    _, found, (finding,) = study
    error_vs_cost(ax, finding, found, "top1_error", "error", "seconds")
    looks = [(c.lines[0].get_marker(), c.lines[0].get_color()) for c in ax.containers]
    assert len({marker for marker, _ in looks}) == len({colour for _, colour in looks}) == 5


def test_figures_have_the_same_bytes_twice_and_no_date(study):
    def svgs():
        with style():
            return {name: to_svg(figure) for name, figure in draw(*study).items()}

    first = svgs()
    assert first == svgs()
    assert list(first) == applicable(study[2], study[1])
    assert not [name for name, svg in first.items() if "<dc:date>" in svg or "<text" in svg]


def test_nothing_is_cut_off(study):
    with style():
        for name, figure in draw(*study).items():
            figure.draw_without_rendering()
            page, drawn = figure.bbox, figure.get_tightbbox().transformed(figure.dpi_scale_trans)
            assert drawn.x0 >= page.x0 - 1 and drawn.x1 <= page.x1 + 1, name
            assert drawn.y0 >= page.y0 - 1 and drawn.y1 <= page.y1 + 1, name


def test_a_panel_without_runs_is_drawn_empty(tmp_path):
    fields = sweep_fields()
    fields["panels"].append(panel_fields(["resnet11_1x8d"], name="empty", recipe={"base": "fashion", "epochs": 1}))
    sweep, runs = write_study(tmp_path, fields)
    for run in sweep.runs():
        if run.panel == "empty":
            shutil.rmtree(sweep.paths(runs, run).folder)
    found = collect(sweep, runs)
    with style():
        for figure in draw(sweep, found, findings(sweep, found)).values():
            assert to_svg(figure)


def test_long_names_are_not_cut_off(tmp_path):
    arms = ["resnet11_1x8d", "resnext11_2x4-9-17d_form-b_shortcut-projection-only", "resnext11_4x3d_shortcut-none"]
    sweep, runs = write_study(tmp_path, sweep_fields(arms))
    found = collect(sweep, runs)
    with style():
        for name, figure in draw(sweep, found, findings(sweep, found)).items():
            figure.draw_without_rendering()
            drawn = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
            assert drawn.x0 >= -1 and drawn.x1 <= figure.bbox.x1 + 1, name


def test_styles_do_not_leak():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style():
        pass
    assert dict(mpl.rcParams) == before


def points(ax):
    """Of every scatter its label and its points."""
    return {scatter.get_label(): np.asarray(scatter.get_offsets()) for scatter in ax.collections}


@pytest.fixture
def designs():
    """A space of six designs of three cardinalities, two of them the front."""
    columns = {"params": [20e6, 21e6, 22e6, 23e6, 24e6, 25e6], "macs": [5e9, 4e9, 3e9, 4.5e9, 3.5e9, 6e9]}
    return pd.DataFrame(columns | {"cardinality": [1, 1, 2, 2, 32, 32], "front": [True, False, True] + [False] * 3})


def test_a_space_is_drawn_whole_by_cardinality_its_front_ringed(ax, designs):
    design_space(ax, designs, 25_557_032, 4_089_184_256)
    found = points(ax)
    assert set(found) == {"C = 1", "C = 2", "C = 32", "front"}
    assert found["front"].tolist() == [[20, 5], [22, 3]]
    drawn = np.concatenate(list(found.values()))
    assert sorted(map(tuple, drawn)) == sorted(zip(designs["params"] / 1e6, designs["macs"] / 1e9, strict=True))
    assert found["C = 32"].tolist() == [[24, 3.5], [25, 6]]
    rings = next(scatter for scatter in ax.collections if scatter.get_label() == "front")
    assert not len(rings.get_facecolors())


@pytest.mark.parametrize(("params", "macs"), [(25e6, 4e9), (25e6, None), (None, 4e9)])
def test_a_budget_is_a_line_for_each_target_that_it_states(ax, designs, params, macs):
    design_space(ax, designs, params, macs)
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines]
    across, up = [([25, 25], [0, 1])] if params else [], [([0, 1], [4, 4])] if macs else []
    assert lines == across + up
    assert [text.get_text() for text in ax.get_legend().get_texts()].count("budget") == 1


@pytest.mark.parametrize(("scale", "units"), [(1, "millions billions"), (1e-3, "thousands millions"), (1e3, "b b")])
def test_the_axes_of_a_space_have_units_that_suit_it(ax, designs, scale, units):
    designs[["params", "macs"]] *= scale
    design_space(ax, designs, None, None)
    across, up = ("billions" if unit == "b" else unit for unit in units.split())
    assert (ax.get_xlabel(), ax.get_ylabel()) == (f"parameters ({across})", f"MACs ({up})")
    assert max(found[:, 0].max() for found in points(ax).values()) == pytest.approx(25)


def test_residuals_are_drawn_in_percent(ax, study):
    from analysis.figures import ladder_residuals

    ladder = ladder_frame(study[0].panels[0])
    ladder_residuals(ax, ladder, {})
    assert list(ax.lines[0].get_xdata()) == pytest.approx(list(100 * ladder["params_error"]))


def test_contrasts_are_drawn_with_their_intervals_and_the_margin(ax, tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(evidence={"margin": 0.4}))
    (finding,) = findings(sweep, collect(sweep, runs))
    contrasts(ax, finding)
    drawn = [tuple(bar[:, 0]) for kind in ax.containers for bar in kind.lines[2][0].get_segments()]
    assert np.allclose(sorted(drawn), sorted((c.low, c.high) for c in finding.comparison.contrasts))
    (band,) = ax.patches
    assert (band.get_x(), band.get_width()) == (-0.4, 0.8)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["2x5d", "3x4-7-15d", "4x3d", "6x2-4-9d"]


def test_contrasts_of_one_seed_are_points(ax, tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(seeds=1))
    contrasts(ax, findings(sweep, collect(sweep, runs))[0])
    (bars,) = ax.containers
    assert bars.get_label() == "no verdict" and len(bars.lines[0].get_xdata()) == 4


def test_the_front_is_what_no_other_beats_in_both():
    points = [(3, 1.0), (1, 5.0), (2, 2.0), (2, 3.0), (4, 1.0), (1, 6.0)]
    assert front(points) == [(1, 5.0), (2, 2.0), (3, 1.0)]


@pytest.mark.parametrize("cost", COSTS)
def test_costs_are_drawn_with_the_front_of_the_means(ax, study, cost):
    _, found, (finding,) = study
    error_vs_cost(ax, finding, found, "top1_error", "error", cost)
    assert len(ax.containers) == 5 and "front of the means" in ax.get_legend_handles_labels()[1]
    ringed = next(line for line in ax.lines if line.get_label() == "front of the means")
    assert min(ringed.get_ydata()) == pytest.approx(min(e.mean for e in finding.comparison.estimates.values()))


@pytest.mark.parametrize(("columns", "width", "rows"), [(None, 6.9, 1), (1, 3.35, 2), (2, 6.9, 1)])
def test_figures_are_as_wide_as_a_column_or_two(columns, width, rows):
    figure, own = axes(2, columns=columns)
    assert figure.get_figwidth() == width and len({ax.get_subplotspec().rowspan.start for ax in own}) == rows


def test_a_family_has_no_cardinality_and_no_activations_to_draw(study):
    from types import SimpleNamespace

    _, runs, (finding,) = study
    costs = [SimpleNamespace(params=n, macs=n, activations=None) for n in (1, 2)]
    design = SimpleNamespace(cardinality=None)
    arms = [SimpleNamespace(name=name, cost=cost, design=design) for name, cost in zip("ab", costs, strict=True)]
    panel = SimpleNamespace(arms=arms, name=finding.panel.name, baseline="a")
    bare = SimpleNamespace(panel=panel, populations=(), look=finding.look)
    known = set(applicable([finding], runs))
    without = {"class_differences", "error_distributions"}  # of runs that this study has not
    assert set(FIGURES) - known == without | {"error_by_arm"}
    assert known - set(applicable([bare], runs)) == {"error_vs_cardinality", "error_vs_activations"}
    assert "error_by_arm" in applicable([bare], runs)


def test_distributions_are_the_designs_of_each_cardinality(ax):
    groups = {"C=1": [12.0, 11.0, 13.0, 12.5, 11.5], "C=2": [10.0, 10.5, 11.0, 9.5, 10.2]}
    error_distributions(ax, groups, "test top-1 error")
    steps = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines}
    assert steps["C=2 (5 designs)"] == ([9.5, 10.0, 10.2, 10.5, 11.0], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert ax.get_xlabel() == "test top-1 error (%)" and len(ax.collections) == 2


def by_class(sweep, runs, gain):
    """Gives every run errors by class: the baseline's less `gain` of class 3 for the others; class 0 unknown."""
    for run in sweep.runs():
        path = sweep.paths(runs, run).result
        result = json.loads(path.read_text())
        own = [None, *(10.0 + number + 0.1 * run.seed for number in range(1, 10))]
        own[3] -= gain * (run.design.cardinality > 1)
        result["evaluations"]["test"]["class_errors"] = own
        path.write_text(json.dumps(result))


def test_differences_by_class_are_those_of_the_results(ax, tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(["resnet11_1x8d", "resnext11_4x3d"]))
    by_class(sweep, runs, 2.5)
    study = collect(sweep, runs)
    (finding,) = findings(sweep, study)
    frame = class_differences(finding, study).set_index("name")
    assert frame.loc["Dress", "difference"] == pytest.approx(-2.5)
    assert frame.loc["Coat", "difference"] == pytest.approx(0)
    assert frame.loc["Dress", "low"] < -2.5 < frame.loc["Dress", "high"]
    assert np.isnan(frame.loc["T-shirt", "difference"])
    draw_classes(ax, frame.reset_index(), finding)
    assert [text.get_text() for text in ax.get_xticklabels()][3] == "Dress"
    assert "class_differences" in applicable([finding], study)


def test_without_errors_by_class_there_is_no_figure(study):
    _, found, finding = study
    assert class_differences(finding[0], found).empty
    assert "class_differences" not in applicable(finding, found)


CROSSED = [
    {"design": "resnet11_1x8d", "name": f"{name}", "recipe": {"base": "fashion", "epochs": n}}
    for name, n in (("short", 2), ("long", 3))
]
NOT_TOLD = {
    "forms": ["resnext11_4x3d", "resnext11_4x3d_form-b", "resnext11_4x3d_form-a"],
    "shortcuts": ["resnet11_1x8d", "resnext11_4x3d_shortcut-none"],
    "recipes": CROSSED,
    "twice the cost": ["resnet11_1x8d", "resnext11_4x8d"],
    "axis": ["resnet11_1x8d", {"design": "resnext11_2x5d", "axis": "groups"}],
}


@pytest.mark.parametrize("arms", NOT_TOLD.values(), ids=NOT_TOLD)
def test_arms_that_differ_in_more_than_cardinality_have_a_row_each(tmp_path, arms):
    sweep, runs = write_study(tmp_path, sweep_fields(arms))
    found = collect(sweep, runs)
    known = applicable(findings(sweep, found), found)
    assert "error_by_arm" in known and "error_vs_cardinality" not in known


def test_rows_of_arms_hold_means_intervals_and_every_run(ax, study):
    from analysis.figures import error_by_arm

    _, found, (finding,) = study
    error_by_arm(ax, finding, found, "top1_error", "error")
    bars = [tuple(container.lines[2][0].get_segments()[0][:, 0]) for container in ax.containers]
    expected = [estimate(found.errors("width 8", arm.name)) for arm in finding.panel.arms]
    assert np.allclose(bars, [(e.low, e.high) for e in expected])
    dots = [line.get_xdata() for line in ax.lines if line.get_color() == "#333333"]
    assert sorted(np.concatenate(dots)) == sorted(found.runs["top1_error"])
    assert [text.get_text() for text in ax.get_yticklabels()][:2] == ["1x8d", "2x5d"]


def test_an_arm_without_runs_keeps_its_row(tmp_path):
    from analysis.figures import error_by_arm

    sweep, runs = write_study(tmp_path, sweep_fields(NOT_TOLD["forms"]))
    for run in sweep.runs()[0::3]:
        shutil.rmtree(sweep.paths(runs, run).folder)
    found = collect(sweep, runs)
    with style():
        _, (ax,) = axes(1)
        error_by_arm(ax, findings(sweep, found)[0], found, "top1_error", "error")
        assert len(ax.containers) == 2 and len(ax.get_yticks()) == 3


def test_a_family_s_network_stands_beside_designs(tmp_path):
    fields = sweep_fields(["resnet11_1x8d", "resnext11_4x3d"])
    family = {"family": "nets.py:ensemble", "knobs": {"members": 2}, "source": "0" * 16, "name": "ensemble of 2"}
    fields["panels"][0]["arms"].append(family | {"params": 33_500, "macs": 1_210_000})
    sweep, runs = write_study(tmp_path, fields)
    found = collect(sweep, runs)
    (finding,) = findings(sweep, found)
    assert "error_by_arm" in applicable([finding], found)
    with style():
        drawn = draw(sweep, found, [finding])
    assert [text.get_text() for text in drawn["error_by_arm"].axes[0].get_yticklabels()][2] == "ensemble of 2"


def curves(tmp_path, seeds=3, epochs=4, arms=None):
    recipe = {"base": "fashion", "epochs": epochs}
    fields = panel_fields(arms or list(TRUTH)[:2], name="p", recipe=recipe)
    sweep, runs = write_study(tmp_path, {"question": "?", "panels": [fields], "seeds": seeds, "resources": {"gpus": 0}})
    return sweep, collect(sweep, runs)


def test_curves_have_t_intervals_and_training_is_dashed(ax, tmp_path):
    sweep, found = curves(tmp_path)
    learning_curves(ax, sweep.panels[0], found.epochs, "error")
    rows = found.epochs[found.epochs["arm"] == sweep.panels[0].arms[0].name]
    last = rows[rows["epoch"] == 4]
    for band, key in zip(ax.collections, ("train_error", "top1_error"), strict=False):
        at_end = [y for x, y in band.get_paths()[0].vertices if x == 4]
        assert (min(at_end), max(at_end)) == pytest.approx((estimate(last[key]).low, estimate(last[key]).high))
    assert [line.get_linestyle() for line in ax.lines[:4]] == ["--", "-", "--", "-"]


def test_curves_of_one_seed_have_no_band(ax, tmp_path):
    sweep, found = curves(tmp_path, seeds=1)
    learning_curves(ax, sweep.panels[0], found.epochs, "error")
    assert len(ax.lines) == 5 and not any(len(band.get_paths()) for band in ax.collections)


def test_few_arms_share_an_axes_and_the_baseline_is_in_each(study):
    sweep, found, finding = study
    with style():
        own = draw(sweep, found, finding, only=["learning_curves"])["learning_curves"].axes
    shown = [[text.get_text() for text in ax.get_legend().get_texts()] for ax in own]
    assert shown == [["1x8d", "2x5d", "3x4-7-15d", "training"], ["1x8d", "4x3d", "6x2-4-9d", "training"]]
    assert own[0].get_ylim() == own[1].get_ylim()
    assert own[0].lines[1].get_color() == own[1].lines[1].get_color()


def test_of_many_epochs_the_steep_fall_is_above_the_axes(ax, tmp_path):
    sweep, found = curves(tmp_path, epochs=40)
    learning_curves(ax, sweep.panels[0], found.epochs, "error")
    errors = found.epochs[["top1_error", "train_error"]]
    late = errors[found.epochs["epoch"] > 6]
    assert late.max().max() < ax.get_ylim()[1] < errors.max().max()


def test_costs_that_all_arms_share_are_not_drawn(tmp_path):
    sweep, runs = write_study(tmp_path, sweep_fields(NOT_TOLD["forms"]))
    found = collect(sweep, runs)
    known = applicable(findings(sweep, found), found)
    assert "error_vs_params" not in known and "error_vs_activations" in known and "ladder_residuals" in known


def written(folder, study, cores, monkeypatch):
    """The bytes of two of a study's figures, written where there are so many cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    folder.mkdir()
    with style():
        write_figures(folder, draw(*study, only=["contrasts", "error_vs_macs"]))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_figures_are_the_same_however_many_cores_write_them(study, tmp_path, monkeypatch):
    one, three = (written(tmp_path / str(cores), study, cores, monkeypatch) for cores in (1, 3))
    assert one == three
    assert sorted(one) == [f"{name}.{form}" for name in ("contrasts", "error_vs_macs") for form in ("png", "svg")]


def test_a_process_that_dies_while_it_writes_figures_costs_no_figure(study, tmp_path, monkeypatch):
    here, to_svg_here = os.getpid(), files.to_svg
    monkeypatch.setattr(files, "to_svg", lambda figure: to_svg_here(figure) if os.getpid() == here else os._exit(9))
    assert len(written(tmp_path / "figures", study, 2, monkeypatch)) == 4
