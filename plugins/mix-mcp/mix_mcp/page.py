"""Lists in pages. A cursor is the name behind which a page begins, so that one stays good while others come and go."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

from mix_mcp.message import INVALID_PARAMS, Fault

__all__ = ["PAGE", "page_of"]

PAGE: Final = 1_000
"""Most items of a page."""


def page_of(key: str, items: Sequence[tuple[str, Any]], cursor: Any) -> dict[str, Any]:
    """The page of a list that a cursor asks for, under its key.

    Args:
        items: names, sorted, and what is listed of them.
        cursor: as the page before had it; None for the first.

    Raises:
        Fault: it is no cursor.
    """
    start = 0 if cursor is None else _behind(items, cursor)
    page: dict[str, Any] = {key: [item for _, item in items[start : start + PAGE]]}
    if start + PAGE < len(items):
        last = items[start + PAGE - 1][0]
        page["nextCursor"] = base64.urlsafe_b64encode(last.encode()).decode()
    return page


def _behind(items: Sequence[tuple[str, Any]], cursor: Any) -> int:
    try:
        name = base64.b64decode(cursor, b"-_", validate=True).decode()
    except (TypeError, ValueError, binascii.Error):
        raise Fault(INVALID_PARAMS, "expected cursor as a page of the list had it in nextCursor") from None
    return next((i for i, (other, _) in enumerate(items) if other > name), len(items))
