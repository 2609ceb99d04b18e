"""A study in one file for a reader: its sweep, registrations and tables, from which the main table can be made again.

The same study gives the same bytes. Anonymous, it names no person, host, path, commit or remote.
"""

from __future__ import annotations

import getpass
import io
import json
import os
import re
import shlex
import socket
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ablation.claim import attempts
from ablation.errors import UserError
from ablation.registration import registration_files
from ablation.sweep import Sweep
from analysis.collect import Study
from analysis.findings import Finding, first
from analysis.looks import plan_of
from analysis.outside import command_of
from analysis.results import COUNTS
from analysis.tables import tidy, to_csv
from analysis.verdict import completeness, headline

COMMON = {"root", "user", "users", "admin", "runner", "ubuntu", "debian", "home", "localhost"}
"""Names of accounts and hosts that name nobody, and are words beside."""
_PLACES = re.compile(r"\w+://\S+|\S+@\S+\.\S+|(?<![\w.<])~?(?:/[\w.@+~-]+){2,}/?")
_UNTOLD = "(left out)"


def write_bundle(
    path: Path, study: tuple[Sweep, Study, list[Finding]], runs: Path, *, anonymous: bool, changes: Sequence[str] = ()
) -> Path:
    """Write the bundle of a study whose run folders lie below `runs`; the path.

    `changes` were made to the sweep beside its file, and are named.

    Raises UserError where it can't be written; then nothing has changed.
    """
    files = _files(*study, runs, changes, anonymous=anonymous)
    if anonymous:
        names = _names(study[0], runs)
        files = {_scrubbed(name, names): _scrubbed(text, names) for name, text in files.items()}
    spare = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        spare.write_bytes(_zip(files))
        os.replace(spare, path)
    except OSError as error:
        raise UserError(f"can't write the bundle: {error.strerror or error}", where=str(path)) from None
    finally:
        with suppress(OSError):
            spare.unlink(missing_ok=True)
    return path


def _zip(files: dict[str, str]) -> bytes:
    """No time, no owner: the same bytes for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr, entry.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode())
    return buffer.getvalue()


def _files(
    sweep: Sweep, study: Study, found: list[Finding], runs: Path, changes: Sequence[str], *, anonymous: bool
) -> dict[str, str]:
    frames = tidy(sweep, study, found) | {"runs": rows_again(sweep, study)}
    if anonymous:
        frames["runs"] = frames["runs"].drop(columns="device_name")
        for frame in (frames["runs"], frames["missing"]):
            frame["message"] = [text if str(text).startswith("diverged: ") else "" for text in frame["message"]]
    files = {f"tables/{name}.csv": to_csv(frame) for name, frame in frames.items()}
    if not sweep.outside:
        text = sweep.path.read_text(encoding="utf-8")
        plain = yaml.safe_dump(yaml.safe_load(text), sort_keys=False, allow_unicode=True)
        files[sweep.path.name] = plain if anonymous else text  # comments may name anybody
    for path in registration_files(runs, sweep.name):
        files[path.name] = _registration(path, anonymous=anonymous)
    return files | {"README.md": _readme(sweep, study, found, sorted(files), changes, anonymous=anonymous)}


def _registration(path: Path, *, anonymous: bool) -> str:
    fields = json.loads(path.read_text(encoding="utf-8"))
    kept = {
        key: value for key, value in fields.items() if not anonymous or key in ("date", "digest", "known", "content")
    }
    return json.dumps(kept, indent=2) + "\n"


def rows_again(sweep: Sweep, study: Study) -> pd.DataFrame:
    """Every run of the registered seeds as `analysis.results` reads it; each panel's baseline first.

    What has not finished has a state and no error.
    """
    seeds, _ = plan_of(sweep, first(study))
    done = {(row["panel"], row["arm"], row["seed"]): row for row in study.runs.to_dict("records")}
    gone = {(run["panel"], run["arm"], run["seed"]): run for run in study.missing}
    rows = [
        _row_again(
            sweep, panel.name, arm, done.get((panel.name, arm.name, seed)), gone.get((panel.name, arm.name, seed))
        )
        for panel in sweep.panels
        for arm in sorted(panel.arms, key=lambda arm: arm.name != panel.baseline)
        for seed in seeds
        if (panel.name, arm.name, seed) in done.keys() | gone.keys()
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in COUNTS if name in frame})


def _row_again(sweep: Sweep, panel: str, arm: Any, done: Any, gone: Any) -> dict[str, Any]:
    metric, run = sweep.evidence.metric, done or {}
    costs = {key: getattr(arm.cost, key) for key in ("params", "macs", "activations")}
    return {
        **{"panel": panel, "arm": arm.name, "seed": (done or gone)["seed"], "error": run.get(metric)},
        **{"state": gone["state"] if gone else "done", "message": gone["message"] if gone else ""},
        **{"axis": arm.axis or "", "published": arm.published.get(metric), "design": arm.design.name},
        **{"cardinality": arm.design.cardinality, "width": arm.design.width, **costs},
        **{key: run.get(key) for key in ("top1_error", "top5_error", "train_error", "loss", "images", "epochs")},
        **{key: run.get(key) for key in ("seconds", "images_per_second", "device", "device_name", "run_id")},
    }


def _readme(
    sweep: Sweep, study: Study, found: list[Finding], files: list[str], changes: Sequence[str], *, anonymous: bool
) -> str:
    origin = study.provenance
    versions = "; ".join(f"{name} {' or '.join(map(str, v))}" for name, v in origin["versions"].items() if v)
    _, looks = plan_of(sweep, first(study))
    command = command_of(sweep, "tables/runs.csv", {"looks": list(looks)} if len(looks) > 1 else {})
    parts = [
        f"# {sweep.question}",
        completeness(study),
        headline(sweep, found),
        "The main table can be made again from this bundle, with the same numbers, without torch:",
        f"```\n{command}\n```",
        "It reads the runs of the registered seeds; marks such as exploratory need the registration, and are not made "
        "again. The whole report needs the runs.",
        "\n".join(["Files:", "", *(f"- {name}" for name in files)]),
    ]
    if changes and not sweep.outside:
        parts.append(f"The sweep was changed by {' '.join(f'--set {shlex.quote(change)}' for change in changes)}.")
    if not anonymous:
        parts.append(f"Commits: {', '.join(origin['commits']) or 'not known'}. Versions: {versions or 'not known'}.")
    return "\n\n".join(parts) + "\n"


def _names(sweep: Sweep, runs: Path) -> list[str]:
    """Names of people and hosts that this process and the runs' attempts know."""
    found = {getpass.getuser(), Path.home().name, socket.gethostname()}
    for folder in (runs / sweep.name).glob("*/attempts"):
        for attempt in attempts(folder):
            found |= {str(attempt.fields.get(key, "")).split(" ")[0] for key in ("host", "user")}
    found |= {name.partition(".")[0] for name in found}
    return sorted((name for name in found if len(name) > 2 and name not in COMMON), key=len, reverse=True)


def _scrubbed(text: str, names: list[str]) -> str:
    """Without places on machines and networks, and without these names."""
    text = _PLACES.sub(lambda place: _file_name(place[0]), text)
    for name in names:
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", "anonymous", text)
    return text


def _file_name(place: str) -> str:
    """The name of a file of code or data; nothing of another path, of a URL or an address."""
    last = place.rsplit("/", 1)[-1]
    return last if place.startswith(("/", "~")) and re.fullmatch(r"[\w-]+\.(py|yaml|csv|json)", last) else _UNTOLD
