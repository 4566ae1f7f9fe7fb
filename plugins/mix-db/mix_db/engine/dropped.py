"""Databases that nobody refers to any more, and that were not closed: a thread of the process closes them.

Python notices that at any moment, in the middle of whatever a thread does and with whatever locks it holds. Closing
takes locks and may wait for a disk, so there and then it is only put in line.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

__all__ = ["dropped"]

_log = logging.getLogger("mixkit.db")


class Dropped:
    """The line, and the daemon thread that works it off."""

    def __init__(self) -> None:
        # Its `put` is the one that may be called where Python clears up.
        self._line: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._mutex = threading.Lock()
        self._running = False

    def start(self) -> None:
        """Make ready. Not left to `close`, because there no thread can be started."""
        if self._running:
            return
        with self._mutex:
            if not self._running:
                threading.Thread(target=self._run, name="mix-db-dropped", daemon=True).start()
                self._running = True

    def close(self, close: Callable[[], None]) -> None:
        """Call it soon, in another thread."""
        self._line.put(close)

    def renew(self) -> None:
        """In a forked child: the thread is not here, and what stands in line is closed by the parent."""
        self.__init__()  # type: ignore[misc]

    def _run(self) -> None:
        while True:
            close = self._line.get()
            try:
                close()
            except Exception:
                _log.exception("a database that was dropped could not be closed")
            # It must not be kept until the next one comes.
            del close


dropped: Final = Dropped()
os.register_at_fork(after_in_child=dropped.renew)
