"""A zip that is written in one go, entry by entry, into whatever takes the bytes: memory holds a piece of it."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from types import TracebackType
from typing import IO, Final, Self

from mixkit.errors import PackageError
from mixkit.moving.layout import MOST_ENTRIES, SUMS, sums_of
from mixkit.package.zip_headers import check_path

__all__ = ["ZipOut"]

_WIDE: Final = 1 << 30
"""Bytes of an entry from which on its sizes may need the form of zip64."""

_LEVEL: Final = 1
"""Quickest: what is gained above it is a tenth of the size, for three times the time."""


class _Pieces:
    """A file that cannot be sought: what is written waits until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        found, self._pieces = b"".join(self._pieces), []
        return found


class ZipOut:
    """The writer. Entries come one after the other, each with `begin`, any number of `write`, and `end`; `finish`
    writes the sums and the directory. `taken` gives what is there to be sent on."""

    def __init__(self) -> None:
        self._sink = _Pieces()
        self._zip = zipfile.ZipFile(self._sink, "w", compresslevel=_LEVEL)  # type: ignore[call-overload]
        self._entry: IO[bytes] | None = None
        self._name = ""
        self._digest = hashlib.sha256()
        self.digests: dict[str, str] = {}

    def begin(self, name: str, *, packed: bool = True, size: int = 0) -> None:
        """Begin an entry.

        Args:
            packed: it is to be deflated.
            size: about how many bytes it has, where they may be more than a gigabyte.

        Raises:
            PackageError: there are too many.
        """
        if len(self.digests) >= MOST_ENTRIES:
            raise PackageError(
                f"an export has at most {MOST_ENTRIES} entries, and there are more files than that; export the apps "
                "one by one",
                name,
            )
        self._zip.compression = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        self._entry = self._zip.open(check_path(name), "w", force_zip64=size > _WIDE)
        self._name, self._digest = name, hashlib.sha256()

    def write(self, data: bytes) -> None:
        """The next bytes of the entry."""
        assert self._entry is not None
        self._digest.update(data)
        self._entry.write(data)

    def end(self) -> None:
        """The entry is whole."""
        assert self._entry is not None
        self._entry.close()
        self._entry = None
        self.digests[self._name] = self._digest.hexdigest()

    def add(self, name: str, data: bytes) -> None:
        """A whole entry."""
        self.begin(name)
        self.write(data)
        self.end()

    def finish(self) -> bytes:
        """The last bytes of the file."""
        self.add(SUMS, sums_of(self.digests))
        self._zip.close()
        return self.taken()

    def taken(self) -> bytes:
        """What has been written and not taken."""
        return self._sink.taken()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was left in the middle is never taken, so that nobody has a directory of it.
        with contextlib.suppress(RuntimeError):
            if self._entry is not None:
                self._entry.close()
        self._zip.close()
