"""Sessions of clients before 2026-07-28 over HTTP: what a client has said of itself, sealed into the session's id.

So every worker knows it, none has to keep it, and there is nothing to end: a session is as long as its client's token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from mix_mcp.revision import LEVELS, Client
from mixkit.errors import KeyRingError, NotFound

if TYPE_CHECKING:
    from mix_server.caller import Caller

    from mixkit.keyring import KeyRing

__all__ = ["HEADER", "close", "open_session"]

HEADER: Final = "Mcp-Session-Id"
_PURPOSE: Final = "mcp session"
_MOST: Final = 4_096
"""Bytes of the capabilities that are kept; of a client that says more, it is not known what it can do."""


def close(keyring: KeyRing, who: Caller, client: Client) -> str:
    """The id of a session."""
    said = msgspec.msgpack.encode((client.version, client.capabilities))
    if len(said) > _MOST:
        said = msgspec.msgpack.encode((client.version, {}))
    return keyring.seal(_PURPOSE, said, who.named.encode()).hex()


def open_session(keyring: KeyRing, who: Caller, id: str) -> Client:
    """Who a session is of.

    Raises:
        NotFound: it is none, or somebody else's.
    """
    try:
        said: tuple[str, dict[str, Any]] = msgspec.msgpack.decode(
            keyring.open(_PURPOSE, bytes.fromhex(id), who.named.encode()), type=tuple[str, dict[str, Any]]
        )
    except (ValueError, KeyRingError):
        raise NotFound("no such session") from None
    return Client(*said, LEVELS.index("info"))
