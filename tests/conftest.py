"""What every test may need: the means that a machine may lack, said once."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

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
