"""Modules that are imported when they are first needed, without holding up an event loop."""

from __future__ import annotations

import importlib
import sys

__all__ = ["imported"]


async def imported(name: str) -> None:
    """Import a module in a thread, unless it has been: a client library takes some tenths of a second.

    To be awaited by an async FFI before the `import` that stands inside of it.
    """
    found = sys.modules.get(name)
    # One that another thread is about to import is there already, and whoever imports it waits.
    if found is None or getattr(found.__spec__, "_initializing", False):
        import asyncio

        await asyncio.to_thread(importlib.import_module, name)
