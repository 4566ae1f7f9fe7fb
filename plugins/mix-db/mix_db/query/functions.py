"""The functions that expressions may call, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mix_db.query.dates import PARTS, part_of, truncated
from mix_db.query.folding import fold
from mixkit.value import UNDEF

__all__ = ["FUNCTIONS", "call"]

FUNCTIONS: Final[Mapping[str, int]] = {**dict.fromkeys(PARTS, 1), "trunc": 2, "fold": 1}
"""How many arguments each takes."""


def call(function: str, args: Sequence[Any]) -> Any:
    """What a function answers: of undefined, and of what it does not work on, undefined; of null, null.

    Raises:
        QueryError: a text is too long to be folded.
    """
    value = args[0]
    if value is UNDEF or value is None:
        return value
    match function:
        case "trunc":
            return truncated(value, args[1])
        case "fold":
            return fold(value) if type(value) is str else UNDEF
        case _:
            return part_of(function, value)
