"""The standard streams of a process that was started with some of them closed, as by `mixkit … >&-`."""

from __future__ import annotations

import os
import sys

__all__ = ["open_closed"]

_HOW = ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY))
"""How each is opened: what is read is empty, what is said is lost, but a result that cannot be written is an error."""


def open_closed() -> None:
    """Open the streams that are closed, on nothing.

    The next file that is opened would get the number of one, and with it what is printed: a database, say. Python
    itself has None in the place of such a stream.
    """
    for fd, flags in _HOW:
        try:
            os.fstat(fd)
        except OSError:
            # The lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it is a number
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
