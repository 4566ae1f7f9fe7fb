"""What a query holds at once: all that stages keep which must see every row before they have the first one."""

from __future__ import annotations

from typing import Any

from mix_db.query.weight import weigh
from mixkit.errors import QueryTooLarge

__all__ = ["Memory"]


class Memory:
    """Counts what one query holds.

    Args:
        most: bytes, about; None for any number.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._held = 0

    def hold(self, value: Any) -> int:
        """Count a value that is kept from now on; answers its size.

        Raises:
            QueryTooLarge: it is one too many, and not counted.
        """
        if self._most is None:
            return 0
        size = weigh(value, self._most)
        if self._held + size > self._most:
            raise QueryTooLarge(self._most)
        self._held += size
        return size

    def free(self, size: int) -> None:
        """So much of it is kept no more."""
        self._held -= size
