"""How far a long command is, on one line of a terminal's stderr."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import Self

from mixkit.errors import printable

__all__ = ["Progress"]

_EVERY = 0.1
_BAR = 20


class Progress:
    """A bar, or a count where nobody knows the end. Nothing is shown where stderr is no terminal.

    Args:
        what: is going on.
        total: bytes; None if nobody knows.
        counts: records are counted, and not bytes alone.
    """

    def __init__(
        self, what: str, total: int | None = None, *, quiet: bool = False, counts: bool = True
    ) -> None:
        self._counts = counts
        self._what = printable(what)
        self._total = total
        self._shown = not quiet and sys.stderr.isatty()
        self._started = time.monotonic()
        self._last = 0.0
        self._drawn = False

    def update(self, count: int, position: int = 0) -> None:
        """Show it, if it is time to.

        Args:
            count: records so far, in this run.
            position: bytes so far, of the total.
        """
        now = time.monotonic()
        if not self._shown or now - self._last < _EVERY:
            return
        self._last = now
        seconds = max(now - self._started, 1e-3)
        parts = [self._what]
        if self._total:
            share = min(position / self._total, 1.0)
            full = round(share * _BAR)
            parts += [f"[{'█' * full}{'░' * (_BAR - full)}] {share:4.0%}", _bytes(position)]
            if 0.0 < share < 1.0:
                parts.append(f"{_duration(seconds / share - seconds)} left")
        if self._counts:
            parts += [f"{count:,} records", f"{count / seconds:,.0f}/s"]
        elif not self._total:
            parts += [_bytes(position), f"{_bytes(int(position / seconds))}/s"]
        line = "  ".join(parts)[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write(f"\r\x1b[2K{line}")
        sys.stderr.flush()
        self._drawn = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
