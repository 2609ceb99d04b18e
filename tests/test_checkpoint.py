"""Checkpoints: found where they are looked for, the last two kept, nothing let in that is not one."""

import io
import os
import pickle
import zipfile

import pytest
import torch

from ablation import checkpoint
from ablation.checkpoint import Like, Progress
from ablation.errors import UserError
from ablation.run import checkpoint_files, put_aside_name


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "runs" / "study" / "run"
    folder.mkdir(parents=True)
    return folder / "checkpoint.pt"


@pytest.fixture
def trained():
    """A small network and its optimiser after a step."""
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return network, optimiser


@pytest.fixture
def like(trained):
    return Like(trained[0].state_dict(), trained[1], average=False)


def content(step):
    return {"run": "run", "weights": torch.full((3,), float(step))}


def whole(trained, **changes):
    network, optimiser = trained
    parts = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "progress": vars(Progress(step=1))}
    return {"run": "run", **parts, **changes}


def steps(path):
    found = checkpoint.load(path, "run")
    return found.content and found.content["weights"].tolist()[0], len(found.damaged)


def test_it_lies_on_scratch_and_is_found_beside_the_records(path, tmp_path):
    checkpoint.put_on(tmp_path / "scratch", path)
    assert not path.exists()
    for step in (1, 2, 3):
        checkpoint.save(path, content(step))
    assert {file.name for file in (tmp_path / "scratch" / "study").iterdir()} == {"run.pt", "run.before.pt"}
    assert path.is_symlink() and steps(path) == (3, 0)


def test_a_checkpoint_that_is_there_stays_where_it_is(path, tmp_path):
    checkpoint.save(path, content(1))
    checkpoint.put_on(tmp_path / "scratch", path)
    assert not path.is_symlink() and steps(path) == (1, 0)


def test_purged_scratch_means_from_the_start(path, tmp_path):
    checkpoint.put_on(tmp_path / "scratch", path)
    checkpoint.save(path, content(1))
    path.readlink().unlink()
    assert not path.exists() and checkpoint.load(path, "run").content is None
    checkpoint.put_on(tmp_path / "elsewhere", path)
    checkpoint.save(path, content(2))
    assert (tmp_path / "elsewhere" / "study" / "run.pt").exists()


@pytest.mark.parametrize("scratch", ["scratch", None])
def test_removing_leaves_nothing(path, tmp_path, scratch):
    checkpoint.put_on(scratch and tmp_path / scratch, path)
    for step in (1, 2, 3):
        checkpoint.save(path, content(step))
    flip(checkpoint_files(path)[0], 100)
    checkpoint.load(path, "run")
    checkpoint.remove(path)
    assert not path.is_symlink() and not path.exists() and not [*tmp_path.rglob("*.pt")]


def test_a_scratch_folder_that_can_not_be_made_is_said(path, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="checkpoints can't lie there"):
        checkpoint.put_on(tmp_path / "file" / "scratch", path)


