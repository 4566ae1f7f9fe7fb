"""How large an answer may become."""

from __future__ import annotations

from mix_server.errors import BadRequest

__all__ = ["Size"]


class Size:
    """Counts the bytes of an answer; raises `BadRequest` with a remedy when there are more than the limit."""

    def __init__(self, limit: int, remedy: str) -> None:
        self.limit = limit
        self._left = limit
        self._remedy = remedy

    def add(self, part: bytes) -> bytes:
        """Count a part, and answer it."""
        self._left -= len(part)
        if self._left < 0:
            raise BadRequest(
                f"the answer is larger than the {self.limit} bytes that are made whole here; {self._remedy}"
            )
        return part
