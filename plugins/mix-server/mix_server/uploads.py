"""Files that are sent in parts, over as many requests as it takes: what has come of each is kept on disk.

    <ws_dir>/.uploads/
      ID.json     what is known of it, replaced as a whole
      ID.bytes    the bytes that have come, in their order; locked while a request appends to it

Bytes are acknowledged when they are on disk, so no one that was acknowledged is lost with the process. When all have
come they become the file of the app, at once and as a whole, with the upload's id in its metadata: whoever asks after a
crash in between sees by that whether it was done. Everything here blocks as the disk does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from mix_server.errors import Overloaded, Refusal
from mixkit.errors import NotFound
from mixkit.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mixkit.storage import Place

__all__ = ["LIFETIME", "MARK", "Locked", "Part", "Started", "Uploads"]

LIFETIME: Final = 86_400.0
"""Seconds that an upload is there after it began."""
MARK: Final = "mixkit-upload"
"""Metadata of a file: the upload that it came by."""

_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_MOST: Final = 1_000
"""Uploads of all apps together that have begun and not ended; and of those that are files by now."""
_READ: Final = 1 << 20
_SHARE: Final = 4
"""A workspace may have so great a part of what all may have: none keeps the others from theirs."""


class Locked(Refusal):
    """Another request appends to the upload."""

    status = 423

    def __init__(self) -> None:
        super().__init__("another request is sending a part of this upload; wait until it has ended")


class NoRoom(Refusal):
    """Those that have begun may become as long as all may be together."""

    status = 507

    def __init__(self, most: int, whose: str) -> None:
        super().__init__(
            f"the uploads that have begun {whose} may have {most} bytes together, by settings.server.uploads_limit; "
            "end one, or wait until one has passed"
        )


class Started(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is known of an upload.

    Attributes:
        workspace, app, home: the app, and its folder's name, which another app of that name does not have.
        path, length, content_type, force: of the file.
        sha256: what the file must have, in hex, if that was said.
        expires: Unix second.
        done: whether the file is there.
    """

    id: str
    workspace: str
    app: str
    home: str
    path: str
    length: int
    content_type: str
    force: bool
    sha256: str | None
    expires: float
    done: bool = False


class Counted(NamedTuple):
    """How many uploads have begun and not ended, and how many bytes they may have."""

    number: int = 0
    promised: int = 0


class Part:
    """The bytes of an upload, locked."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def size(self) -> int:
        """How many have come."""
        return os.fstat(self._number).st_size

    def append(self, data: bytes) -> None:
        """Write bytes behind the others."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._number, rest) :]

    def read(self, start: int, most: int) -> bytes:
        """Bytes from a place on."""
        return os.pread(self._number, most, start)

    def flush(self) -> None:
        """Have them on disk."""
        os.fdatasync(self._number)

    def sha256(self) -> str:
        """Of all that have come, in hex."""
        digest = hashlib.sha256()
        start = 0
        while data := self.read(start, _READ):
            digest.update(data)
            start += len(data)
        return digest.hexdigest()


class Uploads:
    """All uploads of a server, shared by its workers.

    Args:
        folder: made when it is needed.
        most: bytes that those which have not ended may have together.
        largest: bytes of a file.
    """

    def __init__(self, folder: Path, most: int, largest: int) -> None:
        self._folder = folder
        self._most = most
        # One of the largest has to fit in.
        self._each = min(most, max(most // _SHARE, largest))

    def begin(
        self,
        place: Place,
        path: str,
        length: int,
        content_type: str,
        *,
        force: bool,
        sha256: str | None = None,
    ) -> Started:
        """One more.

        Raises:
            Overloaded, NoRoom: there are too many, or too long ones.
        """
        self._folder.mkdir(exist_ok=True, mode=0o700)
        begun = self._sweep()
        own = begun.get(place.workspace, Counted())
        if own.number >= _MOST // _SHARE:
            raise Overloaded(f"{_MOST // _SHARE} uploads of this workspace have begun and not ended")
        if sum(each.number for each in begun.values()) >= _MOST:
            raise Overloaded(f"{_MOST} uploads have begun and not ended")
        if own.promised + length > self._each:
            raise NoRoom(self._each, "in this workspace")
        if sum(each.promised for each in begun.values()) + length > self._most:
            raise NoRoom(self._most, "anywhere")
        started = Started(
            id=secrets.token_hex(16), workspace=place.workspace, app=place.app, home=place.home.parent.name, path=path,
            length=length, content_type=content_type, force=force, sha256=sha256, expires=time.time() + LIFETIME,
        )  # fmt: skip
        self._part(started.id).touch(mode=0o600, exist_ok=False)
        self._keep(started)
        return started

    def find(self, place: Place, id: str) -> Started:
        """An upload of an app. `NotFound` if there is none, or its time is over."""
        if not _ID.fullmatch(id):
            raise NotFound("no such upload")
        try:
            found = msgspec.json.decode(self._about(id).read_bytes(), type=Started)
        except (FileNotFoundError, msgspec.MsgspecError):
            raise NotFound("no such upload") from None
        whose = (found.workspace, found.app, found.home)
        if whose != (place.workspace, place.app, place.home.parent.name) or found.expires <= time.time():
            raise NotFound("no such upload")
        return found

    def size(self, started: Started) -> int:
        """How many bytes have come."""
        if started.done:
            return started.length
        try:
            return self._part(started.id).stat().st_size
        except FileNotFoundError:
            return started.length

    @contextmanager
    def locked(self, started: Started) -> Iterator[Part]:
        """Its bytes, for one request alone.

        Raises:
            Locked: another one has them.
            NotFound: it was ended.
        """
        try:
            number = os.open(self._part(started.id), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound("no such upload") from None
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Part(number)
        except BlockingIOError:
            raise Locked from None
        finally:
            os.close(number)

    def finish(self, started: Started) -> None:
        """The file is there; the bytes are needed no more."""
        started.done = True
        self._keep(started)
        self._part(started.id).unlink(missing_ok=True)

    def end(self, id: str) -> None:
        """Forget it."""
        self._about(id).unlink(missing_ok=True)
        self._part(id).unlink(missing_ok=True)

    def _keep(self, started: Started) -> None:
        with whole_file(self._about(started.id), private=True) as file:
            file.write(msgspec.json.encode(started))

    def _sweep(self) -> dict[str, Counted]:
        """End those whose time is over, and forget the oldest of many that have become files; those that are left, by
        workspace."""
        left: dict[str, Counted] = {}
        ended: dict[str, list[tuple[float, str]]] = {}
        now = time.time()
        for path in self._folder.glob("*.json"):
            with suppress(FileNotFoundError, msgspec.MsgspecError):
                found = msgspec.json.decode(path.read_bytes(), type=Started)
                if found.expires <= now:
                    self.end(found.id)
                elif found.done:
                    ended.setdefault(found.workspace, []).append((found.expires, found.id))
                else:
                    number, promised = left.get(found.workspace, Counted())
                    left[found.workspace] = Counted(number + 1, promised + found.length)
        for known in ended.values():
            # Each begin reads all that there are.
            for _, id in sorted(known)[: -(_MOST // _SHARE)]:
                self.end(id)
        for path in self._folder.glob("*.bytes"):
            # Of a process that was killed when it began or ended one.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime + LIFETIME <= now and not self._about(path.stem).exists():
                    path.unlink()
        return left

    def _about(self, id: str) -> Path:
        return self._folder / f"{id}.json"

    def _part(self, id: str) -> Path:
        return self._folder / f"{id}.bytes"
