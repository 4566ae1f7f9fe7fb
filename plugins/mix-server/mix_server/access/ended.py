"""Sessions and tokens of this server that were ended before their time, the same in all processes of a directory.

`WORKSPACES/.sessions/ended.json` has the ids of sessions that somebody signed out of, and since when a user is signed
out everywhere, each until what it ends would have ended by itself. It is written as a whole, under a lock, and looked
at with each request that has something of the kind: nothing is sent to other processes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from mix_server.caller import Caller
from mixkit.errors import StorageError
from mixkit.whole_file import whole_file

__all__ = ["Ended"]

_log = logging.getLogger("mixkit.server")

_FOLDER: Final = ".sessions"
_FILE: Final = "ended.json"


class _Written(msgspec.Struct):
    """What is in the file: until when each session is in there, and each user, with the moment of the sign-out."""

    sessions: dict[str, float] = {}
    users: dict[str, tuple[float, float]] = {}


class Ended:
    """What was ended. Thread-safe.

    Args:
        home: directory of the workspaces.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / _FOLDER
        self._path = str(self._folder / _FILE)
        self._seen: tuple[object, _Written] = (None, _Written())

    def has(self, caller: Caller) -> bool:
        """Whether what says who that is was ended: a microsecond or two as long as nothing was.

        Raises:
            StorageError: it cannot be read; nobody is let in by a guess.
        """
        if caller.began is None:
            return False
        written = self._read()
        if caller.session is not None and caller.session in written.sessions:
            return True
        since = written.users.get(caller.user or "")
        return since is not None and caller.began <= since[0]

    def end(self, session: str, seconds: float) -> None:
        """End a session, and what was made in it; on the disk when this returns.

        Args:
            seconds: after which it would have ended by itself.
        """
        until = time.time() + seconds
        self._write(lambda written: written.sessions.update({session: until}))

    def end_all(self, user: str, seconds: float) -> None:
        """End all sessions and tokens that this server has made for a user by now; as `end`."""
        now = time.time()
        self._write(lambda written: written.users.update({user: (now, now + seconds)}))
        _log.info("%r is signed out everywhere", user)

    def _write(self, change: Callable[[_Written], None]) -> None:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                written = self._decoded()
                now = time.time()
                written.sessions = {key: until for key, until in written.sessions.items() if until > now}
                written.users = {key: pair for key, pair in written.users.items() if pair[1] > now}
                change(written)
                with whole_file(Path(self._path), private=True) as file:
                    file.write(msgspec.json.encode(written))
            finally:
                os.close(lock)
        except OSError as exc:
            raise StorageError(f"cannot write {self._path!r}: {exc.strerror}") from None

    def _read(self) -> _Written:
        mark = self._mark()
        if mark != self._seen[0]:
            # Read behind the look: what is written in between is seen at the next one.
            self._seen = mark, self._decoded()
        return self._seen[1]

    def _mark(self) -> object:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - with each request
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise StorageError(f"cannot read {self._path!r}: {exc.strerror}") from None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _decoded(self) -> _Written:
        try:
            return msgspec.json.decode(Path(self._path).read_bytes(), type=_Written)
        except FileNotFoundError:
            return _Written()
        except (OSError, msgspec.MsgspecError) as exc:
            raise StorageError(f"{self._path!r} is not as it is written, or cannot be read: {exc}") from None
