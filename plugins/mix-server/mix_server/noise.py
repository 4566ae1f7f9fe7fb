"""What an HTTP server logs on its own, whoever started it: no query strings, no faults that were meant so."""

from __future__ import annotations

import asyncio
import logging

from mix_server.streams import CutOff

__all__ = ["quieten"]


def quieten() -> None:
    """Let uvicorn's loggers say nothing that our own say better. Called when it has set them up, as it starts."""
    access = logging.getLogger("uvicorn.access")
    # NOTE: uvicorn looks for handlers, not for its own option; its lines have query strings, where secrets may be.
    access.handlers.clear()
    access.propagate = False
    error = logging.getLogger("uvicorn.error")
    if not any(isinstance(found, _Quiet) for found in error.filters):
        error.addFilter(_Quiet())


class _Quiet(logging.Filter):
    """Drops what uvicorn says of a request that was cancelled or cut off: it was meant so, and its cause is logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        if "WebSocket" in str(record.msg) and isinstance(record.args, tuple):
            # A handshake, with its path and query string.
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, asyncio.CancelledError | CutOff)
