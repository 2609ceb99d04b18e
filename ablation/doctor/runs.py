"""Run folders: whether every file is what was written, and they agree; what is safe to mend can be mended."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ablation.claim import attempts
from ablation.doctor.finding import Finding, Findings
from ablation.errors import UserError, first_line
from ablation.family import cost_of
from ablation.records import parse_records
from ablation.run import Run, RunPaths, bits_name, checkpoint_files, load_run, put_aside_name, read_json
from ablation.seal import Damaged, check_digest, check_seal, fingerprint

SPARE = re.compile(r"\.[^/]+\.[0-9a-f]+")
AGAIN = "Remove the run's folder and launch again: it gives the same numbers."
REPAIR = "`--repair` does it."
TRIES = "attempts"


@dataclass(frozen=True)
class Flaw:
    """Something that is not as it was written."""

    file: str
    says: str
    remedy: str = AGAIN
    mend: Callable[[], None] | None = None
    """What `--repair` does, where that loses nothing."""
    minor: bool = False
    """Whether runs and reports are none the worse for it."""


def check_runs(runs: Path, sweep: str | None = None, *, repair: bool = False) -> list[Finding]:
    """Every run folder below `runs`, or those of one sweep; with `repair`, what is safe to mend is mended."""
    found = Findings("runs")
    for folder in _folders(runs, sweep):
        paths = RunPaths(runs, folder.parent.name, folder.name)
        for flaw in flaws(paths):
            _tell(found, f"{paths.sweep}/{paths.id}", flaw, repair=repair)
    count = len(_folders(runs, sweep))
    bad = len({finding.check for finding in found.all if finding.state == "problem"})
    if count:
        found.ok("run folders", f"{count - bad} of {count} are whole, and their files agree")
    return found.all


def _tell(found: Findings, run: str, flaw: Flaw, *, repair: bool) -> None:
    says = f"{flaw.file} {flaw.says}"
    if repair and flaw.mend:
        try:
            flaw.mend()
        except OSError as error:
            found.problem(run, f"{says}; it can't be mended: {error.strerror or error}", flaw.remedy)
        else:
            found.note(run, f"mended: {says}")
    elif flaw.minor:
        found.note(run, says, flaw.remedy)
    else:
        found.problem(run, says, flaw.remedy)


def _folders(runs: Path, sweep: str | None) -> list[Path]:
    """Those of runs: a folder with any of a run's own files; one whose run.json is gone is one, too."""
    below = [runs / sweep] if sweep else sorted(path for path in runs.glob("[!.]*") if path.is_dir())
    signs = ("run.json", "log.jsonl", "result.json", TRIES)
    return [
        folder
        for study in below
        for folder in sorted(study.glob("*-s*-*"))
        if any((folder / sign).exists() for sign in signs)
    ]


def flaws(paths: RunPaths) -> Iterator[Flaw]:
    """All that is wrong with a run's folder. Files that a living worker may be writing are left out."""
    tries = attempts(paths.attempts)
    alive = bool(tries) and tries[-1].alive()
    run, about = None, dict[str, Any]()
    try:
        run, about = load_run(paths), read_json(paths.run_json)
    except UserError as error:
        yield Flaw("run.json", error.message, error.remedy or AGAIN)
    if run:
        yield from _description(run, about)
    records, wrong = _log(paths, alive)
    yield from wrong
    yield from _steps(records)
    yield from _attempts(paths, alive)
    if paths.result.exists():
        yield from _result(paths, records)
    if not alive:
        yield from _checkpoints(paths)
        yield from _spares(paths)


def _description(run: Run, about: dict[str, Any]) -> Iterator[Flaw]:
    try:
        check_digest(about)
    except Damaged as damaged:
        yield Flaw("run.json", str(damaged))
        return
    if about.get("cost") != asdict(cost_of(run.design)):
        yield Flaw("run.json", "tells another cost than the design has")
    origin = about.get("provenance")
    if not isinstance(origin, dict) or not {"created", "versions"} <= origin.keys():
        yield Flaw("run.json", "does not tell where the run comes from")


def _log(paths: RunPaths, alive: bool) -> tuple[list[dict[str, Any]], list[Flaw]]:
    if not paths.log.exists():
        missing = [Flaw("log.jsonl", "is missing, and the run is finished")] if paths.result.exists() else []
        return [], missing
    data = paths.log.read_bytes()
    whole, _, tail = data.rpartition(b"\n")
    found = list[Flaw]()
    if tail and not alive:
        mend = lambda: _cut(paths.log, len(data) - len(tail))  # noqa: E731
        found.append(Flaw("log.jsonl", "ends in the part of a line that its writer was killed in", REPAIR, mend, True))
    records = list[dict[str, Any]]()
    try:
        records.extend(parse_records(whole + b"\n" if whole else b"", paths.log))
    except UserError as error:
        found.append(Flaw(f"log.jsonl:{str(error.where).rpartition(':')[2]}", f"is damaged: {error.message}"))
    return records, found


def _cut(path: Path, size: int) -> None:
    with open(path, "r+b") as file:
        file.truncate(size)


def _steps(records: list[dict[str, Any]]) -> Iterator[Flaw]:
    """Steps rise, but where a run went on from a checkpoint; epochs follow one another."""
    last, epoch = 0, 0
    for number, record in enumerate(records, 1):
        try:
            step = record.get("step")
            back = record.get("event") in ("resume", "start")
            if step is not None and step < last and not back:
                yield Flaw(f"log.jsonl:{number}", f"is at step {step}, after step {last}")
            last = step if step is not None else last
            if record["kind"] == "epoch":
                if not 1 <= record["epoch"] <= epoch + 1:
                    yield Flaw(f"log.jsonl:{number}", f"is of epoch {record['epoch']}, after epoch {epoch}")
                epoch = max(epoch, record["epoch"])
        except (KeyError, TypeError) as error:
            yield Flaw(f"log.jsonl:{number}", f"lacks what its kind has, or has it otherwise: {first_line(error)}")


