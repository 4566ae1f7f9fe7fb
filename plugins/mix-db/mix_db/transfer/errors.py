"""What can go wrong with a file that records are read from or written to."""

from __future__ import annotations

from mixkit.errors import MixError

__all__ = ["BadItem", "TransferError"]


class TransferError(MixError):
    """A file cannot be read or written; the message names the file, the place in it, and what to do."""

    code = "transfer"


class BadItem(MixError, ValueError):
    """One record of a file is refused, and those after it may be fine. The message has the reason alone."""

    code = "transfer_item"
