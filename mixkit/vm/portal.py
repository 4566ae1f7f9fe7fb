"""An event loop in a thread of its own, for runs that begin outside any loop and call async FFIs."""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from mixkit.vm.spawned import Spawned

if TYPE_CHECKING:
    import asyncio

__all__ = ["Portal"]

T = TypeVar("T")


class Portal:
    """Starts its thread with the first coroutine. After a fork the child begins with a fresh one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Spawned[T]:
        """Run a coroutine on the portal's loop; answers its future."""
        return Spawned(self._running(), coroutine)

    @property
    def running(self) -> bool:
        """Whether the loop has been started in this process."""
        return self._loop is not None and self._pid == os.getpid()

    def _running(self) -> asyncio.AbstractEventLoop:
        import asyncio

        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="mixkit-portal", daemon=True
                )
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Stop the loop and its thread, cancelling what still runs on it."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        import asyncio

        async def cancel_all() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await loop.shutdown_asyncgens()

        asyncio.run_coroutine_threadsafe(cancel_all(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()
