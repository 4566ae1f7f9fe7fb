"""A request, with all that is known of it, and how its params are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mix_mcp.message import INVALID_PARAMS, Fault

if TYPE_CHECKING:
    from mix_server.caller import Caller

    from mix_mcp.exchange import Ask
    from mix_mcp.message import Id
    from mix_mcp.revision import Client

__all__ = ["Asked", "object_of", "text_of"]

_FRESH: Final = 5_000
"""Milliseconds for which a list may be taken for what there is."""


@dataclass(slots=True)
class Asked:
    """One request, with all that is known of it.

    Attributes:
        id: of the message.
        run: identity of the run that it may become, in the log and in activities.
        send: sends a message to who asked. Called on the event loop.
        ask: asks a client of a session, while its call is open; None if it cannot be asked.
        header: reads a header of the request, by its name; None where those do not say what the body says.
        constant: whether it wants the two tools that find and call the others, in their place.
        is_over: whether nothing is told beside the answer any more.
    """

    id: Id
    who: Caller
    client: Client
    run: str
    send: Callable[[bytes], None]
    ask: Ask | None = None
    constant: bool = False
    header: Callable[[str], str | None] | None = None
    is_over: bool = False

    def tell(self, line: bytes) -> None:
        """Send a message beside the answer, which comes before it or not at all."""
        if not self.is_over:
            self.send(line)

    @property
    def cached(self) -> dict[str, Any]:
        """For how long a list holds, and that it is one caller's: a part of the answer that has it."""
        return {"ttlMs": _FRESH, "cacheScope": "private"} if self.client.modern else {}


def text_of(params: dict[str, Any], name: str) -> str:
    """A text that must be there. `Fault` if it is not."""
    found = params.get(name)
    if type(found) is not str:
        raise Fault(INVALID_PARAMS, f"expected {name} as text")
    return found


def object_of(params: dict[str, Any], name: str) -> dict[str, Any]:
    """An object; an empty one if it is not there. `Fault` if it is something else."""
    found = params.get(name, {})
    if type(found) is not dict:
        raise Fault(INVALID_PARAMS, f"expected {name} as an object")
    return found
