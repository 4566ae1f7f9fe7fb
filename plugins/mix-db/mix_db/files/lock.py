"""The right to write: one holder at a time among the threads of all processes.

flock(2) on a file of its own, opened anew each time: the kernel gives it back when the holder dies, however it
dies, and two threads of a process exclude each other as two processes do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Final

from mix_db.files.errors import LockTimeout

__all__ = ["hold"]

_LONGEST_SLEEP: Final = 0.004

_held: set[int] = set()
_guard = threading.Lock()


@contextlib.contextmanager
def hold(directory: int, timeout: float, name: str) -> Iterator[None]:
    """Hold the lock of that name in the folder with the descriptor `directory` for the time of a `with`.

    Raises:
        LockTimeout: somebody else held it for `timeout` seconds.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with _guard:
        descriptor = os.open(name, flags, 0o600, dir_fd=directory)
        _held.add(descriptor)
    try:
        _take(descriptor, timeout, name)
        try:
            yield
        finally:
            # Closing alone would not do while a child between fork and exec has the descriptor too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        with _guard:
            _held.discard(descriptor)
            os.close(descriptor)


def _take(descriptor: int, timeout: float, name: str) -> None:
    deadline = time.monotonic() + timeout
    sleep = 0.0002
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
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
