"""Fields of a JSON object from a run's folder, by the kind of value that each has: what is damaged is named.

Folders are written by the toolkit and may be changed by anybody since: nothing is taken for what it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from ablation.errors import UserError

AGAIN = "Remove the run's folder and launch the sweep again."
NOTHING = type(None)


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number of 64 bits."""
    return type(value) is int and abs(value) < 1 << 63


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number that fits a float; true and false are none."""
    return type(value) is float or (type(value) is int and abs(value) < 1 << 1000)


def damaged(what: str, where: str, remedy: str = AGAIN) -> UserError:
    """The error for a file that says what it can't say."""
    return UserError(f"damaged {what}", where=where, remedy=remedy)


def check(
    fields: dict[str, Any], kinds: Mapping[str, tuple[type, ...]], what: str, where: str, remedy: str = AGAIN
) -> dict[str, Any]:
    """`fields`, of which each that `kinds` names has one of its types (exactly: true is no int) or is absent.

    Raises UserError: `damaged WHAT: NAME is VALUE`.
    """
    for name, types in kinds.items():
        if name in fields and type(fields[name]) not in types:
            raise damaged(f"{what}: {name} is {fields[name]!r:.60}", where, remedy)
    return fields
