"""What is imported when it is first needed: modules, without holding up an event loop; objects by an import string."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from mixkit.errors import MixError
from mixkit.outside import foreign, is_ours

__all__ = ["imported", "load_object"]


async def imported(name: str) -> None:
    """Import a module in a thread, unless it has been: a client library takes some tenths of a second.

    To be awaited by an async FFI before the `import` that stands inside of it.
    """
    found = sys.modules.get(name)
    # One that another thread is about to import is there already, and whoever imports it waits.
    if found is None or getattr(found.__spec__, "_initializing", False):
        import asyncio

        await asyncio.to_thread(importlib.import_module, name)


def load_object(path: str) -> Any:
    """The object that an import string `"package.module:Name"` names.

    Raises:
        MixError: malformed, not importable, or without that name.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise MixError(f'expected an import string "package.module:Name", found {path!r}')
    try:
        found = importlib.import_module(module)
    except BaseException as exc:
        if is_ours(exc):
            raise
        reason = str(exc) if isinstance(exc, ImportError) else f"{type(exc).__name__}: {exc}"
        raise MixError(f"cannot import {path!r}: {reason}") from exc
    try:
        with foreign(lambda reason: MixError(f"{path!r} cannot be had: {reason}")):
            return getattr(found, name)
    except MixError as exc:
        if isinstance(exc.__cause__, AttributeError):
            raise MixError(f"module {module!r} has no {name!r}") from None
        raise
