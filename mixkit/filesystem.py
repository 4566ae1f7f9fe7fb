"""What must hold an app's files, wherever and however it keeps them.

A file has a path (`mixkit.paths`), bytes, a content type, and metadata, which is texts by name. It is replaced as a
whole: whoever reads sees one version from its beginning to its end, and no path ever has a part of a file. Each
version has an ETag of its own.

Cancellation. Each method says what is true when the task that awaits it is cancelled. "All or nothing" means: it has
been done wholly or not at all, now or a moment later, and holds nothing open. What had been answered before stays.

Objects are used by the tasks of any event loop, and by several at once; a reading or an upload by one at a time. They
survive a fork if nothing has been asked of them before. `mixkit.testing.filesystem_suite` has the suite that each
file system must pass.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from mixkit.storage import Place

__all__ = [
    "ABSENT",
    "MAX_METADATA",
    "MAX_NAMES",
    "PIECE",
    "FileInfo",
    "FileSystem",
    "Files",
    "Page",
    "Reading",
    "Upload",
    "Usage",
    "pieces",
]

ABSENT: Final = ""
"""As `only_if`: there must be no file of that path."""

PIECE: Final = 1 << 20
"""Bytes that `Reading.read` answers at most."""

MAX_METADATA: Final = 2_048
"""Bytes of a file's metadata: names and texts together, as UTF-8."""

MAX_NAMES: Final = 64
"""Names of a file's metadata."""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a file without its bytes.

    Attributes:
        path: as it was given.
        size: in bytes.
        etag: of this version; printable ASCII without quotation marks. No other version of that path ever had it.
        modified: when it was stored, in Unix milliseconds.
        content_type: as it was given, without parameters checked. None in a list.
        sha256: of the bytes, in hex. None in a list.
        metadata: as it was given. None in a list.
    """

    path: str
    size: int
    etag: str
    modified: int
    content_type: str | None = None
    sha256: str | None = None
    metadata: Mapping[str, str] | None = None


class Page(msgspec.Struct, frozen=True):
    """A part of a list, in order of the paths, code point by code point. `after` is where the next begins, None behind
    the last."""

    files: Sequence[FileInfo]
    after: str | None


class Usage(msgspec.Struct, frozen=True):
    """What the files of an app take, and what they may: None is unbounded."""

    files: int
    bytes: int
    max_files: int | None = None
    max_bytes: int | None = None


class Reading(Protocol):
    """A file, or a part of it, that is being read. All of it is of the version that `info` tells.

    To be closed; the end of a file, an error and a cancelled `read` do not close it.
    """

    @property
    def info(self) -> FileInfo: ...

    @property
    def start(self) -> int:
        """Where the part begins, in bytes from the beginning of the file."""
        ...

    @property
    def stop(self) -> int:
        """Where it ends; at most the file's size."""
        ...

    async def read(self, most: int = PIECE) -> bytes:
        """The next bytes: at least one, at most `most` and at most `PIECE`; none at the end.

        Cancelled: the reading is of no use any more but to be closed.

        Raises:
            FileError: they cannot be read.
        """
        ...

    async def close(self) -> None:
        """Free what it holds. Idempotent. Cancelled: it is freed."""
        ...


class Upload(Protocol):
    """A file that is being written: nobody sees it before `commit` has answered, or is about to. To be ended by
    `commit` or `abort`; one whose process is killed is forgotten, and what it took is freed later."""

    async def write(self, data: bytes) -> None:
        """Write bytes behind those written before; when it answers, the caller may write the next.

        Cancelled, or failed: the upload can only be aborted.

        Raises:
            FilesFull: the app may not have as much.
            FileError: they cannot be written, or the upload has ended.
        """
        ...

    async def commit(self) -> FileInfo:
        """Make it the file of its path, at once and for good: it survives the loss of the machine's power, as far as
        the store promises it. The upload has ended then, whatever is raised.

        Cancelled: all or nothing.

        Raises:
            FileConflict, FilesFull, FileError: as `Files.put`.
        """
        ...

    async def abort(self) -> None:
        """Forget it; nothing if it has ended. Idempotent. Cancelled: it is forgotten."""
        ...


