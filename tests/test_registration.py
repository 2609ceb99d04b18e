"""What is frozen when a sweep is first launched, and what becomes of a sweep that changes after that."""

import json
from dataclasses import replace

import pytest
from studies import panel_fields, sweep_fields, write_run, write_sweep

from ablation import registration
from ablation.errors import UserError
from ablation.registration import changes, content_of, register, registrations, related
from ablation.run import write_json
from ablation.schema import Evidence
from ablation.sweep import load_sweep


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path, sweep_fields(evidence={"margin": 0.5}))


def test_the_first_launch_registers_and_the_second_finds_it(sweep, tmp_path):
    made, new = register(sweep, tmp_path / "runs")
    again, anew = register(sweep, tmp_path / "runs")
    assert (new, anew) == (True, False)
    assert again == made == registrations(tmp_path / "runs", "study")[0]
    assert len(made.digest) == 64 and made.number == 1
    assert made.content["evidence"]["margin"] == 0.5 and made.content["looks"] == [3]


def test_of_two_launches_at_once_the_first_registers(sweep, tmp_path, monkeypatch):
    real = registration.write_json

    def late(path, fields, **how):
        real(path, fields | {"date": "before"})
        monkeypatch.setattr(registration, "write_json", real)
        real(path, fields, **how)

    monkeypatch.setattr(registration, "write_json", late)
    made, new = register(sweep, tmp_path / "runs")
    assert (made.date, new) == ("before", False)


def test_without_hard_links_it_registers_all_the_same(sweep, tmp_path, monkeypatch):
    def link(*paths):
        raise PermissionError

    monkeypatch.setattr("os.link", link)
    made, new = register(sweep, tmp_path / "runs")
    assert new and registrations(tmp_path / "runs", "study") == [made]
    with pytest.raises(FileExistsError):
        write_json(tmp_path / "runs" / "study" / "registration.json", {}, anew=True)


def test_what_does_not_decide_a_verdict_is_not_in_it(sweep, tmp_path):
    fields = sweep_fields(evidence={"margin": 0.5}, resources={"gpus": 0, "parallel": 9})
    fields["panels"][0]["arms"][0]["published"] = {"top1_error": 1.0}
    (tmp_path / "other").mkdir()
    other = write_sweep(tmp_path / "other", fields)
    assert content_of(other) == content_of(sweep)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": (0, 1, 2, 3)}, "seeds: [0, 1, 2] then, [0, 1, 2, 3] now"),
        ({"evidence": Evidence(margin=0.9)}, "margin: 0.5 then, 0.9 now"),
        (
            {"question": "Another?"},
            'question: "At one budget, does error fall as cardinality grows?" then, "Another?" now',
        ),
    ],
)
def test_a_change_is_said(sweep, change, said):
    assert said in changes(content_of(sweep), content_of(replace(sweep, **change)))


def test_changed_arms_and_panels_are_said(sweep):
    panel = sweep.panels[0]
    gone = replace(panel, arms=panel.arms[:-1])
    longer = replace(panel.arms[1], recipe=panel.recipe.model_copy(update={"epochs": 9}))
    other = replace(panel, arms=(panel.arms[0], longer, *panel.arms[2:]))
    name = panel.name
    assert changes(content_of(sweep), content_of(replace(sweep, panels=(gone,)))) == [
        f"arm resnext11_6x2-4-9d of panel {name} was removed"
    ]
    assert changes(content_of(sweep), content_of(replace(sweep, panels=(other,)))) == [
        f"arm resnext11_2x5d of panel {name} was changed"
    ]
    assert changes(content_of(sweep), content_of(replace(sweep, panels=(panel, replace(panel, name="more"))))) == [
        "panel more was added"
    ]


def test_until_a_run_tells_something_a_changed_sweep_is_registered_anew(sweep, tmp_path):
    register(sweep, tmp_path / "runs")
    wider = replace(sweep, evidence=Evidence(margin=0.9))
    made, new = register(wider, tmp_path / "runs")
    assert new and made.number == 1
    assert [r.content["evidence"]["margin"] for r in registrations(tmp_path / "runs", "study")] == [0.9]


