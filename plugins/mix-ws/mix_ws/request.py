"""What an agent asks for when it opens a WebSocket, checked before anything goes out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from mixkit.errors import FFIError
from mixkit.header_fields import BasicAuth, Fields, authorize, checked
from mixkit.value import Token

__all__ = ["ConnectRequest"]

_PROTOCOL: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_MAX_PROTOCOLS: Final = 20
_HANDSHAKE: Final = "sec-websocket-"


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """What `$ws_connect` takes: where to, and at most one way to authenticate."""

    url: Annotated[str, "absolute URL, wss://"]
    subprotocols: Annotated[list[str] | None, "the wanted one first"] = None
    headers: Annotated[dict[str, str | Token | list[str]] | None, "of the handshake"] = None
    basicAuth: BasicAuth | None = None
    oauthToken: Annotated[str | Token | None, "sent as Authorization: Bearer"] = None
    compression: Annotated[bool | None, "offer permessage-deflate"] = False
    timeout: Annotated[float | None, "seconds; the setting ws.connect_timeout is the cap"] = None

    def protocols(self) -> list[str]:
        """The subprotocols. FFIError for names that RFC 6455 does not allow, or the same one twice."""
        wanted = self.subprotocols or []
        for name in wanted:
            if not _PROTOCOL.fullmatch(name):
                raise FFIError(
                    f"subprotocols: expected letters, digits and hyphens as a name, found {name[:100]!r}"
                )
        if len(wanted) > _MAX_PROTOCOLS or len(set(wanted)) < len(wanted):
            raise FFIError(f"subprotocols: expected at most {_MAX_PROTOCOLS} names, each once")
        return wanted

    def fields(self) -> Fields:
        """The headers of the handshake that are the agent's. FFIError if one of them may not be sent."""
        fields = checked(self.headers or {})
        for name, _ in fields:
            if name.lower().startswith(_HANDSHAKE):
                raise FFIError(f"headers: {name} is set by the host; subprotocols and compression ask for it")
        authorize(fields, self.basicAuth, self.oauthToken)
        return fields
