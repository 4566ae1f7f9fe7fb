"""The server that the clients of a user share: found, started if none runs, and ended."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mix_mcp import RELEASE_INFO
from mix_mcp.peer import Link
from mix_mcp.state_dir import Running, StateDir, Wanted
from mixkit import __version__
from mixkit.errors import MixError

if TYPE_CHECKING:
    import socket

    from mixkit.cli.session import Session

__all__ = ["LocalServer", "end", "wanted_of"]

_PATIENCE: Final = 60.0
"""Seconds in which a server starts, or another one ends."""
_ROUND: Final = 0.02
_LOG: Final = 1 << 20
"""Bytes of a log that goes on; a longer one is put aside as `server.log.1`."""
_TOLD: Final = 4096
"""Bytes of a log that are shown."""
_LINES: Final = 10
_GONE: Final = (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead)
_OWN: Final = ("settings.mcp.", "settings.server.ws_dir=")
"""Settings that say how long the server lives, and nothing of what it serves; and what is said otherwise."""
_RUNS: Final = re.compile(rb"^mixkit_runs_(?:active|waiting|paused)(?:\{[^}]*\})? ([0-9.e+]+)$", re.M)


def wanted_of(session: Session, ws_dir: Path) -> Wanted:
    """What the command line and mixkit.toml ask for."""
    words, _ = session.again()
    profile = words[words.index("-p") + 1]
    sets = [word for flag, word in pairwise(words) if flag == "--set" and not word.startswith(_OWN)]
    return Wanted(ws_dir=str(ws_dir.resolve()), profile=profile, sets=sorted(sets))


class LocalServer:
    """The one of a port.

    Args:
        folder: where it is met.
        port: on which it listens for others.
        wanted: what it must serve.
        session: of the command line; what it was told goes on to a server that is started.
        tell: is told what takes a while.
    """

    path = ""
    refused = "`mixkit mcp stop` ends it, and the next call starts it anew"

    def __init__(
        self, folder: StateDir, port: int, wanted: Wanted, session: Session, tell: Callable[[str], object]
    ) -> None:
        self._folder = folder
        self._port = port
        self._wanted = wanted
        self._session = session
        self._tell = tell
        self._lock = threading.Lock()
        self._checked = ""

    def connect(self) -> Link:
        """A connection to it, as those of `Peer`; it is started if it does not run."""
        with self._lock:
            link = self._connect()
            if link is None:
                self.ensure()
                link = self._connect()
            if link is None:
                raise MixError(f"the local server has ended as soon as it ran: see {self._folder.log}")
            return link

    def ensure(self) -> Running:
        """Have it run.

        Raises:
            MixError: it does not start, or the one that runs is not what is wanted.
        """
        until, told = time.monotonic() + _PATIENCE, False
        with self._folder.starting():
            while True:
                there, found = self._folder.look()
                fits = None if found is None else self._fits(found)
                if found is not None and fits:
                    self._checked = found.token
                    return found
                if found is not None and fits is False:
                    self._tell(f"it is of mixkit {found.version}: it ends, and starts anew")
                    end(self._folder, found, _PATIENCE)
                elif not there:
                    self._start()
                elif time.monotonic() > until:
                    raise MixError(
                        f"the local server takes no connection, and has not ended within {_PATIENCE:g} s: "
                        f"see {self._folder.log}"
                    )
                else:
                    if not told:
                        self._tell("waiting for the local server, which starts or ends")
                    told = True
                    time.sleep(_ROUND)

    def _connect(self) -> Link | None:
        _, found = self._folder.look()
        if found is None or found.token != self._checked:
            return None
        connection = self._folder.connect()
        if connection is None:
            return None
        return Link(_http(connection), {"Authorization": f"Bearer {found.token}"})

    def _fits(self, found: Running) -> bool | None:
        """Whether it is of this version, or a later one has to take its place; None if it takes no connection, since it
        ends. `MixError` if it is not what is wanted."""
        connection = self._folder.connect()
        if connection is None:
            return None
        try:
            return self._is_fit(found, connection)
        except _GONE:
            return None

    def _is_fit(self, found: Running, connection: socket.socket) -> bool:
        with closing(_http(connection)) as asked:
            connection.settimeout(_PATIENCE)
            release = json.loads(_got(asked, RELEASE_INFO, found))
            version = str(release.get("version") if type(release) is dict else None)
            theirs, ours = _numbers(version), _numbers(__version__)
            if theirs > ours:
                raise MixError(
                    f"the local server is of mixkit {version}, which is newer than this one, {__version__}: install "
                    "that here too, or end it with `mixkit mcp stop` if nobody needs it"
                )
            if theirs < ours:
                runs = sum(float(number) for number in _RUNS.findall(_got(asked, "/metrics", found)))
                if runs:
                    raise MixError(
                        f"the local server is of mixkit {version}, older than this one, {__version__}, and {runs:g} "
                        "agents run in it: try again when they have ended, or end it with `mixkit mcp stop`"
                    )
                return False
        differences = [
            f"{name} {getattr(found.wanted, name)!r}, and here {getattr(self._wanted, name)!r}"
            for name in Wanted.__struct_fields__
            if getattr(found.wanted, name) != getattr(self._wanted, name)
        ]
        if differences:
            raise MixError(
                f"the local server of port {self._port} was started with {'; '.join(differences)}: "
                "end it with `mixkit mcp stop`, or have another one with --port"
            )
        return True

    def _start(self) -> None:
        # PERF: seldom needed.
        import subprocess

        session, folder = self._session, self._folder
        self._tell(f"starting the local server on port {self._port}")
        words, environ = session.again()
        # It makes its own; that of the environment is for another one.
        environ.pop("MIXKIT_SERVER_TOKEN", None)
        words += [
            "--log-level",
            session.log_level,
            "--log-format",
            session.log_format,
            "mcp",
            "start",
            "--foreground",
        ]
        words += ["--port", str(self._port), "--ws-dir", self._wanted.ws_dir]
        with _log(folder.log) as log:
            begin = log.tell()
            # What belongs to its first client ends with that: its terminal, its group of processes, its pipes.
            process = subprocess.Popen(
                words, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + _PATIENCE
        while (found := folder.look()[1]) is None or found.pid != process.pid:
            if process.poll() is not None:
                raise MixError(
                    f"the local server did not start; {folder.log} ends with:\n{_last_lines(folder.log, begin)}"
                )
            if time.monotonic() > until:
                process.terminate()
                process.wait()
                raise MixError(
                    f"the local server was not ready within {_PATIENCE:g} s; {folder.log} ends with:\n"
                    f"{_last_lines(folder.log, begin)}"
                )
            time.sleep(_ROUND)
        # When it ends before this process does, the system wants somebody to hear of it.
        threading.Thread(target=process.wait, name="mixkit-mcp-server", daemon=True).start()
        self._tell(f"it runs, process {process.pid}; its log is {folder.log}")


def end(folder: StateDir, found: Running | None, seconds: float) -> None:
    """Have a server end: what runs in it may finish.

    Args:
        found: None: it ends already, or has not said yet what it is.

    Raises:
        MixError: it has not ended in so many seconds.
    """
    if found is not None:
        with suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    while (left := folder.look())[0] and left[1] in (None, found):
        if time.monotonic() > until:
            raise MixError(
                f"the local server has not ended within {seconds:g} s: see {folder.log}"
                + (f"; kill -9 {found.pid} ends it at once" if found is not None else "")
            )
        time.sleep(_ROUND)


def _http(connection: socket.socket) -> http.client.HTTPConnection:
    found = http.client.HTTPConnection("localhost")
    found.sock = connection
    # Once it is closed, nobody else is asked in its place.
    found.auto_open = 0
    return found


def _got(asked: http.client.HTTPConnection, path: str, found: Running) -> bytes:
    try:
        asked.request("GET", path, headers={"Authorization": f"Bearer {found.token}"})
        answer = asked.getresponse()
        body = answer.read()
    except TimeoutError:
        raise MixError(
            f"the local server, process {found.pid}, has not answered within {_PATIENCE:g} s: see its log; "
            f"kill -9 {found.pid} ends it"
        ) from None
    if answer.status != 200:
        raise MixError(f"the local server, process {found.pid}, answered {answer.status} to {path}")
    return body


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _log(path: Path) -> Any:
    if path.exists() and path.stat().st_size > _LOG:
        path.rename(path.with_name(f"{path.name}.1"))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, 0o600), "ab", buffering=0)
    file.seek(0, os.SEEK_END)
    return file


def _last_lines(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(max(begin, path.stat().st_size - _TOLD))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-_LINES:]) or "nothing"
