"""A workspace of a server, over stdio: each line is a request to it, and what it answers comes back as lines.

It knows of tools only which arguments stand in headers too, if the server asks for these: what the client says goes on
as it is, with the headers that say the same.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from mix_mcp.answered import Listed, head_of, is_unmirrored
from mix_mcp.headers import METHOD, NAME, VERSION, mirrored, named, written
from mix_mcp.lines import MOST, Lines
from mix_mcp.message import (
    INTERNAL,
    PARSE_ERROR,
    Answer,
    Fault,
    Message,
    failure,
    read,
    request,
)
from mix_mcp.revision import version_of
from mixkit.errors import MixError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mix_mcp.message import Id
    from mix_mcp.peer import Link, Peer

__all__ = ["Remote", "serve_remote"]

_SESSION: Final = "Mcp-Session-Id"
_EVENTS: Final = "text/event-stream"
_MOST_PAGES: Final = 1_000
"""Parts of a list of tools that are read."""
_AT_ONCE: Final = 100
"""Requests that are under way: others wait."""
_OPENED: Final = 10.0
"""Seconds that messages wait for the answer to an `initialize` before them."""
_FRESH: Final = 4.0
"""Seconds after which a connection is not used again: servers close those that are silent, ours after five."""


_AGAIN: Final = (0.0, 0.3)
"""Seconds after which what does no harm is asked again, if the server has gone."""
_HARMLESS: Final = frozenset(
    (
        "initialize",
        "ping",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "server/discover",
        "tasks/get",
        "tools/list",
    )
)
"""Methods that may be done twice: nothing is run, and nothing told but the answer."""


class _Ended(Exception):
    """The connection has ended before the answer."""


_GONE: Final = (
    _Ended,
    ConnectionError,
    http.client.IncompleteRead,
    http.client.NotConnected,
    http.client.RemoteDisconnected,
)
"""How it is told that a server has gone."""


def serve_remote(peer: Peer, workspace: str, output: int, *, constant: bool = False) -> None:
    """Be a server of MCP over standard input and `output` that is another one."""
    lines = Lines(MOST)
    with os.fdopen(output, "wb") as file:
        remote = Remote(peer, workspace, file, constant=constant)
        while data := os.read(0, 64 * 1024):
            for line in lines.feed(data):
                remote.take(line)
        remote.take(lines.end())
        remote.close()


class Remote:
    """The server, for one client.

    Args:
        peer: the server; `workspace` is a name in it.
        file: where lines for the client go.
        constant: see `Asked`.
    """

    def __init__(self, peer: Peer, workspace: str, file: Any, *, constant: bool = False) -> None:
        self._peer = peer
        self._workspace = workspace
        self._path = f"{peer.path}/mcp/{quote(workspace, safe='')}" + ("?tools=constant" if constant else "")
        self._headers = {"Content-Type": "application/json", "Accept": f"application/json, {_EVENTS}"}
        self._file = file
        self._session: dict[str, str] = {}
        self._mirrored: dict[str, dict[str, str]] = {}
        self._opened = threading.Event()
        self._opened.set()
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Link]] = []
        self._working: dict[Id, http.client.HTTPConnection | None] = {}
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
            self._send(failure(fault.id, fault))
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
            if message.id is not None:
                with self._lock:
                    self._working[message.id] = None
        self._pool.submit(self._exchange, line, message)

    def close(self) -> None:
        """Nothing more comes: what is under way is answered, and nothing told any more that has no end."""
        for id in list(self._listening):
            self._stop(id)
        self._pool.shutdown()
        for _, link in self._idle:
            link.connection.close()

    def _send(self, line: bytes) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._file.write(line + b"\n")
            self._file.flush()

    def _stop(self, id: Any) -> None:
        """The client does not wait any more: the server hears of it by the end of the connection."""
        with self._lock:
            if not isinstance(id, str | int) or id not in self._working:
                return
            self._stopped.add(id)
            connection = self._working[id]
            if connection is not None and connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _exchange(self, line: bytes, message: Message | Answer) -> None:
        id = message.id if isinstance(message, Message) else None
        begins = isinstance(message, Message) and message.method == "initialize"
        try:
            if not begins:
                self._opened.wait(_OPENED)
            harmless = isinstance(message, Message) and message.method in _HARMLESS
            for seconds in _AGAIN if harmless else ():
                try:
                    self._ask(line, message, id)
                    return
                except _GONE:
                    # Since the last answer, or it is about to: one that is started anew is another one soon.
                    if id in self._stopped:
                        raise
                time.sleep(seconds)
            self._ask(line, message, id)
        except Exception as exc:
            if id is not None and id not in self._stopped:
                self._send(failure(id, Fault(INTERNAL, _said(exc))))
        finally:
            if begins:
                self._opened.set()
            if id is not None:
                with self._lock:
                    self._working.pop(id, None)
                    self._stopped.discard(id)
                    self._listening.discard(id)

    def _ask(self, line: bytes, message: Message | Answer, id: Id | None) -> None:
        with self._posted(line, message, id) as answer:
            if answer.headers.get_content_type() == _EVENTS:
                self._told(answer, id)
                return
            body = answer.read()
            # One of a session has no such headers.
            modern = isinstance(message, Message) and version_of(message.params) is not None
            if isinstance(message, Answer) or not (modern and is_unmirrored(answer, body)):
                self._answered(answer, body, message, id)
                return
        # Nothing was done. The list of the tools says which arguments stand in headers too.
        self._learn(message)
        with self._posted(line, message, id) as answer:
            if answer.headers.get_content_type() == _EVENTS:
                self._told(answer, id)
            else:
                self._answered(answer, answer.read(), message, id)

    @contextlib.contextmanager
    def _posted(
        self, line: bytes, message: Message | Answer, id: Id | None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a message, to be read as a whole."""
        link = self._link()
        connection = link.connection
        try:
            with self._lock:
                if id in self._stopped:
                    # Before it was its turn.
                    raise _Ended
                if id is not None:
                    self._working[id] = connection
            headers = self._headers | link.headers | self._about(message)
            connection.request("POST", self._path, line, headers)
            answer = connection.getresponse()
            yield answer
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append((time.monotonic(), link))

    def _learn(self, call: Message) -> None:
        """Ask which arguments of which tools stand in headers too."""
        found: dict[str, dict[str, str]] = {}
        params: dict[str, Any] = {"_meta": call.params["_meta"]}
        for _ in range(_MOST_PAGES):
            message = Message("tools/list", params, "tools")
            with self._posted(request("tools", message.method, params), message, None) as answer:
                listed = msgspec.json.decode(answer.read(), type=Listed).result
            found |= {tool.name: tool.headers for tool in listed.tools}
            if listed.next_cursor is None:
                break
            params = {**params, "cursor": listed.next_cursor}
        self._mirrored = found

    def _told(self, events: http.client.HTTPResponse, id: Id | None) -> None:
        """Hand on what is told, of which the answer is the last."""
        answered = False
        for each in events:
            # NOTE: what is cut off in the middle of a line ends like what is whole.
            if each.startswith(b"data:") and each.endswith(b"\n"):
                head = head_of(each[5:])
                answered = head.id == id and head.is_answer
                self._send(each[5:].strip())
        if id is not None and not answered:
            raise _Ended

    def _answered(
        self, answer: http.client.HTTPResponse, body: bytes, message: Message | Answer, id: Id | None
    ) -> None:
        if id is None or answer.status == 202:
            return
        try:
            found = head_of(body)
        except Fault:
            said: Any = None
            with contextlib.suppress(msgspec.DecodeError):
                said = msgspec.json.decode(body)
            text = said.get("message") if type(said) is dict else None
            raise Fault(INTERNAL, self._refused(answer, str(text or answer.reason))) from None
        if found.error is not msgspec.UNSET and found.id is None:
            # It could not read whose it is.
            self._send(msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": found.error}))
            return
        if found.id != id or not found.is_answer:
            raise Fault(INTERNAL, "the server answered something else than what it was asked")
        session = answer.headers.get(_SESSION)
        if session is not None and found.result is not msgspec.UNSET:
            opened = msgspec.json.decode(found.result)
            if type(opened) is dict and type(opened.get("protocolVersion")) is str:
                self._session = {_SESSION: session, VERSION: opened["protocolVersion"]}
        # One line, however it was written.
        self._send(body.strip() if b"\n" not in body else msgspec.json.encode(msgspec.json.decode(body)))

    def _about(self, message: Message | Answer) -> dict[str, str]:
        """The headers that say what a message says."""
        version = version_of(message.params) if isinstance(message, Message) else None
        if version is None or isinstance(message, Answer):
            return self._session
        about = {VERSION: written(version), METHOD: written(message.method)}
        name = named(message.method, message.params)
        if name is None:
            return about
        arguments: Any = message.params.get("arguments")
        return about | {NAME: written(name)} | mirrored(self._mirrored.get(name, {}), arguments)

    def _refused(self, answer: http.client.HTTPResponse, text: str) -> str:
        if answer.status == 200:
            return "the server answered what is no message of MCP: is it one of mixkit, and its URL right?"
        said = f"the server answered {answer.status}: {text:.500}"
        elsewhere = answer.headers.get("Location")
        if elsewhere is not None:
            return f"{said}; it sends to {elsewhere:.500}, where no token is sent: give that as the server if it is it"
        if answer.status == 404:
            return f"{said}: expected a workspace {self._workspace!r} on it"
        return f"{said}; {self._peer.refused}" if answer.status == 401 else said

    def _link(self) -> Link:
        with self._lock:
            while self._idle:
                since, link = self._idle.pop()
                sock = link.connection.sock
                # What can be read before anything was asked is the end of it.
                fresh = time.monotonic() - since < _FRESH
                if fresh and sock is not None and not select.select([sock], [], [], 0)[0]:
                    return link
                link.connection.close()
        return self._peer.connect()


def _said(exc: Exception) -> str:
    if isinstance(exc, Fault | MixError):
        return str(exc)
    if isinstance(exc, _GONE):
        return (
            "the server has ended the connection before it answered: what it was asked may have been done or not, "
            "so it is not asked again"
        )
    if isinstance(exc, http.client.HTTPException):
        return f"what answers is no server of HTTP: {type(exc).__name__}"
    return f"the server cannot be asked: {exc or type(exc).__name__}"
