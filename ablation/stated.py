"""A model whose later fields are stated only where they say something: older runs keep their ids."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Stated(BaseModel):
    """Fields that were added after runs had been made (`later`) are left out of a dump while they have their default.

    A run's id digests the dump, so a new choice changes the ids of those runs only that make it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _state(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        usual = {name: type(self).model_fields[name].default for name in self.later}
        silent = {name for name, default in usual.items() if getattr(self, name) == default}
        return {name: value for name, value in handler(self).items() if name not in silent}
