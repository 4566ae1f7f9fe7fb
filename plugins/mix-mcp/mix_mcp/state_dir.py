"""Where the local server of a user and its clients meet: a folder that nobody else can enter.

    server.json     what runs; its server holds a lock on it, flock(2), which the kernel gives back when it ends
    starting        held by who starts a server, so that only one does
    socket          on which the server listens for the clients of this user
    server.log      what it has written

Who listens on the port may be anybody: a client asks at the socket alone, so that no stranger is sent a token or a
question, nor answers one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from mixkit.errors import MixError

__all__ = ["Running", "StateDir", "Wanted", "default_path"]

_MOST: Final = 1 << 20
"""Bytes of what runs."""
_LONGEST: Final = 103
"""Bytes of a path of a socket: those of `sun_path`, on macOS, without the last."""
_LOOKS: Final = 2.0
"""Seconds in which those who only look have let go of the lock."""
_PEER: Final = struct.Struct("3i")
"""`struct ucred`: process, user, group; unix(7)."""
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a server serves.

    Attributes:
        ws_dir: the workspaces, an absolute path.
        profile, sets: with which `-p` and `--set` it is started.
    """

    ws_dir: str
    profile: str
    sets: list[str]


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A server that runs.

    Attributes:
        pid: of its process.
        version: of mixkit.
        token: of its operator, for as long as it runs.
        url: on which it listens beside the socket.
        pages: its pages for people, by what they are.
        wanted: what it serves.
    """

    pid: int
    version: str
    token: str
    url: str
    pages: dict[str, str]
    wanted: Wanted


def default_path(port: int, platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the folder of the server of a port is."""
    if platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        home = environ.get("XDG_STATE_HOME", "")
        base = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    return base / "mixkit" / f"local-{port}"


class StateDir:
    """The folder.

    Args:
        path: where it is; made by `make`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "server.log"
        self._state = path / "server.json"
        self._socket = path / "socket"

    def make(self) -> None:
        """Have the folder.

        Raises:
            MixError: it is not this user's, others may enter it, or its path is too long.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise MixError(f"{self.path}: expected a folder, or a place for one: {exc.strerror}") from None
        self._check()
        if len(os.fsencode(self._socket)) > _LONGEST:
            raise MixError(
                f"{self._socket}: expected a path of at most {_LONGEST} bytes for a socket; "
                "set XDG_STATE_HOME to a folder with a shorter one"
            )

    def look(self) -> tuple[bool, Running | None]:
        """Whether there is a server, and what it says of itself: None if it does not yet, or does no more."""
        try:
            file = os.open(self._state, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return False, None
        try:
            if _locked(file, shared=True):
                return False, None
            data = os.read(file, _MOST)
        finally:
            os.close(file)
        try:
            return True, msgspec.json.decode(data, type=Running)
        except msgspec.DecodeError:
            return True, None

    def connect(self) -> socket.socket | None:
        """A connection to the server; None if none takes any.

        Raises:
            MixError: the folder is not this user's alone, so that anybody may listen there.
        """
        self._check()
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.connect(str(self._socket))
            self._check_peer(found)
        except (FileNotFoundError, ConnectionRefusedError):
            found.close()
            return None
        except BaseException:
            found.close()
            raise
        return found

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Held by one process at a time: who looks whether a server runs, and starts one."""
        self.make()
        file = os.open(self.path / "starting", os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def hold(self) -> int:
        """This process is the server, until it ends. Answers what `say` and `leave` take.

        Raises:
            MixError: another one is.
        """
        self.make()
        file = os.open(self._state, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        until = time.monotonic() + _LOOKS
        while not _locked(file):
            if time.monotonic() > until:
                os.close(file)
                raise MixError("a local server runs already: `mixkit mcp status` says which")
            time.sleep(0.02)
        # What is there was said by one that was killed.
        os.ftruncate(file, 0)
        return file

    def leave(self, file: int) -> None:
        """The server ends: nobody is to come any more. The lock goes when its process does."""
        os.ftruncate(file, 0)
        self._socket.unlink(missing_ok=True)

    def listen(self) -> socket.socket:
        """The socket of the server that holds the folder, listening."""
        self._socket.unlink(missing_ok=True)
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.bind(str(self._socket))
        self._socket.chmod(0o600)
        found.listen(128)
        return found

    def say(self, file: int, running: Running) -> None:
        """Say what runs, to who looks from now on."""
        os.pwrite(file, msgspec.json.encode(running), 0)

    def _check_peer(self, connection: socket.socket) -> None:
        # Who may write a folder above could have put another one in its place by now.
        if sys.platform == "linux":
            about = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            uid = _PEER.unpack(about)[1]
            if uid != os.geteuid():
                raise MixError(f"{self._socket}: user {uid} listens there, expected {os.geteuid()}, who asks")

    def _check(self) -> None:
        found = self.path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise MixError(f"{self.path}: expected a folder, found something else")
        if found.st_uid != os.geteuid():
            raise MixError(f"{self.path} belongs to user {found.st_uid}, expected {os.geteuid()}, who asks")
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            raise MixError(f"{self.path} is open to others (mode {mode:o}, expected 700): chmod 700 it")


def _locked(file: int, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
