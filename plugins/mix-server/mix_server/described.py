"""What a method of a resource takes and answers, as the resource says it in its `methods`, for who reads the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["DATABASE", "FORM", "JSON", "MSGPACK", "RUN", "VALUE", "Method"]

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
MSGPACK: Final = "application/msgpack"
VALUE: Final = (JSON, MSGPACK)
"""Types of a value, as it is sent and as it is answered."""

DATABASE: Final = frozenset({406, 409, 413, 429, 503, 504, 507})
"""Statuses of errors of what works with a database."""
RUN: Final = frozenset({406, 413, 422, 429, 503, 504})
"""Statuses of errors of a run."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a resource.

    Attributes:
        summary: what it does, in one line.
        answers: the type of each answer that is no error, by its status; None for one without a body. Types are those
            that msgspec knows.
        answered_as: media types of these answers.
        takes: the type of the body; None if it takes none.
        taken_as: media types of the body.
        query: a type with fields for its options, where they are not texts.
        others: whether it may answer any other status too, which only a plugin knows.
        errors: statuses beside those that all methods of its kind have: see `mix_server.openapi.statuses`.
    """

    summary: str
    answers: Mapping[int, Any] = field(default_factory=dict)
    answered_as: tuple[str, ...] = (JSON,)
    takes: Any = None
    taken_as: tuple[str, ...] = (JSON,)
    query: Any = None
    errors: frozenset[int] = frozenset()
    others: bool = False
