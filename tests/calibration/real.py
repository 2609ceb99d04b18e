"""Command: what twenty real seeds of one arm say of the noise that two tell, and of the same arm under two names."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from calibration.page import put_section

from ablation.sweep import Panel, load_sweep
from analysis.bits import Right
from analysis.collect import Study, collect
from analysis.statistics import compare, estimate, sd_of_pair, sd_range

SWEEP = Path(__file__).parents[2] / "sweeps" / "calibration.yaml"
TITLE = "Real runs: two pilots, and an arm against itself"
TEXT = """\
{runs} runs of `sweeps/calibration.yaml` (Fashion-MNIST, one design of 33,930 parameters, 20 seeds at each length) on
{devices}. *Two pilots*: the SD that the images on which two runs disagree imply (`sd_of_pair`), over {pairs} disjoint
pairs of seeds. *Inside*: whether their mean lies in the 95% chi-square interval of the twenty seeds' SD."""
AGAIN = """\
The arm against itself, disjoint seeds under two names, margin ±{margin:g} points: verdicts over all disjoint pairs of
n seeds. *Improves* and *worsens* are false here: {false} of {studies} studies (rows of a length share their runs).
At 5% each, {expected:.1f} are expected."""
MARGIN = 0.5


def main() -> None:
    """Read the runs, write the section."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: make calibration")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the sweep's runs lie")
    sweep = load_sweep(SWEEP)
    study = collect(sweep, parser.parse_args().runs)
    put_section(TITLE, section(study, sweep.panels))
    print(section(study, sweep.panels))


def section(study: Study, panels: tuple[Panel, ...]) -> str:
    """The section in Markdown."""
    noise = [
        "| length | seeds | mean error | SD of seeds | 95% | two pilots (least to most) | pilots / seeds | inside |"
    ]
    noise.append("|---|---|---|---|---|---|---|---|")
    same = ["| length | n | studies | verdicts |", "|---|---|---|---|"]
    kinds: Counter[str] = Counter()
    for panel in panels:
        errors, right = _runs(study, panel)
        noise.append(_noise(panel.name, errors, right))
        for n in (2, 3, 5, 10):
            found = _itself(errors, n)
            kinds += found
            shown = ", ".join(f"{kind} {count}" for kind, count in sorted(found.items()))
            same.append(f"| {panel.name} | {n} | {found.total()} | {shown} |")
    devices = " and ".join(study.provenance["devices"])
    text = TEXT.format(runs=len(study.runs), devices=devices, pairs=len(right) // 2)
    false, studies = kinds["improves"] + kinds["worsens"], kinds.total()
    again = AGAIN.format(margin=MARGIN, false=false, studies=studies, expected=0.05 * studies)
    return "\n\n".join([text, "\n".join(noise), again, "\n".join(same)])


def _runs(study: Study, panel: Panel) -> tuple[list[float], Right]:
    (arm,) = panel.arms
    right = study.right(panel.name, arm.name)
    if right is None:
        raise SystemExit(f"calibration: runs of {panel.name!r} have no bits")
    return study.errors(panel.name, arm.name), right


def _noise(name: str, errors: list[float], right: Right) -> str:
    all_seeds = estimate(errors)
    low, high = sd_range(all_seeds.sd, all_seeds.n - 1)
    pilots = [sd_of_pair(right[i], right[i + 1]) for i in range(0, len(right) - 1, 2)]
    mean = float(np.mean(pilots))
    cells = [name, all_seeds.n, f"{all_seeds.mean:.2f}%", f"{all_seeds.sd:.3f}", f"{low:.3f} to {high:.3f}"]
    cells += [f"{mean:.3f} ({min(pilots):.3f} to {max(pilots):.3f})", f"{mean / all_seeds.sd:.2f}"]
    return f"| {' | '.join(map(str, cells))} | {'yes' if low <= mean <= high else 'no'} |"


def _itself(errors: list[float], n: int) -> Counter[str]:
    halves = [errors[i : i + n] for i in range(0, len(errors) - n + 1, n)]
    pairs = list(zip(halves[::2], halves[1::2], strict=False))
    return Counter(compare({"a": a, "A": b}, "A", margin=MARGIN).contrasts[0].kind for a, b in pairs)


if __name__ == "__main__":
    main()
