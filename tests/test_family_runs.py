"""A user's own family in a sweep: counted at launch, trained by the same engine, resumed bit for bit, reported."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ablation.errors import UserError
from ablation.family import family_design, load_family, source_of
from ablation.family.count import count
from ablation.family.network import member
from ablation.network import BatchNorm, set_norm_batch
from ablation.records import last_epochs, read_records
from ablation.run import load_run, prepare
from ablation.sweep import load_sweep
from ablation.train import Settings, Stopped, Training

ROOT = Path(__file__).parent.parent
IMAGE = {"channels": 1, "resolution": 28, "classes": 10}
BLOCKS = '''\
"""A user's file: batch norm, dropout, attention."""
from torch import nn
from ablation.family import family


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        y = x.flatten(2).transpose(1, 2)
        return x + self.attention(y, y, y, need_weights=False)[0].transpose(1, 2).reshape(x.shape)


@family(solve="width", axes=["heads"], multiple=lambda knobs: knobs["heads"])
def net(width, heads, drop=0.1, channels=1, classes=10):
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, 4, bias=False), nn.BatchNorm2d(width), nn.ReLU(), Attention(width, heads),
        nn.Dropout(drop), nn.Flatten(), nn.Linear(49 * width, 2 * width), nn.BatchNorm1d(2 * width),
        nn.ReLU(), nn.Linear(2 * width, classes),
    )
