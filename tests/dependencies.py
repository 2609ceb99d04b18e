"""Command: writes docs/dependencies.md and constraints.txt from what is installed: `python tests/dependencies.py`."""

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PAGE, CONSTRAINTS = ROOT / "docs" / "dependencies.md", ROOT / "constraints.txt"
US = "cardinality-ablation"
TABLE = "<!-- the table: python tests/dependencies.py -->"
KNOWN = {"typst": "Apache-2.0"}
"""Licences that a package's metadata do not name, from its own files."""


def plain(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(found: Distribution, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """The packages that one needs here, with the extras that it asks of them."""
    needed = []
    for line in found.requires or []:
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            needed.append((plain(one.name), frozenset(one.extras)))
    return needed


def closure(extras: frozenset[str]) -> dict[str, Distribution]:
    """Every package that the project with these extras needs here, by name."""
    found: dict[str, Distribution] = {}
    seen, waiting = set(), asked(extras)
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        waiting += required(found[name], wanted)
    return dict(sorted(found.items()))


def direct(extras: frozenset[str]) -> list[str]:
    """The packages that pyproject.toml names."""
    return sorted({name for name, _ in asked(extras)})


def asked(extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """The same with the extras that are asked of them; an installed copy of this project may be an older one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    wanted = [Requirement(line) for line in lines]
    return [(plain(one.name), frozenset(one.extras)) for one in wanted if plain(one.name) != US]


def licence(found: Distribution) -> str:
    """As a package's metadata name it: an expression, else classifiers, else the first line of a text."""
    about = found.metadata
    if said := about.get("License-Expression"):
        return said
    listed = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    text = (about.get("License") or "").strip().splitlines()
    named = [name for name in listed if name != "OSI Approved"]
    return KNOWN.get(plain(about["Name"])) or "; ".join(named) or (text[0][:60] if text else "not stated")


def rows() -> list[tuple[str, str, str, str]]:
    """Name, version, what needs it, licence."""
    runs, develops = closure(frozenset()), closure(frozenset({"dev", "inception"}))
    named = {*direct(frozenset()), *direct(frozenset({"dev", "inception"}))}
    found = []
    for name, one in develops.items():
        way = "direct" if name in named else "through others"
        found.append((name, one.version, f"{way}, {'to run' if name in runs else 'to test'}", licence(one)))
    return sorted(found, key=lambda row: (not row[2].startswith("direct"), "to test" in row[2], row[0]))


def constraints() -> str:
    """Exact versions of all of these, for the Python and the system that CI tests on; elsewhere they bind nothing."""
    version = ".".join(map(str, sys.version_info[:2]))
    where = f'python_version == "{version}" and sys_platform == "linux" and platform_machine == "x86_64"'
    lines = [f"{name}=={one.version} ; {where}" for name, one in closure(frozenset({"dev", "inception"})).items()]
    head = "# What CI tests with, written by tests/dependencies.py: pip install -c constraints.txt -e '.[dev]'\n"
    return head + "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    head = ["| package | tested version | needed | licence |", "| :-- | :-- | :-- | :-- |"]
    table = "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows())])
    before = PAGE.read_text(encoding="utf-8").partition(TABLE)[0]
    PAGE.write_text(f"{before}{TABLE}\n{table}\n", encoding="utf-8")
    CONSTRAINTS.write_text(constraints(), encoding="utf-8")


if __name__ == "__main__":
    main()
