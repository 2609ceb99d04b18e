"""Python packages carried along to a machine without a network: a folder of wheels, laid out beside."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(folder: Path | None) -> dict[str, str]:
    """What a process needs to find our code and the wheels of a folder; this process finds them from now on.

    Carry only what is not installed there: wheels come before it.
    """
    places = [str(ROOT)]
    if folder:
        laid_out = folder.absolute() / "laid-out"
        for wheel in sorted(folder.glob("*.whl")):
            if not (laid_out / f".{wheel.stem}").exists():
                with zipfile.ZipFile(wheel) as file:
                    file.extractall(laid_out)
                (laid_out / f".{wheel.stem}").touch()
        places.append(str(laid_out))
    for place in places:
        if place not in sys.path:
            sys.path.append(place)
    before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {"PYTHONPATH": os.pathsep.join([*before, *places])}
