"""Calls that keep others waiting are named in the log, each at most once a minute: a busy machine is slow in all."""

from __future__ import annotations

import logging
import time

__all__ = ["SLOW", "tell"]

_log = logging.getLogger("mixkit.vm")
SLOW = 0.1
"""Seconds on the event loop after which a call is named."""
_MINUTE = 60.0
_told: dict[str, float] = {}


def tell(name: str, seconds: float, what: str) -> None:
    """Say of a call by that name that it took so long, and what is wrong with that."""
    now = time.monotonic()
    if now >= _told.get(name, 0.0):
        _told[name] = now + _MINUTE
        _log.warning("%s %s: %.0f ms", name, what, seconds * 1000)