def test_after_that_the_first_registration_stays(sweep, tmp_path):
    first, _ = register(sweep, tmp_path / "runs")
    write_run(sweep, sweep.runs()[0], tmp_path / "runs", 12.0)
    made, new = register(replace(sweep, evidence=Evidence(margin=0.9)), tmp_path / "runs")
    assert new and made.number == 2
    assert registrations(tmp_path / "runs", "study")[0] == first
    back, new = register(sweep, tmp_path / "runs")
    assert new and back.number == 3 and back.digest == first.digest


def test_a_registration_that_was_changed_by_hand_is_refused(sweep, tmp_path):
    register(sweep, tmp_path / "runs")
    path = tmp_path / "runs" / "study" / "registration.json"
    fields = json.loads(path.read_text())
    fields["content"]["evidence"]["margin"] = 3.0
    path.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="was changed after it was made"):
        registrations(tmp_path / "runs", "study")


def test_arms_tell_their_axes(tmp_path):
    arms = ["resnet11_1x8d", "resnext11_4x3d", "resnet11_1x9d", "resnet14_1x8d"]
    arms = [{"design": arm} for arm in arms]
    arms[3]["design"] = "resnet11_1x8d"
    arms[3] |= {"name": "by hand", "axis": "depth"}
    sweep = write_sweep(tmp_path, sweep_fields(arms, evidence={"contrasts": [["cardinality", "width"]]}))
    assert [arm.axis for arm in sweep.panels[0].arms] == [None, "cardinality", "width", "depth"]
    assert sweep.panels[0].along("width") == ["resnet11_1x9d"]


@pytest.mark.parametrize(
    ("evidence", "says"),
    [
        ({"looks": [3, 2]}, "looks must rise"),
        ({"looks": [2, 4]}, "looks must rise, up to the 3 seeds"),
        ({"looks": [1, 3]}, "greater than or equal to 2"),
        ({"contrasts": [["cardinality", "depth"]]}, "no panel can compare cardinality with depth"),
        ({"contrasts": [["cardinality", "witdh"]]}, "no panel can compare"),
        ({"contrasts": [["resnet11_1x8d", "resnet11_1x8d"]]}, "no panel can compare"),
    ],
)
def test_evidence_that_makes_no_sense_is_refused_with_its_place(tmp_path, evidence, says):
    with pytest.raises(UserError, match=says) as error:
        write_sweep(tmp_path, sweep_fields(evidence=evidence))
    assert error.value.where.startswith(str(tmp_path / "study.yaml:"))


def test_contrasts_of_arms_and_of_axes_are_read(tmp_path):
    pairs = [["resnext11_4x3d", "resnext11_2x5d"]]
    sweep = write_sweep(tmp_path, sweep_fields(evidence={"contrasts": pairs, "looks": [2, 3], "pairs": True}))
    assert sweep.evidence.contrasts == (("resnext11_4x3d", "resnext11_2x5d"),)
    assert sweep.looks == (2, 3) and sweep.evidence.pairs


def test_tuning_names_arms_that_are_there(tmp_path):
    fields = sweep_fields()
    fields["panels"][0]["tuned"] = {"arms": ["resnet11_1x8d"], "trials": 15}
    assert write_sweep(tmp_path, fields).panels[0].tuned.trials == 15
    fields["panels"][0]["tuned"]["arms"] = ["resnet12"]
    with pytest.raises(UserError, match="tuned: 'resnet12' is not an arm"):
        write_sweep(tmp_path, fields)


def test_panels_may_be_more(tmp_path):
    fields = sweep_fields()
    fields["panels"].append(panel_fields(["resnet11_1x8d", "resnext11_3x4d"], name="more"))
    path = write_sweep(tmp_path, fields).path
    assert set(content_of(load_sweep(path))["panels"]) == {fields["panels"][0]["name"], "more"}


def test_a_trial_that_shares_no_run_registers_nothing_for_the_study(sweep, tmp_path):
    trial = load_sweep(sweep.path, ["panels.*.recipe.epochs=1", "seeds=1"])
    register(trial, tmp_path / "runs")
    write_run(trial, trial.runs()[0], tmp_path / "runs", 12.0)
    made, new = register(sweep, tmp_path / "runs")
    assert new and made.number == 2
    found = related(registrations(tmp_path / "runs", "study"), content_of(sweep))
    assert [one.number for one in found] == [2]
    assert register(trial, tmp_path / "runs")[1] is False
