"""A server that ends by itself when nobody has used it for long."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

__all__ = ["Idle"]

log = logging.getLogger("mixkit.mcp")


class Idle:
    """An ASGI application that is another one, and its end.

    Args:
        app: the other one.
        seconds: without a request that is being answered, after which the process is told to end.
        busy: whether something runs for which no request waits.
    """

    def __init__(self, app: Any, seconds: float, busy: Callable[[], bool]) -> None:
        self._app = app
        self._seconds = seconds
        self._busy = busy
        self._open = 0
        self._last = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            watcher = asyncio.create_task(self._watch())
            try:
                await self._app(scope, receive, send)
            finally:
                watcher.cancel()
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1
            self._last = asyncio.get_running_loop().time()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        while (left := self._last + self._seconds - loop.time()) > 0:
            await asyncio.sleep(left)
            if self._open or self._busy():
                self._last = loop.time()
        log.warning("nobody has asked for %g s: the server ends", self._seconds)
        os.kill(os.getpid(), signal.SIGTERM)
