"""The process that runs SQL: for one run in memory, or for one file and all who use it.

Of a file there is one owner. Whoever starts one is told `Taken` by it if there is another: a lock on `NAME.lock`, which
the system drops when the process ends, however it ends. The others find it by its socket, `NAME.sock`; both are beside
the file, and reached through the folder's descriptor, because a socket's path has no more than 107 bytes. A socket that
a killed owner left behind is replaced by the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import threading
import time
from typing import Any, Final

import duckdb

from mix_duckdb.confine import Confinement
from mix_duckdb.connection import Connection, Lost, full
from mix_duckdb.engine import bound, connect, reason
from mix_duckdb.place import peer, socket_path
from mix_duckdb.settings import DuckdbSettings
from mix_duckdb.watch import Watch
from mix_duckdb.wire import Failed, Job, Ready, Taken, Wire
from mixkit.errors import MixError

__all__ = ["in_memory", "of_file"]

_STACK: Final = 16 << 20
_ROOM: Final = 64 << 20
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.005


def in_memory(sock: socket.socket, settings: DuckdbSettings, confinement: Confinement) -> None:
    """The life of a process for a database in memory. Returns when it is to end.

    Args:
        sock: of its one session, which begins with a `Job`.
    """
    lacks, statm = _begin(confinement, "")
    # No more can be written to any file: there is none.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    connection = connect(settings)
    bound(settings, statm, _STACK)
    received = Wire(sock).receive()
    if received is not None and isinstance(received[0], Job):
        _Owner(settings, connection, "", lacks).serve(None, sock)


def of_file(sock: socket.socket, settings: DuckdbSettings, confinement: Confinement) -> None:
    """The life of a process for a database file. Returns when it is to end, or another has the file.

    Args:
        sock: of its first session, which begins with a `Job`.
    """
    wire = Wire(sock)
    received = wire.receive()
    if received is None or not isinstance(received[0], Job):
        return
    job = received[0]
    folder = os.open(job.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    lock = _lock(folder, job.name)
    if lock is None:
        wire.send(Taken())
        return
    try:
        listener = _listen(folder, job.name)
        lacks, statm = _begin(confinement, job.folder)
        bound(settings, statm, settings.sessions * _STACK)
        limit = 2 * settings.file_bytes + _ROOM  # A backstop: before each statement it is measured.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        path = f"{job.folder}/{job.name}.duckdb"
        try:
            file = connect(settings, path)
        except Exception as exc:
            wire.send(Failed("sql", f"the database file cannot be opened: {reason(exc, job.folder)}"))
            return
        _Owner(settings, file, path, lacks).serve(listener, sock)
        with contextlib.suppress(OSError):
            os.unlink(f"{job.name}.sock", dir_fd=folder)
        listener.close()
        file.close()
    finally:
        os.close(lock)


def _begin(confinement: Confinement, folder: str) -> tuple[list[str], int]:
    """What all of them have in common. Answers what the system does not confine, and a descriptor for `bound`."""
    threading.stack_size(_STACK)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    lacks = confinement.take(folder)
    # It has threads of its own: imported after the fork, and when nothing can be had any more.
    import pyarrow
    import pyarrow.ipc  # noqa: F401

    return lacks, statm


def _lock(folder: int, name: str) -> int | None:
    """The lock of a file, None if another process has it, and answers or does not end."""
    lock = os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            # It may be about to begin, or to end, which takes a while when there is much to be written.
            if _answers(folder, name) or time.monotonic() >= until:
                os.close(lock)
                return None
            time.sleep(_PAUSE)


def _answers(folder: int, name: str) -> bool:
    """Whether there is an owner that takes sessions."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_PATIENCE)
        try:
            sock.connect(socket_path(folder, name))
        except OSError:
            return False
        return True


