"""Command: every GPU measurement and GPU test, on one GPU and within minutes; no network is needed.

What is measured is written after each section: reports/benchmarks/<device>.csv and .md.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import wheels

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports" / "benchmarks"
LEAVING = 10
"""Seconds that a section may take to clear up once it is told to end."""
FIELDS = ("section", "what", "value", "low", "high", "unit", "note")
GOALS = """\
| goal, on one H100 | row |
|---|---|
| ResNeXt-101 32x4d at 224: at least 1,700 img/s | network: "at 224, ours" |
| at least 1.3 times the same network of timm and torchvision | network: "ours over ..." |
| C=32 at 0.9 or more of C=1's throughput at matched MACs | ladder: "Table 2: ... of C=1" |
| several runs at a time: at least 3 times one at a time | runs: "... over one at a time" |"""


def main() -> int:
    """Measure section by section, each in a process of its own that ends in time; 1 where one of them failed."""
    options = parse()
    os.environ |= wheels.environment(options.wheels)
    import gpu_sections

    if options.section:
        return run_section(options, gpu_sections.SECTIONS[options.section])
    if options.device == "cuda" and not gpu_sections.torch.cuda.is_available():
        raise SystemExit(
            "error: torch sees no GPU here\n  To see that the script works: --device cpu --quick --out DIR"
        )
    about = describe(options)
    start, failed = time.monotonic(), []
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        options.rows = Path(folder) / "rows"
        options.rows.touch()
        for index, name in enumerate(options.names or list(gpu_sections.SECTIONS)):
            left = options.limit - (time.monotonic() - start)
            names = (options.names or list(gpu_sections.SECTIONS))[index:]
            share = left * gpu_sections.SHARES[name] / sum(gpu_sections.SHARES[each] for each in names)
            if not measure(options, name, share, gpu_sections.SECTIONS[name]):
                failed.append(name)
            whole = f"{time.monotonic() - start:.0f} s so far" + (f"; failed: {', '.join(failed)}" if failed else "")
            write(options, {**about, "took": whole})
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python tests/benchmarks/gpu.py --wheels build/wheels --data build/data"
    )
    parser.add_argument(
        "names", nargs="*", metavar="SECTION", help="tests, network, ladder, runs, convs; all by default"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="a step of each, to see that it works; needs --out")
    parser.add_argument("--limit", type=float, default=470, help="seconds in all")
    parser.add_argument("--out", type=Path, default=REPORTS, help="where the CSV and the page go")
    parser.add_argument("--data", type=Path, help="where Fashion-MNIST lies; else as for a launch")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels for what is not installed here")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=60, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if (options.quick or options.device == "cpu") and options.out == REPORTS:
        parser.error("--quick and --device cpu are no measurements: give --out a folder of your own")
    return options


def bench(options: argparse.Namespace, name: str, seconds: float) -> Any:
    """The section under way."""
    from gpu_parts import Bench

    deadline = time.monotonic() + seconds
    return Bench(name, options.device, options.quick, deadline, options.rows, options.data and options.data.absolute())


def run_section(options: argparse.Namespace, section: Any) -> int:
    """What a section's own process does: end early enough to be heard."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # MPS and the processes below it end with it
    section(bench(options, options.section, 0.8 * options.seconds))
    return 0


def measure(options: argparse.Namespace, name: str, share: float, section: Any) -> bool:
    """A section; whether it came to its end. In quick mode in this process."""
    print(f"== {name}: {share:.0f} s", flush=True)
    if options.quick:
        section(bench(options, name, 1e9))
        return True
    command = [sys.executable, __file__, "--section", name, "--rows", str(options.rows), "--seconds", str(share)]
    command += ["--device", options.device, "--out", str(options.out)]
    command += ["--data", str(options.data)] if options.data else []
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            return process.wait(share) == 0
        except subprocess.TimeoutExpired:
            print(f"{name}: cut off at its limit", flush=True)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LEAVING)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it had started, too
            return False


def describe(options: argparse.Namespace) -> dict[str, str]:
    """The machine and the versions."""
    import torch

    from ablation.execution import device_name
    from ablation.run import provenance

    origin = provenance()
    about = {
        "device": device_name(options.device),
        "date": origin["created"][:10],
        "commit": str(origin["commit"])[:10],
    }
    about["versions"] = f"Python {platform.python_version()}, torch {torch.__version__}"
    if options.device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory
        about["versions"] += f", CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        about["memory"] = f"{memory / 2**30:.0f} GiB"
    return about


def write(options: argparse.Namespace, about: dict[str, str]) -> None:
    """All rows so far, as CSV and as a page."""
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()]
    slug = re.sub(r"[^a-z0-9]+", "-", about["device"].lower()).strip("-")
    with open(options.out / f"{slug}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    parts = [f"# {about['device']}", "Made by `python tests/benchmarks/gpu.py`, never edited by hand. A figure is the "]
    parts[1] += f"median (lowest–highest); all of them: [{slug}.csv]({slug}.csv)."
    parts += ["\n".join(f"- {key}: {value}" for key, value in about.items()), GOALS]
    for section in dict.fromkeys(row["section"] for row in rows):
        parts += [f"## {section}", table([row for row in rows if row["section"] == section])]
    (options.out / f"{slug}.md").write_text("\n\n".join(parts) + "\n")


def table(rows: list[dict[str, Any]]) -> str:
    """Rows in Markdown."""
    lines = ["| what | figure | note |", "|---|---|---|"]
    for row in rows:
        figure = f"{row['value']:,.4g} ({row['low']:,.4g}–{row['high']:,.4g}) {row['unit']}" if "value" in row else ""
        lines.append(f"| {row['what']} | {figure} | {row['note']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
