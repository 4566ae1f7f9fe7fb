"""What a request fails with."""

from __future__ import annotations

__all__ = ["Failure"]


class Failure(Exception):
    """A request that cannot be answered.

    Attributes:
        code: of the protocol.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