def _attempts(paths: RunPaths, alive: bool) -> Iterator[Flaw]:
    tries = attempts(paths.attempts)
    for one, after in pairwise(tries):
        if after.number != one.number + 1:
            yield Flaw(f"{TRIES}/{after.path.name}", f"follows {one.path.name}: one in between is gone", minor=True)
    for attempt in tries:
        if not attempt.fields and not alive:
            note = {"host": "unknown", "pid": 0, "process_started": None, "ended": "failed", "message": "damaged file"}
            mend = lambda path=attempt.path, note=note: _put(path, json.dumps(note))  # noqa: E731
            says = "does not say who had the run; it keeps others from it as long as a lease"
            yield Flaw(f"{TRIES}/{attempt.path.name}", says, REPAIR, mend, True)


def _put(path: Path, text: str) -> None:
    path.write_text(text)


def _result(paths: RunPaths, records: list[dict[str, Any]]) -> Iterator[Flaw]:
    try:
        result = read_json(paths.result)
        check_digest(result)
        if result.get("id") != paths.id:
            raise Damaged(f"is {result.get('id')}'s")
        evaluations = {str(name): dict(found) for name, found in result["evaluations"].items()}
        files = {str(name): (dict(sign)["bytes"], sign["sha256"]) for name, sign in result.get("files", {}).items()}
    except UserError as error:
        yield Flaw("result.json", error.message)
        return
    except Damaged as damaged:
        yield Flaw("result.json", str(damaged))
        return
    except (AttributeError, KeyError, TypeError, ValueError):
        yield Flaw("result.json", "lacks what a result has")
        return
    yield from _digests(paths, files)
    yield from _bits(paths, evaluations)
    yield from _last_epoch(result, evaluations, records)
    if not paths.weights.exists():
        yield Flaw("weights.pt", "is missing, and the run is finished")
    elif "weights.pt" not in files and not _archive_is_whole(paths.weights):
        yield Flaw("weights.pt", "is no whole archive")


def _digests(paths: RunPaths, files: dict[str, tuple[int, str]]) -> Iterator[Flaw]:
    for name, (size, digest) in files.items():
        path = paths.folder / Path(name).name
        if not path.exists():
            continue  # said where it is looked for
        part = name == "log.jsonl"
        now = fingerprint(path, size if part else None)
        if (now["bytes"], now["sha256"]) != (size, digest):
            yield Flaw(name, "is not what it was when the run finished: changed, or damaged")


def _bits(paths: RunPaths, evaluations: dict[str, dict[str, Any]]) -> Iterator[Flaw]:
    """The correct examples of an evaluation give its error."""
    for name, found in evaluations.items():
        path, images = paths.bits(name), found.get("images")
        if not path.exists():
            yield Flaw(bits_name(name), "is missing, and the run is finished")
        elif not isinstance(images, int) or images < 1:
            yield Flaw("result.json", f"does not say how many images evaluation {name} has")
        else:
            bits = path.read_bytes()
            if len(bits) != -(-images // 8):
                yield Flaw(path.name, f"has {len(bits)} bytes, and {images} images take {-(-images // 8)}")
            elif abs(100 * (1 - int.from_bytes(bits).bit_count() / images) - found.get("top1_error", -1)) > 1e-9:
                yield Flaw(path.name, f"gives another top-1 error than result.json says of {name}")


def _last_epoch(
    result: dict[str, Any], evaluations: dict[str, dict[str, Any]], records: list[dict[str, Any]]
) -> Iterator[Flaw]:
    """What result.json says is what the last epoch's record says."""
    epochs = [record for record in records if record.get("kind") == "epoch"]
    if not epochs:
        yield Flaw("log.jsonl", "has no epoch, and the run is finished")
        return
    last = epochs[-1]
    said = {**evaluations.get(str(last.get("evaluation")), {}), **{key: result.get(key) for key in ("train_error",)}}
    for key in ("top1_error", "top5_error", "train_error"):
        if key in last and key in said and said[key] is not None and last[key] != said[key]:
            yield Flaw("result.json", f"has {key} {said[key]}, and the log's last epoch {last[key]}")
    done = [record for record in records if record.get("event") == "done"]
    if any(record.get("step") != result.get("steps", record.get("step")) for record in done):
        yield Flaw("log.jsonl", f"ends at another step than result.json, which has {result.get('steps')}")


def _archive_is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # whatever a damaged archive raises
        return False


def _checkpoints(paths: RunPaths) -> Iterator[Flaw]:
    for file in checkpoint_files(paths.checkpoint):
        if not file.exists():
            continue
        if paths.result.exists():
            yield Flaw(file.name, "is of a finished run, and no longer needed", REPAIR, file.unlink, minor=True)
            continue
        try:
            check_seal(file.read_bytes())
        except Damaged as damaged:
            mend = lambda file=file: file.rename(put_aside_name(file))  # noqa: E731
            yield Flaw(file.name, f"{damaged}; the run goes on from another, or starts again", REPAIR, mend)


def _spares(paths: RunPaths) -> Iterator[Flaw]:
    for folder in (paths.folder, paths.attempts):
        for file in sorted(folder.glob(".*")):
            if SPARE.fullmatch(file.name) and file.is_file():
                yield Flaw(file.name, "is what a killed writer left", REPAIR, file.unlink, minor=True)
