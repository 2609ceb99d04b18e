"""Checkpoints on scratch: found where they are looked for, gone when the run is done."""

import pytest
import torch

from ablation import checkpoint
from ablation.errors import UserError


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "runs" / "study" / "run"
    folder.mkdir(parents=True)
    return folder / "checkpoint.pt"


def content(step):
    return {"run": "run", "weights": torch.full((3,), float(step))}


def test_it_lies_on_scratch_and_is_found_beside_the_records(path, tmp_path):
    checkpoint.put_on(tmp_path / "scratch", path)
    assert not path.exists()
    checkpoint.save(path, content(1))
    checkpoint.save(path, content(2))
    assert [file.name for file in (tmp_path / "scratch" / "study").iterdir()] == ["run.pt"]
    assert path.is_symlink() and checkpoint.load(path, "run")["weights"].tolist() == [2, 2, 2]


def test_a_checkpoint_that_is_there_stays_where_it_is(path, tmp_path):
    checkpoint.save(path, content(1))
    checkpoint.put_on(tmp_path / "scratch", path)
    assert not path.is_symlink() and checkpoint.load(path, "run")["weights"].tolist() == [1, 1, 1]


def test_purged_scratch_means_from_the_start(path, tmp_path):
    checkpoint.put_on(tmp_path / "scratch", path)
    checkpoint.save(path, content(1))
    path.readlink().unlink()
    assert not path.exists() and checkpoint.load(path, "run") is None
    checkpoint.put_on(tmp_path / "elsewhere", path)
    checkpoint.save(path, content(2))
    assert (tmp_path / "elsewhere" / "study" / "run.pt").exists()


@pytest.mark.parametrize("scratch", ["scratch", None])
def test_removing_leaves_nothing(path, tmp_path, scratch):
    checkpoint.put_on(scratch and tmp_path / scratch, path)
    checkpoint.save(path, content(1))
    checkpoint.remove(path)
    assert not path.is_symlink() and not path.exists() and not [*tmp_path.rglob("*.pt")]


def test_a_scratch_folder_that_can_not_be_made_is_said(path, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="checkpoints can't lie there"):
        checkpoint.put_on(tmp_path / "file" / "scratch", path)
