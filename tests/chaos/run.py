"""Command: do harm to real runs and write down what became of them (`make chaos`; `--scale` for a part of it)."""

from __future__ import annotations

import argparse
import csv
import json
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from chaos.field import Field
from chaos.scenarios import COUNTED, SCENARIOS, Row, Scenario

from ablation.run import provenance

OUT = Path(__file__).parents[2] / "reports" / "reliability"
WORDS = {
    "faults": "faults",
    "runs": "runs",
    "lost": "lost",
    "twice": "run twice",
    "unreadable": "unreadable checkpoints",
    "records_lost": "records lost",
    "wrong": "wrong results",
    "late": "late writes",
    "redone": "redone (intervals)",
}


def main() -> int:
    """Play, write, and say what does not hold; 1 where anything does not."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: make chaos, or python -m chaos.run --scale 0.1"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the long run's faults")
    parser.add_argument("--only", default="", help="scenarios with these words in their name")
    parser.add_argument("--json", action="store_true", help="print rows as JSON lines; write no report")
    parser.add_argument("--out", type=Path, default=OUT, help="where the report goes")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    rows, start = [], time.monotonic()
    try:
        home = Field(folder / "field")
        for scenario in chosen:
            rows.append(play(scenario, home, options.scale))
            say(rows[-1], time.monotonic() - start, as_json=options.json)
            if not options.json and not options.only:  # after each: what stops an hour in has not been for nothing
                write(options.out, rows, options.scale, time.monotonic() - start)
    finally:
        if all(row.holds for row in rows):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"left to be looked at: {folder}", file=sys.stderr)
    return 0 if all(row.holds or row.tally is None for row in rows) else 1


def play(scenario: Scenario, home: Field, scale: float) -> Row:
    """One scenario, at a scale."""
    start = time.monotonic()
    tally = scenario.play(home, scenario.times(scale))
    return Row(scenario.name, scenario.way, tally, time.monotonic() - start)


def say(row: Row, seconds: float, *, as_json: bool) -> None:
    """A line on a row."""
    if as_json:
        fields = asdict(row) | {"holds": row.holds}
        print(json.dumps(fields), flush=True)
        return
    told = "no means here" if row.tally is None else ", ".join(f"{WORDS[k]} {v:g}" for k, v in vars(row.tally).items())
    print(f"{seconds:6.0f} s  {'holds' if row.holds else 'BROKEN':7}{row.scenario} ({row.way}): {told}", flush=True)


def write(folder: Path, rows: list[Row], scale: float, seconds: float) -> None:
    """chaos.csv, and the page that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = [table_row(row) for row in rows]
    with open(folder / "chaos.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(fields[0]))
        writer.writeheader()
        writer.writerows(fields)
    put_section(folder / "README.md", "Chaos", page(fields, scale, seconds))


def table_row(row: Row) -> dict[str, str]:
    """A row as the table has it; of the plain way what was not looked at is left open."""
    cells = {"scenario": row.scenario, "way": row.way, "holds": "yes" if row.holds and row.way == "ours" else ""}
    cells["holds"] = cells["holds"] or ("" if row.way == "plain" else "NO" if row.tally else "no means here")
    for key, word in WORDS.items():
        cells[word] = (
            ""
            if row.tally is None
            else f"{getattr(row.tally, key):.3g}"
            if key == "redone"
            else str(getattr(row.tally, key))
        )
    if row.way == "plain":
        cells[WORDS["redone"]] = cells[WORDS["late"]] = ""
    return cells | {"seconds": f"{row.seconds:.0f}"}


def page(fields: list[dict[str, str]], scale: float, seconds: float) -> str:
    """The section: how it was made, and the table."""
    origin = provenance()
    commit = (origin["commit"] or "unknown")[:10] + (" with changes" if origin["dirty"] else "")
    columns = [name for name in fields[0] if name != "seconds"]
    lines = [
        f"`make chaos` (`python -m chaos.run --scale {scale:g}`), {origin['created'][:10]}, commit {commit}, "
        f"{platform.machine()}, Python {platform.python_version()}, torch {origin['versions']['torch']}; "
        f"{seconds / 60:.0f} minutes.",
        "",
        "Real processes train tiny runs (48 steps, two arms, one of them with an average, mixup and repeats); what is "
        "done to them is real, but for EIO, clocks and the places inside a checkpoint where a worker is made to wait "
        "for its kill: those are put into its Python. A run is right where its weights, records, errors and correct "
        "examples are an undisturbed run's, bit for bit. *plain*: torch.save over the last file, a log that is "
        "rewritten, a resume by epochs, a look whether a run has begun (tests/chaos/naive.py, races.py).",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---" if name in ("scenario", "way", "holds") else "---:" for name in columns) + "|",
        *("| " + " | ".join(row[name] for name in columns) + " |" for row in fields),
        "",
        f"Promised of ours: 0 in each of {', '.join(WORDS[key] for key in COUNTED)}; at most 1 interval redone. "
        "In races a fault is a process that tries a run; in the damaged files' rows it is a file.",
    ]
    return "\n".join(lines)


def put_section(path: Path, title: str, text: str) -> None:
    """Put a section into the page in place of the one of that title."""
    head = "# Reliability: what was done to runs, and what became of them\n\nWritten by `make chaos` and `make soak`.\n"
    before = path.read_text() if path.exists() else head
    start = before.find(f"\n## {title}\n")
    if start < 0:
        path.write_text(f"{before.rstrip()}\n\n## {title}\n\n{text}\n")
        return
    end = before.find("\n## ", start + 1)
    rest = before[end:] if end > 0 else ""
    path.write_text(f"{before[:start]}\n## {title}\n\n{text}\n{rest}")


if __name__ == "__main__":
    sys.exit(main())