class Files(Protocol):
    """The files of one app. Made by `FileSystem.open`; cheap, and holds nothing open.

    Paths are checked by `mixkit.paths.check_path` before anything else: each method raises `PathError` for others.
    Each raises `NotFound` if the app was deleted, and `FileError` if the store fails or cannot be reached.

    `only_if` is a condition on the file of the path that is read or written: an ETag that it must have, or `ABSENT`. It
    is judged in the moment in which the thing is done: of any who make the same change under the same condition,
    in any processes, exactly one succeeds. None is no condition.
    """

    async def stat(self, path: str) -> FileInfo:
        """What is known of a file.

        Cancelled: nothing has happened.

        Raises:
            NotFound: there is none.
        """
        ...

    async def read(
        self, path: str, *, start: int = 0, stop: int | None = None, only_if: str | None = None
    ) -> Reading:
        """Begin to read a file from the byte `start` to before the byte `stop`, or its end, whichever comes first.

        A `start` at or behind the end gives nothing to read; whoever finds that wrong looks at `info.size`.

        Cancelled: nothing is held open.

        Raises:
            NotFound: there is none.
            FileConflict: it has another ETag than `only_if`.
            FileError: `start` is negative, or `stop` before it.
        """
        ...

    async def put(
        self,
        path: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        """Store a file, in place of one that has the path. When it answers, the file is there for good: see
        `Upload.commit`.

        Cancelled: all or nothing.

        Raises:
            FileConflict: what is there is not as `only_if` says.
            FilesFull: the app may not have as much.
            FileError: the content type or the metadata is refused (`mixkit.file_fields.check_fields`).
        """
        ...

    async def begin(
        self,
        path: str,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> Upload:
        """Begin to store a file whose bytes come in pieces. The condition is judged at the end, and may be judged at
        the beginning too.

        Cancelled: nothing has happened.

        Raises: as `put`.
        """
        ...

    async def list(self, folder: str = "/", *, after: str | None = None, most: int = 1_000) -> Page:
        """The files in a folder and all folders in it, in order of their paths, from the first behind `after` on.

        A folder that has none is empty. Files that are stored, deleted or renamed meanwhile may be there or not; all
        others are there once.

        Cancelled: nothing has happened.

        Args:
            after: any path; `Page.after` of the page before.
            most: files of a page, from 1 on; a page may have fewer, and even none, and still not be the last.
        """
        ...

    async def delete(self, path: str, *, only_if: str | None = None) -> None:
        """Delete a file, for good when it answers.

        Cancelled: all or nothing.

        Raises:
            NotFound: there is none.
            FileConflict: it has another ETag than `only_if`.
        """
        ...

    async def rename(self, source: str, target: str, *, only_if: str | None = None) -> FileInfo:
        """Give a file another path, in place of one that has it. `only_if` is about the target.

        Cancelled, or killed: all or nothing where the store can rename; elsewhere it may be at both paths. It is
        never at none.

        Raises:
            NotFound: there is no source.
            FileConflict: the target is not as `only_if` says.
            FileError: both are the same.
        """
        ...

    async def copy(
        self,
        source: str,
        target: str,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        only_if: str | None = None,
    ) -> FileInfo:
        """Store the bytes of a file under another path too, with its content type and metadata unless others are given.
        `only_if` is about the target, which may be the source: that changes what is said of it.

        Cancelled: all or nothing.

        Raises: as `put`, and `NotFound` if there is no source.
        """
        ...

    async def usage(self) -> Usage:
        """What the files take. Cancelled: nothing has happened."""
        ...


@runtime_checkable
class FileSystem(Protocol):
    """A way to keep the files of apps. Made without arguments or from its plugin's settings; cheap until used: no
    connection and no thread before the first call of a `Files`, so that a process may fork after loading.

    Attributes:
        name: by which profiles name it.
        durable: whether files outlive the process.
        lifetime: seconds that files below `/ephemeral` are there. Whoever asks does the rest: `mixkit.app_files`.
    """

    name: str
    durable: bool
    lifetime: float

    def open(self, place: Place) -> Files:
        """The files of an app. Answers at once, and asks nothing of the store.

        An app that is made under the name of one that was deleted has another `place.home`, and none of its files.
        """
        ...

    def remove(self, place: Place) -> None:
        """Forget all files of an app that is being deleted. May block. Nothing happens if there are none, or if
        all that there is lies in `place.home`, which whoever calls removes. If it fails it can be done again.

        Raises:
            FileError: they could not be removed; the message says what to do.
        """
        ...


async def pieces(reading: Reading) -> AsyncIterator[bytes]:
    """All that is left to read, piece by piece; closes the reading at the end, and when it is left."""
    try:
        while data := await reading.read():
            yield data
    finally:
        await reading.close()
