"""Command: measure speeds on this machine, ours and another way in turn (`make bench`)."""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from pathlib import Path

import growth
import machine
from measure import Comparison, line
from table import page, write_csv

from ablation.run import provenance

BENCHMARKS = ("counting", "training", "profiling", "loading", "planning", "launching", "drawing", "growing")
REPORTS = Path(__file__).parents[2] / "reports" / "benchmarks"


def main() -> None:
    """Run benchmarks; a whole run writes its figures."""
    options = parse()
    origin, before, start = provenance(), machine.load(), time.monotonic()
    about = {"date": origin["created"][:10], "commit": _commit(origin), **machine.describe()}
    print("\n".join(f"{key}: {value}" for key, value in about.items()), flush=True)
    notes = _notes(before)
    measured = {name: measure(name, options.quick, notes) for name in options.names or BENCHMARKS}
    about["whole run"] = f"{time.monotonic() - start:.0f} s; load before it {before:.2f} (1-minute average)"
    print(f"whole run: {about['whole run']}", *notes, sep="\n")
    if options.quick or options.names:
        print("nothing written: that takes a whole run, neither --quick nor in part")
    else:
        write(measured, about, notes)


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: python tests/benchmarks/run.py --quick")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"benchmarks ({', '.join(BENCHMARKS)}); all by default"
    )
    parser.add_argument("--quick", action="store_true", help="a few steps of each, to see that it works")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {', '.join(sorted(unknown))}; choose from: {', '.join(BENCHMARKS)}")
    return options


def measure(name: str, quick: bool, notes: list[str]) -> tuple[list[Comparison], list[str]]:
    """One benchmark's comparisons and what follows from them, printed; a note where others kept the machine busy."""
    start, others = time.monotonic(), machine.others_seconds()
    benchmark = import_module(name)
    comparisons = benchmark.compare(quick)
    said = benchmark.remarks(comparisons) if hasattr(benchmark, "remarks") else []
    print(*map(line, comparisons), *said, sep="\n", flush=True)
    if others is not None:
        busy = (machine.others_seconds() - others) / (time.monotonic() - start)
        print(f"({name}: other processes kept {busy:.2f} cores busy)")
        if busy > machine.OTHERS:
            notes.append(f"{name}: other processes kept {busy:.2f} cores busy meanwhile")
    return comparisons, said


def write(measured: dict[str, tuple[list[Comparison], list[str]]], about: dict[str, str], notes: list[str]) -> None:
    """CSV files, the figure of growth and the page."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    results = {name: comparisons for name, (comparisons, _) in measured.items() if comparisons}
    for name, comparisons in results.items():
        write_csv(REPORTS / f"{name}.csv", comparisons)
    (REPORTS / "growing.svg").write_text(growth.figure(results["growing"]))
    said = [remark for _, remarks in measured.values() for remark in remarks]
    (REPORTS / "README.md").write_text(page(results, about, notes, said))
    print(f"written: reports/benchmarks/README.md, growing.svg, {', '.join(f'{name}.csv' for name in results)}")


def _commit(origin: dict) -> str:
    if origin["commit"] is None:
        return "unknown"
    return origin["commit"][:10] + (" with changes" if origin["dirty"] else "")


def _notes(before: float) -> list[str]:
    notes = []
    if before > machine.IDLE:
        notes.append(f"the machine was busy with something else: load {before:.2f} before the run")
    if machine.cores() < 2:
        notes.append("one core only: the rows on two cores mean nothing here")
    return notes


if __name__ == "__main__":
    main()
