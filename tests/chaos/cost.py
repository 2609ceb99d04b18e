"""Command: what checkpoints cost: seconds to write one, beside plain torch.save, and the part of training that is.

A run writes one every `checkpoint_minutes`, or less often where that would take over 1% of its time.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from chaos.run import OUT, put_section

from ablation import checkpoint
from ablation.checkpoint import Like, Progress
from ablation.design import design_from_name
from ablation.network import Network
from ablation.settings import Settings
from ablation.train import WRITING

DESIGNS = ("resnext29_8x64d", "resnet50_1x64d", "resnext50_32x4d", "resnext101_64x4d")


def main() -> int:
    """Measure, write, say."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: PYTHONPATH=tests python -m chaos.cost")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk that is asked about; /tmp by default")
    parser.add_argument("--out", type=Path, default=OUT, help="where the report goes")
    options = parser.parse_args()
    rows = []
    for name in DESIGNS:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            rows.append(measure(name, Path(folder), options.times))
        print(rows[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "checkpoints.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    put_section(options.out / "README.md", "What checkpoints cost", page(rows, options.times))
    return 0


def measure(name: str, folder: Path, times: int) -> dict[str, Any]:
    """One network's checkpoint: bytes, median seconds to write it, plainly, and to read it."""
    network = Network(design_from_name(name))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for parameter in network.parameters():
        optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    content = {"run": name, "network": network.state_dict(), "optimiser": optimiser.state_dict()}
    content["progress"] = vars(Progress(step=1))
    path, like = folder / "checkpoint.pt", Like(network.state_dict(), optimiser, average=False)
    ours, plain = [], []
    for _ in range(times):  # one after the other: what else the machine does strikes both
        ours.append(seconds(lambda: checkpoint.save(path, content)))
        plain.append(seconds(lambda: torch.save(content, folder / "plain.pt")))
    write, read = statistics.median(ours), seconds(lambda: checkpoint.load(path, name, like))
    minutes = max(Settings().checkpoint_minutes, write / WRITING / 60)
    return {
        "design": name,
        "megabytes": round(path.stat().st_size / 1e6),
        "write_seconds": round(write, 3),
        "plain_seconds": round(statistics.median(plain), 3),
        "read_seconds": round(read, 3),
        "minutes_between": round(minutes, 1),
        "percent_of_training": round(100 * write / (60 * minutes), 3),
    }


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def page(rows: list[dict[str, Any]], times: int) -> str:
    """The section."""
    columns = list(rows[0])
    minutes = Settings().checkpoint_minutes
    return "\n".join(
        [
            f"`python -m chaos.cost`, one thread, median of {times}: network and momentum, written beside, with a "
            "digest, flushed, renamed; `plain` is torch.save, which flushes nothing. A run waits while it is written; "
            f"time between two is {minutes:g} minutes, or so long that writing takes 1% of it.",
            "",
            "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
            "|---" + "|---:" * (len(columns) - 1) + "|",
            *("| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
