"""Revisions of the protocol, and what a request says of who sends it.

Since 2026-07-28 each request says so itself, in its `_meta`. Before that a client said it once, in `initialize`, for
all that followed on its connection.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mix_mcp.message import INVALID_PARAMS, MISSING_CAPABILITY, UNSUPPORTED_VERSION, Fault

__all__ = [
    "LATEST",
    "LEVELS",
    "MODERN",
    "SESSIONS",
    "SUPPORTED",
    "Client",
    "agreed",
    "client_of",
    "lacking",
    "of_session",
]

MODERN: Final = "2026-07-28"
SESSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
"""Those with `initialize`, the latest first."""
LATEST: Final = SESSIONS[0]
SUPPORTED: Final = [MODERN, *SESSIONS]

LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Of log messages, from the least important on."""

_META: Final = "io.modelcontextprotocol/"
_VERSION: Final = f"{_META}protocolVersion"
_CAPABILITIES: Final = f"{_META}clientCapabilities"
_LEVEL: Final = f"{_META}logLevel"


class Client(msgspec.Struct, frozen=True):
    """What is known of who sent a request.

    Attributes:
        version: of the protocol.
        capabilities: what it can do.
        level: from which on it takes log messages, an index of `LEVELS`; None for none.
        progress: the token under which it wants to hear of progress; None if it does not.
    """

    version: str
    capabilities: dict[str, Any] = {}
    level: int | None = None
    progress: str | int | None = None

    @property
    def modern(self) -> bool:
        """Whether each request says who sends it."""
        return self.version == MODERN

    def can(self, *names: str) -> bool:
        """Whether it has a capability, or a part of one, as `can("elicitation", "form")`."""
        found: Any = self.capabilities
        for name in names:
            if name == "form" and "url" not in found:
                # Clients that know no other kind of question name none.
                return True
            found = found.get(name)
            if type(found) is not dict:
                return False
        return True


def version_of(params: dict[str, Any]) -> str | None:
    """The revision that a request says it is of, if it does."""
    meta = params.get("_meta")
    version = meta.get(_VERSION) if isinstance(meta, dict) else None
    return version if type(version) is str else None


def client_of(params: dict[str, Any]) -> Client | None:
    """Who sent a request, as it says itself; None if it says nothing of the kind.

    Raises:
        Fault: what it says is not whole, or of a revision that is not spoken here.
    """
    meta = params.get("_meta")
    if not isinstance(meta, dict) or _VERSION not in meta:
        if isinstance(meta, dict) and _CAPABILITIES in meta:
            raise Fault(INVALID_PARAMS, f"expected {_VERSION} in _meta, found none")
        return None
    version, capabilities = meta[_VERSION], meta.get(_CAPABILITIES)
    if type(version) is not str:
        raise Fault(INVALID_PARAMS, f"expected {_VERSION} as text")
    if version != MODERN:
        raise Fault(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            {"supported": SUPPORTED, "requested": version[:40]},
        )
    if type(capabilities) is not dict:
        raise Fault(INVALID_PARAMS, f"expected {_CAPABILITIES} in _meta as an object")
    return Client(version, capabilities, _level(meta.get(_LEVEL)), _token(meta))


def of_session(client: Client, params: dict[str, Any]) -> Client:
    """The same of a request of a session, whose `client` is known since `initialize`."""
    meta = params.get("_meta")
    if not isinstance(meta, dict):
        return client
    return msgspec.structs.replace(client, progress=_token(meta))


def lacking(capabilities: dict[str, Any]) -> Fault:
    """The fault of a request whose client would need capabilities that it does not have."""
    return Fault(
        MISSING_CAPABILITY, "Missing required client capability", {"requiredCapabilities": capabilities}
    )


def agreed(version: Any) -> str:
    """The revision of a session whose client asks for one: that one, or else the latest."""
    return version if version in SESSIONS else LATEST


def _level(found: Any) -> int | None:
    if found is None:
        return None
    if found not in LEVELS:
        raise Fault(INVALID_PARAMS, f"expected a log level, one of {', '.join(LEVELS)}")
    return LEVELS.index(found)


def _token(meta: dict[str, Any]) -> str | int | None:
    token = meta.get("progressToken")
    if token is None or type(token) in (str, int):
        return token
    raise Fault(INVALID_PARAMS, "expected progressToken as text or a whole number")
