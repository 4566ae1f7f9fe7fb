"""Logging of a process that the command line starts: lines for people, or JSON, on stderr."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mixkit.cli.output import safe
from mixkit.errors import MAX_MESSAGE, printable, shortened

__all__ = [
    "FORMATS",
    "LEVELS",
    "JSONFormatter",
    "PlainFormatter",
    "PrettyFormatter",
    "configure",
    "show_guests",
]

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("pretty", "json")

CONTEXT = ("request_id", "run_id", "guest")
"""Attributes that a record may carry (`extra=`), in the order in which they are shown."""

_GUESTS = "mix-vm"
"""Where the output of guests goes: `mixkit.state.guest_log`, which `--help` need not import."""

_LIKE_OURS = re.compile(r"\s*(mixkit:|[0-9]{2}:[0-9]{2}:[0-9]{2}|\|)")


_MAX_CONTEXT = 256
"""Characters of an id."""


class _Formatter(logging.Formatter):
    """What is logged may quote a stranger: messages have at most `MAX_MESSAGE` characters, and so have tracebacks."""

    def message(self, record: logging.LogRecord) -> str:
        return shortened(record.getMessage(), MAX_MESSAGE)

    def context(self, record: logging.LogRecord) -> dict[str, str]:
        """What there is of `CONTEXT`."""
        return {
            name: shortened(str(found), _MAX_CONTEXT)
            for name in CONTEXT
            if (found := getattr(record, name, None))
        }

    def formatException(self, ei: Any) -> str:
        text = super().formatException(ei)
        if len(text) <= MAX_MESSAGE:
            return text
        # Where it began and what it was: the end has the error itself, the beginning of a long one tells most.
        half = MAX_MESSAGE // 2
        return f"{text[:half]}\n… ({len(text) - 2 * half} characters left out)\n{text[-half:]}"


class JSONFormatter(_Formatter):
    """An object a line: time (RFC 3339, UTC), level, logger, message, what there is of `CONTEXT`, and an activity."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
        }
        line |= self.context(record)
        if activity := getattr(record, "activity", None):
            line["activity"] = activity
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class PrettyFormatter(_Formatter):
    """Time, level, logger, message and the ids that there are; control characters as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        ids = [f"{name}={id}" for name, id in self.context(record).items()]
        clock = _timestamp(record.created)[11:23]
        text = f"{clock} {record.levelname.lower():7} {record.name}: {self.message(record)}"
        line = printable(f"{text} [{' '.join(ids)}]" if ids else text)
        return f"{line}\n{safe(self.formatException(record.exc_info))}" if record.exc_info else line


class PlainFormatter(logging.Formatter):
    """What a guest wrote and nothing else, except before what would look like a line of ours."""

    def format(self, record: logging.LogRecord) -> str:
        line = printable(record.getMessage())
        return f"| {line}" if _LIKE_OURS.match(line) else line


class _Lines(logging.StreamHandler[Any]):
    """To stderr, where on a terminal the line of a progress that is shown gives way."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.stream.isatty():
            self.stream.write("\r\x1b[2K")
        super().emit(record)


@contextmanager
def show_guests(level: str, format: str) -> Iterator[None]:
    """Within it, what guests write is shown from a level on: line by line as it is, or with format "json" like all
    else."""
    guests = logging.getLogger(_GUESTS)
    before = guests.level, guests.propagate
    handler = _Lines(sys.stderr)
    handler.setFormatter(PlainFormatter())
    guests.setLevel(level.upper())
    if format != "json":
        guests.addHandler(handler)
        guests.propagate = False
    try:
        yield
    finally:
        guests.removeHandler(handler)
        guests.setLevel(before[0])
        guests.propagate = before[1]


def configure(level: str, format: str) -> None:
    """Send the records of all loggers to stderr. Calling it again replaces what the call before did.

    Args:
        level: one of `LEVELS`; everything below is dropped.
        format: one of `FORMATS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if format == "json" else PrettyFormatter())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, JSONFormatter | PrettyFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((seconds - whole) * 1000):03d}Z"
