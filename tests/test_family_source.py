"""What a family's digest covers: its file and the modules beside it; and which of them are imported anew."""

import sys

import pytest
from test_family import HEAD, IMAGE, LINEAR

from ablation.family import load_family, source_of
from ablation.family.count import count

LAB = {
    "blocks.py": "import random, torch\nfrom ablation.family import family\nfrom layers import norm\nimport deep.inner",
    "layers.py": "def norm():\n    from deep import outer\n    import blocks",
    "deep/outer.py": "from . import twin\nfrom .inner import thing",
    "deep/inner.py": "from deep import outer",
    "deep/twin.py": "",
    "deep/__init__.py": "",
    "other.py": "import layers",
    "random.py": "",
    "deep/apart.py": "",
}
ASKED = {"layers.py", "deep/outer.py", "deep/inner.py", "deep/twin.py", "deep/__init__.py"}


@pytest.fixture
def lab(tmp_path):
    """A family's file with modules beside it."""
    for name, text in LAB.items():
        path = tmp_path / "lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return tmp_path / "lab"


@pytest.mark.parametrize("name", sorted(LAB))
def test_the_digest_follows_what_is_imported_from_beside_the_file(lab, name):
    before = source_of(f"{lab}/blocks.py:net")
    assert before == source_of(f"{lab}/../lab/blocks.py:net")
    with (lab / name).open("a") as file:
        file.write("# a word\n")
    assert (source_of(f"{lab}/blocks.py:net") != before) == (name in {"blocks.py", *ASKED})


def test_the_digest_does_not_follow_the_place(lab, tmp_path):
    before = source_of(f"{lab}/blocks.py:net")
    lab.rename(tmp_path / "moved")
    assert source_of(f"{tmp_path}/moved/blocks.py:net") == before


@pytest.mark.parametrize("init", [True, False])
def test_the_digest_is_the_same_by_module_and_by_file(tmp_path, monkeypatch, init):
    (tmp_path / "mylab" / "nets").mkdir(parents=True)
    if init:
        (tmp_path / "mylab" / "__init__.py").touch()
        (tmp_path / "mylab" / "nets" / "__init__.py").touch()
    (tmp_path / "mylab" / "nets" / "blocks.py").write_text("from mylab.layers import norm\nfrom ..more import x\n")
    for name in ("layers", "more"):
        (tmp_path / "mylab" / f"{name}.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # to which the current directory is added
    for name in ("layers", "more"):
        before = source_of("mylab.nets.blocks:net")
        assert before == source_of("mylab/nets/blocks.py:net")
        (tmp_path / "mylab" / f"{name}.py").write_text("x = 1\n")
        assert source_of("mylab.nets.blocks:net") != before


def test_the_digest_of_a_file_that_imports_nothing_from_beside_it_is_its_text_s(tmp_path):
    import hashlib

    path = tmp_path / "blocks.py"
    path.write_text(HEAD + "import ablation.cost, site_of_nothing\nfrom . import *\n" + LINEAR)
    assert source_of(f"{path}:net") == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "helper.py").touch()
    (site / "blocks.py").write_text("import helper\n")
    assert source_of(f"{site}/blocks.py:net") == hashlib.sha256(b"import helper\n").hexdigest()[:16]


@pytest.mark.parametrize("text", ["def (\n", "\0", "# coding: nothing\n"])
def test_a_module_beside_that_can_not_be_parsed_is_digested_all_the_same(lab, text):
    before = source_of(f"{lab}/blocks.py:net")
    (lab / "layers.py").write_text(text)
    assert source_of(f"{lab}/blocks.py:net") != before


def test_two_families_have_each_their_own_module_of_one_name(tmp_path):
    for ratio in (1, 3):
        folder = tmp_path / str(ratio)
        folder.mkdir()
        (folder / "ours_to_share.py").write_text(f"RATIO = {ratio}\n")
        (folder / "blocks.py").write_text(
            HEAD + "from ours_to_share import RATIO\n" + LINEAR.replace("=1,", "=RATIO,", 1)
        )
    sizes = [count(load_family(f"{tmp_path}/{ratio}/blocks.py:net"), {"width": 4}, IMAGE).params for ratio in (1, 3)]
    assert sizes == [785 * 4 + 50, 785 * 12 + 130]


@pytest.mark.parametrize("name", ["mylab/blocks.py:net", "mylab.blocks:net"])
@pytest.mark.parametrize("line", ["from mylab.sizes import RATIO", "from mylab import sizes\nRATIO = sizes.RATIO"])
def test_an_edited_module_is_read_again(tmp_path, monkeypatch, name, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").touch()
    (tmp_path / "mylab" / "sizes.py").write_text("from mylab.deeper import RATIO\n")
    (tmp_path / "mylab" / "blocks.py").write_text(HEAD + line + LINEAR.replace("=1,", "=RATIO,", 1))
    for ratio in (1, 10, 100):
        (tmp_path / "mylab" / "deeper.py").write_text(f"RATIO = {ratio}\n")
        assert count(load_family(name), {"width": 1}, IMAGE).params == 795 * ratio + 10


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("ablation/systems/wrn.py", True),
        ("ablation/systems/tally.py", True),
        ("ablation/systems/initial.py", True),
        ("ablation/systems/vgg.py", False),
        ("ablation/network.py", False),
    ],
)
def test_the_toolkit_s_own_families_are_digested_with_what_they_import_from_their_folder(
    edited, changes, tmp_path, monkeypatch
):
    import shutil

    from ablation.family import source

    before = source_of("ablation.systems.wrn:wrn")
    shutil.copytree(source.SYSTEMS.parent, tmp_path / "ablation")
    monkeypatch.setattr(source, "SYSTEMS", tmp_path / "ablation" / "systems")
    monkeypatch.setattr(source, "TOOLKIT", {tmp_path / "ablation"})
    assert source_of(f"{tmp_path}/ablation/systems/wrn.py:wrn") == before, "wherever the toolkit lies"
    with (tmp_path / edited).open("a") as file:
        file.write("# a word\n")
    assert (source_of(f"{tmp_path}/ablation/systems/wrn.py:wrn") != before) == changes
