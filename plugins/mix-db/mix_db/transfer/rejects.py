"""The file of refused records: nothing that an import could not read is lost.

NDJSON, an object for each: `source`, `place` and `unit` say where it stood, `reason` why it was refused, `text` is what
stood there, or `base64` where that is no UTF-8. `jq -r .text` makes the lines of it again.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import IO, Any

import msgspec

from mix_db.transfer.errors import TransferError
from mixkit.errors import printable

__all__ = ["Rejects"]


class Rejects:
    """The file, made when there is something to put into it.

    Args:
        size: what an import that is resumed had written; what was written behind it is cut off, since those
            records are read again. None begins a new file.
        replace: a file that is there may be overwritten.

    Raises:
        TransferError: it is there already, or not what was left behind.
    """

    def __init__(self, path: Path, *, size: int | None = None, replace: bool = False) -> None:
        self.path = path
        self.count = 0
        self._file: IO[bytes] | None = None
        self.size = size or 0
        found = path.stat().st_size if path.exists() else 0
        name = printable(str(path))
        if size is None and found and not replace:
            raise TransferError(
                f"{name}: there are refused records in it already; move it away, or name another with --rejects"
            )
        if found < self.size:
            raise TransferError(
                f"{name}: expected the {self.size} bytes of refused records that the import had written so far, "
                f"found {found}; name their file with --rejects, or begin again with --restart"
            )
        if found > self.size:
            os.truncate(path, self.size)

    def add(self, source: str, place: int, unit: str, raw: bytes, reason: str) -> None:
        """Add one. It is on the disk after `sync`."""
        line: dict[str, Any] = {"source": source, "place": place, "unit": unit, "reason": reason}
        try:
            line["text"] = raw.decode()
        except UnicodeDecodeError:
            line["base64"] = base64.b64encode(raw).decode()
        if self._file is None:
            self._file = self.path.open("ab")
        data = msgspec.json.encode(line) + b"\n"
        self._file.write(data)
        self.size += len(data)
        self.count += 1

    def sync(self) -> None:
        """Let all of it be on the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None
