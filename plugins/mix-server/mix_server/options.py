"""What the query string of a request may hold: each resource says it, and what it does not say is refused.

A misspelt option that was passed over would make the request mean something else than what was meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mix_server.errors import BadRequest
from mix_server.params import parse_pairs
from mixkit.near import meant

if TYPE_CHECKING:
    from collections.abc import Collection

    from mix_server.request import Request

__all__ = ["ITS_OWN", "options_of", "refuse_options"]

ITS_OWN: Final = frozenset({"*"})
"""For a method whose query string has names that are not ours: it refuses by itself what it does not know."""

_ALIASES: Final = {"HEAD": "GET"}


def options_of(resource: Any, method: str) -> Collection[str]:
    """The names that a resource's method takes in a query string, as its `options` say: none if it says nothing."""
    options: dict[str, Collection[str]] = getattr(resource, "options", {})
    return options.get(_ALIASES.get(method, method), ())


def refuse_options(req: Request, resource: Any) -> None:
    """Refuse a query string that would be passed over.

    Args:
        resource: what the request goes to. Its `options` are the names that each of its methods takes.

    Raises:
        BadRequest: there is another name, for which the one that was meant is named, or one twice, or the query string
            is malformed.
    """
    if not req.query_string:
        return
    known = options_of(resource, req.method)
    if known is ITS_OWN:
        return
    seen: set[str] = set()
    for key, _ in parse_pairs(req.query_string):
        if key in seen:
            raise BadRequest(f"expected {key} once in the query string, found it twice")
        seen.add(key)
        if key not in known:
            expected = " or ".join(sorted(known)) or "nothing"
            raise BadRequest(
                f"expected {expected} in the query string, found {key[:40]!r}{meant(key, known)}"
            )
