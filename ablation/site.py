"""The site file: what belongs to a cluster and not to a study. Nothing in it enters a run's id."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ablation.errors import UserError, did_you_mean
from ablation.yaml_file import read_yaml

Text = Annotated[str, Field(strict=True, min_length=1)]


class Site(BaseModel):
    """How jobs are submitted here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: Text | None = None
    partition: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    setup: list[Text] = []
    """Shell lines before a worker starts: modules, conda."""
    python: Text | None = None
    """The interpreter (or the container command around it); by default the one that launches."""
    requeue: bool = True
    """Whether a job may queue itself again."""
    sbatch: dict[str, Any] = {}
    """Any other sbatch option."""


def load_site() -> Site:
    """The site file: $ABLATION_SITE, else ~/.config/ablation/site.yaml, else an empty one. Raises UserError."""
    named = os.environ.get("ABLATION_SITE")
    path = Path(named) if named else Path.home() / ".config" / "ablation" / "site.yaml"
    if not named and not path.exists():
        return Site()
    file = read_yaml(path)
    try:
        return Site.model_validate(file.data or {})
    except ValidationError as error:
        first = error.errors()[0]
        key, unknown = first["loc"], first["type"] == "extra_forbidden"
        remedy = did_you_mean(str(key[0]), list(Site.model_fields)) if unknown else None
        message = f"unknown key {key[0]!r}" if unknown else f"{'.'.join(map(str, key))}: {first['msg']}"
        raise UserError(message, where=file.where(key), remedy=remedy) from None