def flip(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_flipped_bytes_and_cuts_are_found_and_the_one_before_used(path):
    checkpoint.save(path, content(1))
    checkpoint.save(path, content(2))
    new, old = (file.read_bytes() for file in checkpoint_files(path))
    for at in [*range(0, len(new), 23), *range(len(new) - 100, len(new))]:
        path.write_bytes(new[:at] + bytes([new[at] ^ 64]) + new[at + 1 :])
        assert steps(path) == (1, 1), f"byte {at} of {len(new)}"
        path.write_bytes(new[:at])
        assert steps(path) == (1, 1), f"cut at {at} of {len(new)}"
        assert checkpoint_files(path)[1].read_bytes() == old


def test_a_damaged_one_is_put_aside_and_does_not_push_out_the_good_one(path):
    for step in (1, 2):
        checkpoint.save(path, content(step))
    flip(path, 50)
    assert "put aside as checkpoint.damaged.pt" in checkpoint.load(path, "run").damaged[0]
    assert put_aside_name(path).exists() and not path.exists()
    checkpoint.save(path, content(3))
    flip(path, 50)
    assert steps(path) == (1, 1)


def test_where_none_is_whole_the_run_starts_again_and_says_so(path):
    for step in (1, 2):
        checkpoint.save(path, content(step))
    for file in checkpoint_files(path):
        flip(file, 50)
    found = checkpoint.load(path, "run")
    assert found.content is None and found.damaged[-1] == ("no checkpoint is left to go on from: the run starts again")


def test_one_that_cannot_be_read_for_now_is_not_put_aside(path, monkeypatch):
    checkpoint.save(path, content(1))

    def broken(self):
        raise OSError(5, "Input/output error", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "read_bytes", broken)
        with pytest.raises(OSError, match="Input/output error"):
            checkpoint.load(path, "run")
    assert steps(path) == (1, 0)


def test_a_writer_that_lost_the_run_changes_nothing(path):
    checkpoint.save(path, content(1))

    def lost():
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        checkpoint.save(path, content(2), lost)
    assert steps(path) == (1, 0) and [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("after", ["link", "replace 1"])
def test_wherever_its_writer_dies_a_checkpoint_is_there(path, monkeypatch, after):
    for step in (1, 2):
        checkpoint.save(path, content(step))
    before, count = path.read_bytes(), iter(range(9))

    def dying(name):
        real = getattr(os, name)

        def call(*arguments):
            real(*arguments)
            if after == name or after == f"{name} {next(count)}":
                raise KeyboardInterrupt

        return call

    with monkeypatch.context() as patch:
        for name in ("link", "replace"):
            patch.setattr(os, name, dying(name))
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(path, content(3))
    assert path.exists() and steps(path)[1] == 0
    assert after == "replace 1" or path.read_bytes() == before


def test_without_hard_links_two_are_kept_too(path, monkeypatch):
    def none(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    for step in (1, 2, 3):
        checkpoint.save(path, content(step))
    flip(path, 50)
    assert steps(path) == (2, 1)


def test_what_a_killed_writer_left_is_removed(path):
    (path.parent / ".checkpoint.pt.00c0ffee").write_bytes(bytes(100))
    checkpoint.save(path, content(1))
    checkpoint.load(path, "run")
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]


def test_one_of_an_earlier_version_is_read(path, trained, like):
    torch.save(whole(trained), path)
    assert checkpoint.load(path, "run", like).content["progress"]["step"] == 1


def test_any_torch_can_open_one(path):
    checkpoint.save(path, content(4))
    assert torch.load(path, weights_only=True)["weights"].tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"run": "other"}, "is not run's"),
        ({"more": 1}, "has more, network"),
        ({"network": {"weight": torch.zeros(2, 3)}}, "another network's parameters"),
        ({"network": {"weight": torch.zeros(9, 3), "bias": torch.zeros(2)}}, r"\[9, 3\]"),
        ({"network": {"weight": torch.zeros(2, 3).double(), "bias": torch.zeros(2)}}, "float64"),
        ({"network": {"weight": "x", "bias": torch.zeros(2)}}, "network.weight as str"),
        ({"network": {"weight": torch.zeros(1).expand(2**40, 3), "bias": torch.zeros(2)}}, "1099511627776"),
        ({"progress": {"step": 1}}, "does not say where the run is"),
        ({"progress": vars(Progress(step=-1))}, "progress.step as -1"),
        ({"progress": vars(Progress(seconds=float("nan")))}, "progress.seconds as nan"),
        ({"progress": vars(Progress(broken=[1]))}, "what is no name"),
        ({"optimiser": []}, "another optimiser's state"),
        ({"optimiser": {"state": {}, "param_groups": []}}, "another optimiser's groups"),
        ({"optimiser": {"state": {}, "param_groups": [{"lr": 1.0}]}}, "another optimiser's settings"),
    ],
)
def test_what_does_not_look_like_the_network_is_refused(path, trained, like, changes, says):
    checkpoint.save(path, whole(trained, **changes))
    found = checkpoint.load(path, "run", like)
    assert found.content is None
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(found.damaged[0])


def test_momentum_of_another_shape_is_refused(path, trained, like):
    fields = whole(trained)
    fields["optimiser"]["state"][0]["momentum_buffer"] = torch.zeros(3, 3)
    checkpoint.save(path, fields)
    assert "optimiser.0.momentum_buffer" in checkpoint.load(path, "run", like).damaged[0]


class Runs:
    """Code, should it be unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


class Fills:
    """Memory, should it be unpickled: `weights_only` has nothing against it."""

    def __reduce__(self):
        return bytearray, (2**46,)


@pytest.mark.parametrize("hostile", [Runs, lambda mark: Fills()], ids=["code", "memory"])
def test_one_that_names_anything_else_is_not_loaded(path, tmp_path, like, hostile):
    torch.save({"run": "run", "x": hostile(tmp_path / "mark")}, path)
    assert "which no checkpoint does" in checkpoint.load(path, "run", like).damaged[0]
    assert not (tmp_path / "mark").exists()


def test_a_bare_pickle_is_not_loaded(path, tmp_path):
    path.write_bytes(pickle.dumps(Runs(tmp_path / "mark")))
    assert checkpoint.load(path, "run").content is None and not (tmp_path / "mark").exists()


def test_one_that_is_packed_small_is_not_unpacked(path, like):
    buffer = io.BytesIO()
    torch.save({"run": "run", "x": torch.zeros(2**22)}, buffer)
    with zipfile.ZipFile(buffer) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "packed as no checkpoint is" in checkpoint.load(path, "run", like).damaged[0]


def test_one_that_is_far_too_large_is_not_read(path, like):
    with path.open("wb") as file:
        file.truncate(2**40)
    assert "1,099,511,627,776 bytes" in checkpoint.load(path, "run", like).damaged[0]


def test_a_tensor_larger_than_its_bytes_asks_for_no_memory(path, like):
    buffer = io.BytesIO()
    torch.save({"run": "run", "x": torch.zeros(4).as_strided((2, 2), (2, 1))}, buffer)
    old, new = b"K\x02K\x02\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    with zipfile.ZipFile(buffer) as plain, zipfile.ZipFile(path, "w") as changed:
        for name in plain.namelist():
            part = plain.read(name)
            changed.writestr(name, part.replace(old, new) if name.endswith(".pkl") else part)
    found = checkpoint.load(path, "run", like)
    assert found.content is None and found.damaged
