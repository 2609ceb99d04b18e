"""Command: run all simulations with many studies and write the table (`make calibration`)."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version

from calibration.page import put_section, simulated, write_csv
from calibration.promise import Promise
from calibration.simulations import SIMULATIONS, Simulation

STUDIES = 20_000


def main() -> int:
    """Run, write, and say what does not hold; 1 where anything does not."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: make calibration")
    parser.add_argument("--studies", type=int, default=STUDIES, help=f"studies a simulation ({STUDIES:,})")
    parser.add_argument("--processes", type=int, default=None, help="as many as cores by default")
    options = parser.parse_args()
    start, promises = time.monotonic(), []
    with ProcessPoolExecutor(options.processes) as pool:
        for simulation, found in zip(SIMULATIONS, pool.map(partial(_run, options.studies), SIMULATIONS), strict=True):
            print(f"{time.monotonic() - start:5.0f} s  {simulation.name}", flush=True)
            promises += found
    write_csv(promises)
    put_section("Simulated studies", simulated(promises, _about(options.studies)))
    broken = [str(promise) for promise in promises if not promise.holds]
    print(*(broken or ["every promise held"]), "written: reports/calibration/README.md, simulated.csv", sep="\n")
    return bool(broken)


def _run(studies: int, simulation: Simulation) -> list[Promise]:
    return simulation(studies)


def _about(studies: int) -> dict[str, str]:
    from ablation.execution import device_name
    from ablation.run import provenance

    origin = provenance()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    return {
        "date": origin["created"][:10],
        "commit": (origin["commit"] or "unknown")[:10] + (" with changes" if origin["dirty"] else ""),
        "machine": f"{device_name('cpu')}, {platform.system()} {platform.machine()}",
        "versions": f"Python {platform.python_version()}, {libraries}",
        "studies": f"{studies:,} a row",
    }


if __name__ == "__main__":
    sys.exit(main())
