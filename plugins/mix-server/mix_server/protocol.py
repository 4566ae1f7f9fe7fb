"""HTTP connections as uvicorn keeps them, but that none of them holds up a server that stops."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Protocol"]

_PATIENCE: Final = 2.0
"""Seconds in which a client must take something of its answer while the server stops."""


class Protocol(HttpToolsProtocol):
    """A connection.

    uvicorn waits for all connections to end, and one ends only when its client has taken what was written to it. That
    may be never: so the one whose client takes nothing is broken off.
    """

    def shutdown(self) -> None:
        """The server stops."""
        super().shutdown()
        self._look(None)

    def _look(self, before: int | None) -> None:
        left = self.transport.get_write_buffer_size()
        if before is not None and 0 < before <= left:
            self.transport.abort()
        elif self in self.connections:
            self.loop.call_later(_PATIENCE, self._look, left)
