"""A WebSocket that a run has open: what passes counts against its budget, and it ends with the run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mixkit.errors import LimitExceeded
from mixkit.limits import Budget

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = ["Socket", "counting"]

_GOING_AWAY = 1001
_FLUSH = 1.0
"""Seconds that the last words of a connection have when its run has ended."""


def counting(budget: Budget, exceeded: Callable[[LimitExceeded], None]) -> type[ClientConnection]:
    """A class of connections whose bytes count against `outgoing_bytes` as they arrive, read or not.

    Args:
        exceeded: told when that ends a connection.
    """
    # Not at import, which comes with every start.
    from websockets.asyncio.client import ClientConnection

    class Counting(ClientConnection):
        def data_received(self, data: bytes) -> None:
            try:
                budget.spend("outgoing_bytes", len(data))
            except LimitExceeded as exc:
                exceeded(exc)
                self.set_connection_exc(exc)
                self.transport.abort()
            else:
                super().data_received(data)

    return Counting


class Socket:
    """One open connection. All methods but `end` belong to the thread of its event loop."""

    def __init__(self, connection: ClientConnection, budget: Budget) -> None:
        import asyncio

        self._connection = connection
        self._budget = budget
        self._loop = asyncio.get_running_loop()

    async def send(self, message: str | bytes) -> None:
        """Send a message, text or binary. `ConnectionClosed` if the connection has ended."""
        await self._connection.send(message)

    async def receive(self, seconds: float | None) -> str | bytes:
        """The next message; waits for it as long as that, or for ever.

        Raises:
            TimeoutError: none came; a message that is on its way is not lost.
            ConnectionClosed: there will be none.
        """
        if seconds is None:
            return await self._connection.recv()
        import asyncio

        async with asyncio.timeout(seconds):
            return await self._connection.recv()

    async def close(self, code: int, reason: str) -> None:
        """Say the end, and wait for the peer's for as long as the settings allow."""
        await self._connection.close(code, reason)

    def exceeded(self) -> LimitExceeded | None:
        """The limit that ended the connection, if one did."""
        exc = self._connection.connection_exc
        return exc if isinstance(exc, LimitExceeded) else None

    def ended(self) -> dict[str, Any]:
        """How the connection ended, as agents see it: as the peer said it, or we said to a peer that broke the
        protocol or a limit; code 1006 is an end without a word."""
        exc = self._connection.protocol.close_exc
        how = exc.rcvd or exc.sent
        return {"code": 1006, "reason": ""} if how is None else {"code": int(how.code), "reason": how.reason}

    def end(self) -> None:
        """The run is over: say so and go. From any thread."""
        with suppress(RuntimeError):  # The loop has ended, and the connection with it.
            self._loop.call_soon_threadsafe(self._go)

    def _go(self) -> None:
        connection = self._connection
        with suppress(Exception):  # It may be closing, or have failed.
            connection.protocol.send_close(_GOING_AWAY, "the run has ended")
            connection.send_data()
        connection.transport.close()
        self._loop.call_later(_FLUSH, connection.transport.abort)
