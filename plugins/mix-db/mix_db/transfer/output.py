"""A file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mix_db.transfer.errors import TransferError
from mixkit.errors import printable
from mixkit.package.disk import sync

__all__ = ["new_file"]


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its place when the block ends well; what is named `.gz` is packed.

    Raises:
        TransferError: it cannot be written there.
    """
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        file = staged.open("xb")
    except OSError as exc:
        raise TransferError(f"{printable(str(path))}: cannot be written: {exc.strerror}") from None
    try:
        with file:
            # No time and no name, so that the same records make the same file.
            packed: Any = gzip.GzipFile("", "wb", 6, file, mtime=0) if path.suffix == ".gz" else None
            yield packed or file
            if packed is not None:
                packed.close()
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        sync(path.parent)
    except OSError as exc:
        staged.unlink(missing_ok=True)
        raise TransferError(f"{printable(str(path))}: cannot be written: {exc.strerror or exc}") from None
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
