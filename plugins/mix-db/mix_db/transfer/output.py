"""A file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mix_db.transfer.errors import TransferError
from mixkit.errors import printable
from mixkit.whole_file import whole_file

__all__ = ["new_file"]


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its place when the block ends well; what is named `.gz` is packed.

    Raises:
        TransferError: it cannot be written there.
    """
    try:
        with whole_file(path) as file:
            # No time and no name, so that the same records make the same file.
            packed: Any = gzip.GzipFile("", "wb", 6, file, mtime=0) if path.suffix == ".gz" else None
            yield packed or file
            if packed is not None:
                packed.close()
    except OSError as exc:
        raise TransferError(f"{printable(str(path))}: cannot be written: {exc.strerror or exc}") from None
