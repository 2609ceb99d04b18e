"""What every test may need: the means that a machine may lack, said once."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # idle threads that wait for each other make a busy machine slower still
os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib; child processes inherit it

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="session")
def unavailable() -> Callable[[str], NoReturn]:
    """Give up for want of means: a skip on a person's machine, a failure in CI, where nothing may be skipped."""
    return pytest.fail if os.environ.get("CI") == "true" else pytest.skip


@pytest.fixture(scope="session")
def fashion(unavailable) -> Path:
    """The folder from which Fashion-MNIST is read."""
    roots = [Path(os.environ["ABLATION_DATA"])] if os.environ.get("ABLATION_DATA") else []
    for root in [*roots, DEBIAN_FASHION]:
        if root.is_dir():
            return root
    unavailable("no Fashion-MNIST: apt-get install dataset-fashion-mnist, or set ABLATION_DATA")


@pytest.fixture(scope="session")
def small_fashion(fashion, tmp_path_factory) -> Path:
    """A data root with the first 640 training and 200 test images of Fashion-MNIST, as IDX files."""
    import gzip
    import struct

    root = tmp_path_factory.mktemp("small-fashion")
    for name, count in (("train", 640), ("t10k", 200)):
        for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
            file = f"{name}-{kind}-ubyte"
            found = next(path for path in fashion.rglob(f"{file}*"))
            raw = gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()
            each = 784 if header == 16 else 1
            small = raw[:4] + struct.pack(">I", count) + raw[8:header] + raw[header : header + count * each]
            (root / file).write_bytes(small)
    return root


@pytest.fixture
def small_sweep(tmp_path) -> Path:
    """A sweep that trains in seconds on `small_fashion`: two arms, two seeds, two epochs of twenty steps."""
    path = tmp_path / "small.yaml"
    path.write_text("""\
question: Does error fall as cardinality grows?
panels:
  - name: small
    budget: fashion
    dataset: {name: fashion_mnist, validation: 100}
    recipe: {base: fashion, epochs: 2, batch: 32, norm_batch: 16, augment: [crop, flip]}
    baseline: resnet11_1x8d
    arms:
      - {design: resnet11_1x8d, params: 33930, macs: 1210880}
      - {design: resnext11_4x3d, params: 32782, macs: 1243424}
seeds: 2
precision: fp32
resources: {gpus: 0, threads: 1, parallel: 2}
""")
    return path


@pytest.fixture
def plan(monkeypatch, capsys):
    """Run `plan` in this process: (exit code, what it printed, what it said on standard error)."""
    from ablation import command
    from ablation.plan.__main__ import SEVERAL, main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            command.run(main, several=SEVERAL)
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Slurm's programs on PATH, played by scripts."""
    from fake_slurm import FakeSlurm

    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return FakeSlurm(tmp_path / "bin")
