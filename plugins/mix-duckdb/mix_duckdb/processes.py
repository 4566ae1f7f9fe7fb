"""The processes that run SQL, as the server sees them: taken from a zygote, ended through their descriptors."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec

from mix_duckdb.place import peer, socket_path
from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.zygote import IN_MEMORY, OF_FILE
from mixkit.errors import FFIError

__all__ = ["OwnerLost", "Process", "forget", "found", "take"]

_BEGIN: Final = (
    "import sys; sys.path[:] = {path!r}; from mix_duckdb.zygote import run; run({descriptor}, {settings!r})"
)
_ENVIRONMENT: Final = {
    # Nothing of the server's is told to SQL. One arena: threads would reserve address space for one each.
    "HOME": "/nonexistent",
    "MALLOC_ARENA_MAX": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
_FOR_PYTHON: Final = ("LD_LIBRARY_PATH", "PYTHONHOME")
"""Without which it may not start, where it does not lie as others do."""
_DESCRIPTOR: Final = 3
_CONNECT: Final = 5.0
_ANSWER: Final = 15.0


class OwnerLost(FFIError):
    """The process that runs the SQL ended in the middle, or cannot be started. What was committed is there."""

    code = "duckdb_lost"


class Process:
    """One of them. It is not a child of this process.

    Attributes:
        socket: of its first session, blocking.
    """

    def __init__(self, sock: socket.socket, descriptor: int) -> None:
        self.socket = sock
        self._descriptor = descriptor

    def kill(self) -> None:
        """End it, whatever it does. Harmless if it has ended."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Let go of it, as it is."""
        self.socket.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _Zygote:
    """Started when the first process is wanted, again when it has ended."""

    def __init__(self, settings: DuckdbSettings) -> None:
        self._settings = msgspec.msgpack.encode(settings)
        self._control: socket.socket | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def take(self, kind: bytes) -> Process:
        """A process that waits for its job. Blocks, some 100 ms if there is no zygote.

        Raises:
            OwnerLost: it cannot be started.
        """
        with self._lock:
            for _ in range(2):
                if self._control is None:
                    self._start()
                if (found := self._ask(kind)) is not None:
                    return found
                self.forget()
        raise OwnerLost(
            "the process for SQL cannot be started; `mixkit doctor` says why, if it is not for want of memory"
        )

    def _ask(self, kind: bytes) -> Process | None:
        assert self._control is not None
        try:
            self._control.sendall(kind)
            _, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
        except OSError:
            return None
        if len(descriptors) != 2:
            return None
        return Process(socket.socket(fileno=descriptors[0]), descriptors[1])

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        code = _BEGIN.format(path=sys.path, descriptor=_DESCRIPTOR, settings=self._settings)
        # A fresh Python and not a fork: with threads a fork is not safe, and it would hold all that is ours.
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-c", code],
                _ENVIRONMENT | {name: os.environ[name] for name in _FOR_PYTHON if name in os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, 0, 2),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), _DESCRIPTOR),
                ],
            )
        except OSError as exc:
            ours.close()
            raise OwnerLost(f"the process for SQL cannot be started: {exc.strerror}") from exc
        finally:
            theirs.close()
        ours.settimeout(_ANSWER)
        self._control = ours

    def forget(self) -> None:
        """Let it end; the processes that it started stay."""
        if self._control is not None:
            self._control.close()
            self._control = None
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)  # Its spare process ends by itself.
                os.waitpid(self._pid, 0)

    def inherited(self) -> None:
        """This process is a fork of the one that started it."""
        if self._control is not None:
            self._control.close()


_zygotes: dict[DuckdbSettings, _Zygote] = {}
_lock = threading.Lock()


def take(settings: DuckdbSettings, *, of_file: bool = False) -> Process:
    """A process with these settings, that waits for its job. Blocks. `OwnerLost` if there is none to be had."""
    with _lock:
        zygote = _zygotes.get(settings) or _zygotes.setdefault(settings, _Zygote(settings))
    return zygote.take(OF_FILE if of_file else IN_MEMORY)


def found(folder: Path, name: str) -> Process | None:
    """The owner of a database file, connected to; None if there is none. Blocks if it is very busy."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(_CONNECT)
        sock.connect(socket_path(descriptor, name))
        pid, user = peer(sock)
        if user == os.geteuid():
            try:
                return Process(sock, os.pidfd_open(pid))
            except OSError:  # It is seen from here by its socket alone, as from another container.
                return Process(sock, -1)
    except OSError:
        pass
    finally:
        os.close(descriptor)
    sock.close()
    return None


def forget() -> None:
    """Let the zygotes of this process end. The next `take` starts one again."""
    with _lock:
        found = list(_zygotes.values())
        _zygotes.clear()
    for zygote in found:
        zygote.forget()


def _forked() -> None:
    # NOTE: with a copy of its end of the socket, the zygote would not notice the end of the server.
    global _lock
    for zygote in _zygotes.values():
        zygote.inherited()
    _zygotes.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forked)
atexit.register(forget)