def _listen(folder: int, name: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{name}.sock", dir_fd=folder)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(socket_path(folder, name))
    listener.listen(256)
    listener.setblocking(False)
    return listener


def _refuse(sock: socket.socket, message: str) -> None:
    with contextlib.suppress(OSError):
        Wire(sock).send(Failed("full", message))
    sock.close()


class _Owner:
    """The sessions of a process, each in a thread of its own; the first thread accepts, and watches the clock."""

    def __init__(self, settings: DuckdbSettings, connection: Any, path: str, lacks: list[str]) -> None:
        self._settings = settings
        self._connection = connection
        self._path = path
        self._lacks = lacks
        self._folder = os.path.dirname(path)  # noqa: PTH120
        self._watch = Watch()
        self._sessions: dict[int, tuple[socket.socket, Any]] = {}
        self._lock = threading.Lock()
        self._over = False

    def serve(self, listener: socket.socket | None, first: socket.socket) -> None:
        """Until nobody has used it for as long as the settings say; without a listener, until the session ends."""
        poll = select.poll()
        self._watch.register(poll)
        if listener is not None:
            poll.register(listener, select.POLLIN)
        self._begin(first, poll)
        idle_since: float | None = None
        while not self._over:
            found = [descriptor for descriptor, _ in self._watch.wait(poll, min(self._settings.idle, 60.0))]
            # First those that are gone: whom we accept now may get the number of one of them.
            for descriptor in found:
                if listener is None or descriptor != listener.fileno():
                    self._gone(descriptor, poll)
            if listener is not None and listener.fileno() in found:
                self._accept(listener, poll)
            with self._lock:
                busy = bool(self._sessions)
            if busy:
                idle_since = None
            elif listener is None:
                return
            elif idle_since is None:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since >= self._settings.idle:
                return

    def _accept(self, listener: socket.socket, poll: select.poll) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setblocking(True)
        if peer(sock)[1] != os.geteuid():
            sock.close()
            return
        with self._lock:
            full = len(self._sessions) >= self._settings.sessions
        if full:
            _refuse(
                sock,
                f"{self._settings.sessions} runs use this database file; the setting duckdb.sessions raises it, or "
                "try again later",
            )
            return
        self._begin(sock, poll)

    def _begin(self, sock: socket.socket, poll: select.poll) -> None:
        try:
            cursor = self._connection.cursor()
            thread = threading.Thread(target=self._session, args=(sock, cursor), daemon=True)
            with self._lock:
                self._sessions[sock.fileno()] = (sock, cursor)
            # Nothing is read here: that the other end is gone is all that this thread wants to know.
            poll.register(sock, select.POLLRDHUP)
            thread.start()
        except (MemoryError, RuntimeError, duckdb.Error):
            # The others have all that there was.
            with self._lock:
                self._sessions.pop(sock.fileno(), None)
            _refuse(sock, "the process of this database file has no memory left; try again later")

    def _gone(self, descriptor: int, poll: select.poll) -> None:
        with contextlib.suppress(KeyError):
            poll.unregister(descriptor)
        with self._lock:
            found = self._sessions.get(descriptor)
        if found is not None:
            self._watch.interrupt(found[1])

    def _session(self, sock: socket.socket, cursor: Any) -> None:
        wire = Wire(sock)
        session = Connection(wire, cursor, self._settings, self._watch, self._path)
        try:
            wire.send(Ready(os.getpid(), self._lacks))
            while (received := wire.receive()) is not None:
                message, body, _ = received
                try:
                    answer = session.handle(message, body)
                except Lost:
                    break
                except BaseException as exc:
                    answer = self._failure(exc), b""
                if answer is not None:
                    wire.send(*answer)
                if self._over:
                    break
        except (OSError, ValueError):
            pass
        finally:
            with contextlib.suppress(Exception):
                session.close()
            with self._lock:
                self._sessions.pop(sock.fileno(), None)
            sock.close()
            self._watch.wake()

    def _failure(self, exc: BaseException) -> Failed:
        if isinstance(exc, MixError):
            return Failed("sql", str(exc))
        if isinstance(exc, TimeoutError | duckdb.InterruptException):
            return Failed("time", "")
        if isinstance(exc, MemoryError | duckdb.OutOfMemoryException) or "bad_alloc" in str(exc):
            return Failed("memory", reason(exc, self._folder).partition("\n")[0])
        if "File too large" in str(exc):
            return Failed("sql", str(full(self._settings.file_bytes)))
        if isinstance(exc, duckdb.FatalException):
            # The instance is of no use any more; the next owner replays what was committed.
            self._over = True
            return Failed("lost", reason(exc, self._folder))
        if isinstance(exc, duckdb.Error):
            return Failed("sql", reason(exc, self._folder))
        return Failed("sql", f"{type(exc).__name__}: {reason(exc, self._folder)}")