'''


@pytest.fixture
def blocks(tmp_path):
    path = tmp_path / "lab" / "blocks.py"
    path.parent.mkdir()
    path.write_text(BLOCKS)
    return path


@pytest.fixture
def sweep_file(tmp_path, blocks):
    """A sweep of two members and a design beside them."""
    name = f"{blocks}:net"

    def arm(heads, width, source=""):
        price = count(load_family(name), {"heads": heads, "width": width}, IMAGE)
        knobs = f"{{heads: {heads}, width: {width}}}"
        return f"{{family: '{name}', knobs: {knobs}, params: {price.params}, macs: {price.macs}{source}}}"

    path = tmp_path / "own.yaml"
    path.write_text(f"""\
question: Do more heads err less?
panels:
  - name: heads
    budget: params=33930,macs=1210880
    dataset: {{name: fashion_mnist, validation: 100}}
    recipe: {{base: fashion, epochs: 2, batch: 32, norm_batch: 16, lr: 0.05}}
    baseline: net_heads2_width16
    arms:
      - {arm(2, 16)}
      - {arm(4, 16, f", source: {source_of(name)}")}
      - {{design: {{blocks: [1, 1, 1], cardinality: 1, widths: [8, 16, 32], outputs: [32, 64, 128], stem: small,
          stem_width: 16}}, params: 33930, macs: 1210880}}
seeds: 2
precision: fp32
resources: {{gpus: 0, threads: 1, parallel: 2}}
""")
    return path


@pytest.fixture
def start(sweep_file, small_fashion, tmp_path):
    """Make the folder of the sweep's first run below a name, and give a function that trains it."""

    def start(name, index=0):
        sweep = load_sweep(sweep_file)
        run = sweep.runs()[index]
        paths = sweep.paths(tmp_path / name, run)
        prepare(run, paths)

        def train(stop_after=None):
            steps = iter(range(10**9))

            def stop():
                return "asked" if stop_after is not None and next(steps) >= stop_after - 1 else None

            Training(paths, Settings(0, 1, data_dir=small_fashion), stop, lambda: True).to_the_end()

        return paths, train

    return start


def weights(paths):
    return torch.load(paths.weights, weights_only=True)


def losses(paths):
    return [(r["train_loss"], r["loss"], r["top1_error"]) for r in last_epochs(read_records(paths.log))]


def same(one, two):
    first, second = weights(one), weights(two)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first) and (
        losses(one) == losses(two)
    )  # fmt: skip


@pytest.mark.parametrize("stops", [[7], [20, 3], [1, 1, 30]])
def test_interrupted_equals_uninterrupted_dropout_and_all(start, stops):
    (whole, train), (parts, resume) = start("whole"), start("parts")
    torch.manual_seed(1)
    train()
    for steps in stops:
        torch.manual_seed(steps)  # what another run of this worker drew before
        with pytest.raises(Stopped):
            resume(stop_after=steps)
    resume()
    assert same(whole, parts)
    assert losses(whole)[-1][0] < losses(whole)[0][0]


def test_seeds_decide_the_start_and_nothing_else_does(blocks):
    design = family_design(f"{blocks}:net", {"heads": 2, "width": 8}, source_of(f"{blocks}:net"), **IMAGE)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = member(design, 0), member(design, 0), member(design, 1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one[0].weight, other[0].weight)


def test_batch_norms_see_groups_and_keys_stay_the_users(blocks):
    design = family_design(f"{blocks}:net", {"heads": 2, "width": 8}, source_of(f"{blocks}:net"), **IMAGE)
    ours, theirs = member(design, 0), load_family(design.family).function(8, 2, drop=0.0)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert isinstance(ours[1], BatchNorm) and isinstance(ours[7], BatchNorm)
    theirs.load_state_dict(ours.state_dict())
    ours[4].p = 0.0
    images = torch.randn(8, 1, 28, 28)
    torch.testing.assert_close(ours(images), theirs(images))
    set_norm_batch(ours, 4)
    torch.testing.assert_close(ours(images), torch.cat([theirs(images[:4]), theirs(images[4:])]))


def normed(tmp_path, body):
    """The member of a family whose function has this body."""
    path = tmp_path / "norm.py"
    path.write_text(f"from ablation.family import family\nfrom torch import nn\n\n@family()\ndef net(width):\n{body}\n")
    return member(family_design(f"{path}:net", {"width": 4}, source_of(f"{path}:net")), 0)


@pytest.mark.parametrize("norm", ["BatchNorm2d(4, momentum=None)", "BatchNorm2d(4, track_running_stats=False)"])
def test_a_batch_norm_that_can_not_see_groups_is_refused(tmp_path, norm):
    with pytest.raises(UserError, match="can't see norm_batch images"):
        normed(tmp_path, f"    return nn.Sequential(nn.{norm})")


def test_one_batch_norm_in_two_places_stays_one(tmp_path):
    network = normed(tmp_path, "    n = nn.BatchNorm2d(width, affine=False)\n    return nn.Sequential(n, n)")
    assert network[0] is network[1] and isinstance(network[0], BatchNorm) and network[0].weight is None


def test_a_run_s_id_follows_knobs_and_text_not_the_place(sweep_file, blocks, tmp_path):
    run = load_sweep(sweep_file).runs()[0]
    elsewhere = tmp_path / "copy.py"
    elsewhere.write_text(BLOCKS)
    moved = replace(run, design=replace(run.design, family=f"{elsewhere}:net"))
    assert moved.id == run.id and run.id.startswith("net_heads2_width16-s0-")
    assert replace(run, design=replace(run.design, values=(("heads", 1), ("width", 16)))).id != run.id
    blocks.write_text(BLOCKS + "# a word\n")
    assert load_sweep(sweep_file).runs()[0].id != run.id


def test_run_json_holds_what_the_run_is(start):
    paths, _ = start("runs")
    fields = json.loads(paths.run_json.read_text())
    assert fields["design"]["source"] == source_of(fields["design"]["family"])
    assert fields["design"]["knobs"] == {"heads": 2, "width": 16}
    assert load_run(paths).id == paths.id
    assert fields["cost"]["activations"] > 0


def test_a_changed_source_is_one_plain_error(start, sweep_file, blocks):
    paths, train = start("runs")
    blocks.write_text(BLOCKS.replace("drop=0.1", "drop=0.2"))
    with pytest.raises(UserError, match="has changed since this was planned") as error:
        train()
    assert len(str(error.value).splitlines()) == 2 and not paths.result.exists()
    with pytest.raises(UserError, match="has changed"):
        load_sweep(sweep_file).count_families()


def test_a_changed_module_beside_it_is_another_run_and_refused(start, sweep_file, blocks):
    helper = blocks.with_name("helper_of_these.py")
    helper.write_text("")
    blocks.write_text(BLOCKS.replace("from torch", "import helper_of_these\nfrom torch", 1))
    sweep_file.write_text(re.sub(", source: [0-9a-f]+", "", sweep_file.read_text()))
    _, train = start("runs")
    before = load_sweep(sweep_file).runs()[0].id
    blocks.with_name("unrelated.py").write_text("")
    assert load_sweep(sweep_file).runs()[0].id == before
    helper.write_text("# a word\n")
    assert load_sweep(sweep_file).runs()[0].id != before
    with pytest.raises(UserError, match="has changed since this was planned"):
        train()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("family: '", "design: x, family: '", "either a design or a family"),
        ("{heads: 2, width: 16}, params", "{heads: 2, width: 18}, params", "the file says"),
        ("{heads: 2, width: 16}", "{heads: 2, widht: 16}", "Did you mean width"),
        ("{heads: 2, width: 16}", "{heads: 2}", "needs a value of width"),
        ("{heads: 2, width: 16}", "{heads: 2, width: [1]}", "knob width must be"),
        ("blocks.py:net', knobs: {heads: 2", "block.py:net', knobs: {heads: 2", "no such file"),
    ],
)
def test_bad_arms(sweep_file, old, new, message):
    text = sweep_file.read_text()
    assert old in text
    sweep_file.write_text(
        text.replace(old, new, 1).replace("baseline: net_heads2_width16", "baseline: net_heads4_width16")
    )
    with pytest.raises(UserError, match=message) as error:
        load_sweep(sweep_file).count_families()
    assert len(str(error.value).splitlines()) <= 2


def command(module, *options, cwd):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "ABLATION"))}
    environment |= {"PYTHONPATH": str(ROOT), "ABLATION_SITE": str(cwd / "site.yaml")}
    (cwd / "site.yaml").write_text("{}\n")
    arguments = [sys.executable, "-m", module, "own.yaml", "--runs", "runs", *options]
    return subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_family_is_launched_and_reported(sweep_file, small_fashion, tmp_path):
    sweep_file.write_text(sweep_file.read_text().replace(f"{tmp_path}/", ""))  # named from the current directory
    options = ("--data-dir", str(small_fashion))
    shown = command("ablation.launch", *options, "--dry-run", "--json", "--on", "here", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    designs = [row["design"] for row in json.loads(shown.stdout)["runs"]]
    assert designs[:2] == ["net_heads2_width16", "net_heads4_width16"]
    one_seed = ("--set", "seeds=1", "--runs", "others")  # elsewhere: what is launched first is what is registered
    here = command("ablation.launch", *options, "--on", "here", *one_seed, cwd=tmp_path)
    assert here.returncode == 0 and "own: 3 done" in here.stdout, here.stderr
    local = command("ablation.launch", *options, "--on", "local", cwd=tmp_path)
    assert local.returncode == 0 and "own: 6 done" in local.stdout, local.stderr
    report = command("analysis.report", "--out", "reports", "--json", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    answer = json.loads(report.stdout)
    assert [arm["n"] for arm in answer["arms"]] == [2, 2, 2]
    text = next(tmp_path.glob("reports/**/report.md")).read_text()
    assert "heads=2, width=16" in text


def test_a_wrong_cost_is_refused_before_anything_starts(sweep_file, small_fashion, tmp_path):
    sweep_file.write_text(sweep_file.read_text().replace("macs: ", "macs: 1", 1))
    done = command("ablation.launch", "--data-dir", str(small_fashion), "--on", "here", cwd=tmp_path)
    assert done.returncode == 2 and "the file says" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
