"""The right to write: one holder at a time among the threads of all processes.

flock(2) on a file of its own, opened anew each time: the kernel gives it back when the holder dies, however it
dies, and two threads of a process exclude each other as two processes do.
"""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
from typing import Final

from mix_db.files.errors import LockTimeout

__all__ = ["Hold"]

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_LONGEST_SLEEP: Final = 0.004

_held: set[int] = set()
_guard = threading.Lock()


class Hold:
    """The lock of that name in the folder with the descriptor `directory`, for the time of a `with`. Part of every
    commit, where a generator takes its time.

    Raises:
        LockTimeout: somebody else held it for `timeout` seconds.
    """

    __slots__ = ("_descriptor", "_directory", "_name", "_timeout")

    def __init__(self, directory: int, timeout: float, name: str) -> None:
        self._directory = directory
        self._timeout = timeout
        self._name = name
        self._descriptor = -1

    def __enter__(self) -> None:
        with _guard:
            self._descriptor = os.open(self._name, _FLAGS, 0o600, dir_fd=self._directory)
            _held.add(self._descriptor)
        try:
            _take(self._descriptor, self._timeout, self._name)
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            # Closing alone would not do while a child between fork and exec has the descriptor too.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._close()

    def _close(self) -> None:
        with _guard:
            _held.discard(self._descriptor)
            os.close(self._descriptor)


def _take(descriptor: int, timeout: float, name: str) -> None:
    deadline: float | None = None
    sleep = 0.0002
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            deadline = deadline if deadline is not None else time.monotonic() + timeout
            if time.monotonic() >= deadline:
                raise LockTimeout(timeout, name) from None
        # A blocking flock has no timeout. Random, so that waiting processes do not keep step.
        time.sleep(sleep * random.uniform(0.5, 1.5))
        sleep = min(2 * sleep, _LONGEST_SLEEP)


def _forget() -> None:
    """In a forked child: a lock of the parent must not live on in it when the parent is killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget)
