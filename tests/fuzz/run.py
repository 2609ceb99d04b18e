"""Command: `python -m fuzz.run`, with tests/ on the path; writes reports/reliability/fuzz.md and fuzz.csv.

Each parser is fed in a process of its own, so that its memory is its own.
"""

import argparse
import csv
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from fuzz.all import PARSERS
from fuzz.campaign import fuzz

OUT = Path("reports/reliability")
COLUMNS = (
    "parser",
    "fed",
    "cases",
    "tracebacks",
    "executions",
    "writes outside",
    "too long",
    "slowest s",
    "memory MB",
    "CPU s",
)


def main() -> int:
    """1 where anything was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=100_000, help="for each parser")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", nargs="*", default=list(PARSERS), choices=list(PARSERS), metavar="PARSER")
    options.add_argument("--out", type=Path, default=OUT)
    options.add_argument("--one", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one, asked.cases, asked.seed)))
        return 0
    rows = []
    for name in asked.only:
        command = [
            sys.executable,
            "-m",
            "fuzz.run",
            "--one",
            name,
            "--cases",
            str(asked.cases),
            "--seed",
            str(asked.seed),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines = done.stdout.splitlines()
        rows.append(json.loads(lines[-1]) if done.returncode == 0 and lines else _died(name, done.returncode))
        print({key: value for key, value in rows[-1].items() if value or key == "cases"}, flush=True)
    write(rows, asked.out, asked.cases, asked.seed)
    return int(any(row["found"] for row in rows))


def _died(name: str, code: int) -> dict:
    return dict.fromkeys(COLUMNS, 0) | {
        "parser": name,
        "fed": PARSERS[name].what,
        "found": [f"the process ended with {code}"],
    }


def one(name: str, cases: int, seed: int) -> dict:
    """A row of the table, and what was found."""
    fuzz(PARSERS[name], 200, seed + 10_000)  # what is imported and cached is no case's memory
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    outcome = fuzz(PARSERS[name], cases, seed)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    kinds = outcome.kinds
    values = (
        name,
        PARSERS[name].what,
        outcome.cases,
        kinds["traceback"],
        kinds["execution"],
        kinds["outside"],
        kinds["time"],
    )
    values += (round(outcome.slowest, 2), round(grown / 1024), round(time.process_time() - began))
    found = [f"{finding} {case}" for finding, case in list(outcome.examples.items())[:20]]
    return dict(zip(COLUMNS, values, strict=True)) | {"found": found}


def write(rows: list[dict], out: Path, cases: int, seed: int) -> None:
    """The table as Markdown and CSV; findings below it."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "fuzz.csv", "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    total = sum(row["cases"] for row in rows)
    bad = sum(row[column] for row in rows for column in COLUMNS[3:7])
    lines = [
        *("# Hostile input", ""),
        f"`make fuzz` fed {total:,} cases ({cases:,} to each of {len(rows)} parsers, Hypothesis, seed {seed}):",
        f"{bad} findings. Each other case was taken, or refused with a plain error. A finding is any other",
        "exception, a program or a pickle that ran, a file changed outside the folder given, or a case without an end.",
        "*memory* is by how much the process grew over all cases; *slowest* is CPU time of one case. Python "
        f"{platform.python_version()}, {platform.machine()}.",
        *("", "| " + " | ".join(COLUMNS) + " |", "|" + " :-- |" * 2 + " --: |" * (len(COLUMNS) - 2)),
        *(
            "| "
            + " | ".join(f"{row[column]:,}" if column == "cases" else str(row[column]) for column in COLUMNS)
            + " |"
            for row in rows
        ),
    ]
    found = [f"- {row['parser']}: `{text}`" for row in rows for text in row["found"]]
    (out / "fuzz.md").write_text("\n".join(lines + (["", "Findings:", "", *found] if found else [])) + "\n")


if __name__ == "__main__":
    sys.exit(main())
