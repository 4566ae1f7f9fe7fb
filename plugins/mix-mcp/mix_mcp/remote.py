"""A workspace of a server, over stdio: each line is a request to it, and what it answers comes back as lines.

It knows nothing of tools: what the client says goes on as it is, with the headers that say the same.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from mix_mcp.headers import METHOD, NAME, VERSION, named, written
from mix_mcp.lines import MOST, Lines
from mix_mcp.message import INTERNAL, PARSE_ERROR, Answer, Fault, Message, failure, read
from mix_mcp.revision import version_of
from mixkit.errors import MixError

if TYPE_CHECKING:
    from mix_mcp.message import Id

__all__ = ["Remote", "serve_remote"]

_SESSION: Final = "Mcp-Session-Id"
_EVENTS: Final = "text/event-stream"
_AT_ONCE: Final = 100
"""Requests that are under way: others wait."""
_CONNECT: Final = 10.0
"""Seconds in which the server must take a connection."""


def serve_remote(url: str, workspace: str, token: str | None, output: int, *, constant: bool = False) -> None:
    """Be a server of MCP over standard input and `output` that is the one at an address.

    Raises:
        MixError: the address is none of a server.
    """
    lines = Lines(MOST)
    with os.fdopen(output, "wb") as file:
        remote = Remote(url, workspace, token, file, constant=constant)
        while data := os.read(0, 64 * 1024):
            for line in lines.feed(data):
                remote.take(line)
        remote.take(lines.end())
        remote.close()


class Remote:
    """The server, for one client.

    Args:
        url: of the server; `workspace` is a name in it.
        token: that it takes.
        file: where lines for the client go.
        constant: see `Asked`.
    """

    def __init__(
        self, url: str, workspace: str, token: str | None, file: Any, *, constant: bool = False
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise MixError(f"expected the URL of a server, as https://agents.example.org, found {url!r:.200}")
        self._secure = parts.scheme == "https"
        self._where = parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/mcp/{quote(workspace, safe='')}" + (
            "?tools=constant" if constant else ""
        )
        self._headers = {"Content-Type": "application/json", "Accept": f"application/json, {_EVENTS}"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._file = file
        self._session: dict[str, str] = {}
        self._opened = threading.Event()
        self._opened.set()
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._working: dict[Id, http.client.HTTPConnection] = {}
        self._stopped: set[Id] = set()
        self._listening: set[Id] = set()
        self._pool = ThreadPoolExecutor(_AT_ONCE, "mixkit-mcp")

    def take(self, line: bytes | None) -> None:
        """One line of the client, or None for one that is too long."""
        if line is None:
            self._send(failure(None, Fault(PARSE_ERROR, f"expected a message of at most {MOST} bytes")))
            return
        if not line or line.isspace():
            return
        try:
            message = read(line)
        except Fault as fault:
            self._send(failure(None, fault))
            return
        if isinstance(message, Message):
            if message.method == "notifications/cancelled":
                self._stop(message.params.get("requestId"))
                return
            if message.method == "initialize" and version_of(message.params) is None:
                # What follows is of its session.
                self._opened.clear()
            elif message.method == "subscriptions/listen" and message.id is not None:
                self._listening.add(message.id)
        self._pool.submit(self._exchange, line, message)

    def close(self) -> None:
        """Nothing more comes: what is under way is answered, and nothing told any more that has no end."""
        for id in list(self._listening):
            self._stop(id)
        self._pool.shutdown()
        for connection in self._idle:
            connection.close()

    def _send(self, line: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._file.write(line + b"\n")
            self._file.flush()

    def _stop(self, id: Any) -> None:
        """The client does not wait any more: the server hears of it by the end of the connection."""
        with self._lock:
            connection = self._working.get(id) if isinstance(id, str | int) else None
            if connection is None:
                return
            self._stopped.add(id)
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, line: bytes, message: Message | Answer) -> None:
        id = message.id if isinstance(message, Message) else None
        begins = isinstance(message, Message) and message.method == "initialize"
        try:
            if not begins:
                self._opened.wait(_CONNECT)
            self._ask(line, message, id)
        except Exception as exc:
            if id is not None and id not in self._stopped:
                said = (
                    str(exc)
                    if isinstance(exc, Fault)
                    else f"the server cannot be asked: {exc or type(exc).__name__}"
                )
                self._send(failure(id, Fault(INTERNAL, said)))
        finally:
            if begins:
                self._opened.set()
            if id is not None:
                with self._lock:
                    self._working.pop(id, None)
                    self._stopped.discard(id)
                    self._listening.discard(id)

    def _ask(self, line: bytes, message: Message | Answer, id: Id | None) -> None:
        connection = self._connection()
        if id is not None:
            with self._lock:
                self._working[id] = connection
        try:
            connection.request("POST", self._path, line, self._headers | self._about(message))
            answer = connection.getresponse()
            if (answer.headers.get_content_type()) == _EVENTS:
                for each in answer:
                    if each.startswith(b"data:"):
                        self._send(each[5:].strip())
            else:
                self._answered(answer, answer.read(), message, id)
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)

    def _answered(
        self, answer: http.client.HTTPResponse, body: bytes, message: Message | Answer, id: Id | None
    ) -> None:
        session = answer.headers.get(_SESSION)
        found: Any = None
        with contextlib.suppress(msgspec.DecodeError):
            found = msgspec.json.decode(body) if body else None
        if id is None or answer.status == 202:
            return
        if type(found) is not dict or "jsonrpc" not in found:
            text = found.get("message") if type(found) is dict else None
            raise Fault(INTERNAL, f"the server answered {answer.status}: {text or answer.reason}")
        if session is not None:
            self._session = {_SESSION: session, VERSION: str(found["result"]["protocolVersion"])}
        # One line, however it was written.
        self._send(msgspec.json.encode(found))

    def _about(self, message: Message | Answer) -> dict[str, str]:
        """The headers that say what a message says."""
        version = version_of(message.params) if isinstance(message, Message) else None
        if version is None or isinstance(message, Answer):
            return self._session
        about = {VERSION: written(version), METHOD: written(message.method)}
        name = named(message.method, message.params)
        return about if name is None else about | {NAME: written(name)}

    def _connection(self) -> http.client.HTTPConnection:
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                # What can be read before anything was asked is the end of it.
                if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                    return connection
                connection.close()
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(*self._where, timeout=_CONNECT)
        connection.connect()
        # Calls take as long as they take.
        connection.sock.settimeout(None)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
