"""Sweep files: what is read, what is refused, and where the error points."""

from pathlib import Path

import pytest

from ablation.errors import UserError
from ablation.schema import Resources
from ablation.sweep import load_sweep

ROOT = Path(__file__).parent.parent
TEXT = """\
question: Does error fall as cardinality grows?
panels:
  - name: small
    budget: fashion
    dataset: fashion_mnist
    recipe: fashion
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
      - {design: resnext11_2x5d, params: 33356, macs: 1227152, published: {top1_error: 9.5}}
seeds: 3
resources: {parallel: 2}
"""


@pytest.fixture
def read(tmp_path):
    def read(text=TEXT, *overrides):
        path = tmp_path / "study.yaml"
        path.write_text(text)
        return load_sweep(path, overrides)

    return read


def test_runs_come_seed_by_seed(read):
    runs = read().runs()
    assert [(run.seed, run.arm) for run in runs[:3]] == [
        (0, "resnet11_1x8d"),
        (0, "resnext11_2x5d"),
        (1, "resnet11_1x8d"),
    ]
    assert len({run.id for run in runs}) == 6


def test_a_number_of_seeds_or_a_list_of_them(read):
    assert read().seeds == (0, 1, 2)
    assert read(TEXT.replace("seeds: 3", "seeds: [4, 7]")).seeds == (4, 7)


def test_a_design_as_a_mapping_takes_the_rest_from_the_budget(read):
    text = TEXT.replace("design: resnext11_2x5d", "design: {cardinality: 2, widths: [5, 10, 20]}")
    assert read(text).panels[0].arms[1].design == read().panels[0].arms[1].design


def test_published_numbers_are_kept(read):
    assert read().panels[0].arms[1].published == {"top1_error": 9.5}


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ("panels.0.recipe.lr=0.1", True),
        ("precision=bf16", True),
        ("panels.*.dataset.evaluate=validation", True),
        ("resources.threads=2", False),
        ("resources.job_hours=1.5", False),
        ("resources.gpus=8", False),
        ("resources.nodes=2", False),
        ("resources.tasks=2", False),
        ("resources.micro_batch=32", False),
        ("resources.kernels=native", False),
        ("question=Why?", False),
        ("panels.0.dataset.validation=77", False),
    ],
)
def test_an_id_digests_what_decides_the_numbers_and_nothing_else(read, override, changes):
    assert (read(TEXT, override).runs()[0].id != read().runs()[0].id) == changes


def test_renaming_a_recipe_does_not_rename_its_runs(read):
    assert read(TEXT, "panels.0.recipe.name=mine").runs()[0].id == read().runs()[0].id


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        ("seeds: 3", "seed: 3", "11:1", "unknown key 'seed'\n  Did you mean seeds?"),
        ("seeds: 3", "seeds: 0", "11:8", "seeds: input should be greater than or equal to 1, got 0"),
        ("seeds: 3", "seeds: 99999999999", "11:8", "seeds: input should be less than or equal to 10000"),
        ("seeds: 3", "seeds: [1, 1]", "11:8", "seed 1 stands twice"),
        ("seeds: 3", "seeds: 3\nseeds: 4", "12:1", "duplicate key 'seeds'"),
        ("seeds: 3", 'seeds: "3"', "11:8", "seeds: YAML reads 3 as text\n  Write 3."),
        ("33930", "33931", "9:41", "params of resnet11_1x8d is 33,930, not 33,931"),
        ("1227152", "1", "10:55", "macs of resnext11_2x5d is 1,227,152, not 1"),
        ("recipe: fashion", "recipe: {base: fashion, epoch: 3}", "6:29", "unknown key 'epoch'\n  Did you mean epochs"),
        ("recipe: fashion", "recipe: {base: fashion, lr: 1e-1}", "6:33", "lr: YAML reads 1e-1 as text\n  Write 0.1."),
        ("recipe: fashion", "recipe: fashoin", "6:13", "unknown recipe 'fashoin'\n  Did you mean fashion or"),
        ("recipe: fashion", "recipe: {base: fashion, norm_batch: 50}", "6:13", "must be a multiple of norm_batch"),
        ("budget: fashion", "budget: resnet5", "4:13", "unknown budget 'resnet5'\n  Did you mean resnet50"),
        ("baseline: res", "baseline: rse", "7:15", "is not an arm\n  Did you mean resnet11_1x8d"),
        (
            "dataset: fashion_mnist",
            "dataset: fashion_mnits",
            "5:14",
            "unknown data set 'fashion_mnits'\n  Did you mean",
        ),
        ("dataset: fashion_mnist", "dataset: {name: folder, path: ../x, classes: 2}", "5:14", "below the data root"),
        ("parallel: 2", "paralel: 2", "12:13", "unknown key 'paralel'\n  Did you mean parallel?"),
        ("- {design: resnet11", "- {desing: resnet11", "9:10", "unknown key 'desing'\n  Did you mean design?"),
        ("design: resnext11_2x5d", "design: resnext11_0x5d", "10:18", "cardinality must be a whole number"),
        ("design: resnext11_2x5d", "design: {width: [1]}", "10:18", "unknown field 'width'"),
        ("design: resnext11_2x5d", "design: resnext12_2x5d", "10:18", "unknown depth 12"),
        ("question: Does", "question: [Does", "", "not YAML"),
        ("{parallel: 2}", "{gpus: 9}", "12:19", "gpus: input should be less than or equal to 8, got 9"),
        ("{parallel: 2}", "{gpus: 2, tasks: 3}", "12:12", "resources: tasks is 3 and gpus 2: a GPU has one process\n"),
        ("{parallel: 2}", "&a {parallel: 2}\nevidence: *b", "", "undefined alias"),
        (TEXT, "", "1:1", "a sweep is a mapping"),
        (TEXT, "- 1", "1:1", "a sweep is a mapping"),
        ("name: small", "nome: small", "3:5", "unknown key 'nome'\n  Did you mean name?"),
        ("  - name: small\n    budget", "  - budget", "3:5", "name is missing"),
    ],
)
def test_mistakes_are_taught(read, tmp_path, old, new, where, message):
    assert old in TEXT
    with pytest.raises(UserError) as error:
        read(TEXT.replace(old, new, 1))
    assert str(error.value).startswith(f"{tmp_path}/study.yaml:{where}")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("panels.*.recipe.lr=1e-1", "--set panels.*.recipe.lr: lr: YAML reads 1e-1 as text"),
        ("a=1", "--set a: unknown key 'a'"),
        ("panels.9.name=1", "--set panels.9.name: nothing there to set at 9"),
        ("resources.checkpoint_minutes=-1", "--set resources.checkpoint_minutes: checkpoint_minutes: input should be"),
        ("seeds", "Write --set key.path=value"),
        ("seeds=[", "is not a YAML value"),
    ],
)
def test_overrides_are_checked_by_the_same_schema(read, override, message):
    with pytest.raises(UserError) as error:
        read(TEXT, override)
    assert message in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_sweep(tmp_path / "absent.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.name)
def test_every_sweep_that_ships_is_sound(path):
    assert load_sweep(path).runs()


@pytest.mark.parametrize(
    ("fields", "tasks", "ranks"),
    [({}, 1, 1), ({"gpus": 0}, 1, 1), ({"gpus": 8, "nodes": 2}, 8, 16), ({"gpus": 0, "tasks": 2, "nodes": 2}, 2, 4)],
)
def test_the_processes_of_a_run(fields, tasks, ranks):
    resources = Resources.model_validate(fields)
    assert (resources.tasks_a_node, resources.ranks) == (tasks, ranks)
