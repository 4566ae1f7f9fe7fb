"""What code of others may raise: anything. Which of it is theirs, and which comes from whoever runs us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mixkit.errors import MixError

__all__ = ["foreign", "is_ours"]


@contextmanager
def foreign(error: Callable[[str], MixError]) -> Iterator[None]:
    """What a plugin's code raises within, whatever it is, comes out as a `MixError` that says whose it is.

    Errors of mixkit go on as they are, and so does what `is_ours`.

    Args:
        error: makes the error, from `"SystemExit: 0"`.
    """
    try:
        yield
    except MixError:
        raise
    except BaseException as exc:
        if is_ours(exc):
            raise
        raise error(f"{type(exc).__name__}: {exc}") from exc


def is_ours(exc: BaseException) -> bool:
    """Whether an exception out of a plugin's code is to go on upwards: Ctrl+C, or the cancellation of this task.

    Everything else is a failure of the plugin, `sys.exit` and a `CancelledError` of some task of its own too: it must
    cost the run, and neither the process nor the event loop.
    """
    if isinstance(exc, Exception):
        return False
    import asyncio
    import signal
    import threading

    if isinstance(exc, KeyboardInterrupt):
        # Servers handle SIGINT themselves, and Python interrupts no thread but the first.
        handled = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        return threading.current_thread() is threading.main_thread() and not handled
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    # A coroutine that is closed sees GeneratorExit, one whose task is cancelled CancelledError.
    if isinstance(exc, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    return isinstance(exc, GeneratorExit)
