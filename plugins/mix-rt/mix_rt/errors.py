"""Errors of MixRT and its code."""

from __future__ import annotations

from mixkit.errors import MixError

__all__ = ["QCodeError", "TooLarge"]


class QCodeError(MixError):
    """QCode that is broken, or that does not fit in its format.

    Attributes:
        offset: the byte of the container at fault, or None.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset})")
        self.offset = offset


class TooLarge(QCodeError):
    """Code that does not fit in the format: a jump too far, or more registers or constants than there are numbers.

    Attributes:
        function: the name of the function at fault.
    """

    def __init__(self, function: str, message: str) -> None:
        super().__init__(f"{function}: {message}")
        self.function = function
