"""Files that come from a URL or go to one, past the egress check: each connection is to the address that was checked,
each redirect is checked again, and whatever comes is bounded in size and in time.

Blocks, in a thread where no event loop runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Final

from mixkit.egress import EgressPolicy, PinnedAddress, check
from mixkit.errors import FFIError
from mixkit.moving.errors import RemoteError, RemoteRefused
from mixkit.target import EgressDenied, Target, parse_url

__all__ = ["ANYWHERE", "Remote"]

_PIECE: Final = 256 << 10
_CONNECT: Final = 10.0
"""Seconds to connect to one address."""
_STALL: Final = 60.0
"""Seconds in which something must come, or be taken."""
_REDIRECTS: Final = 5
_ANSWER: Final = 64 << 10
"""Bytes of an answer that is read as one."""
_LARGE: Final = 64 << 20
_MOVED: Final = frozenset((301, 302, 303, 307, 308))

ANYWHERE: Final = EgressPolicy(schemes=("https", "http"), dangerous=True)
"""For what a person at a terminal asks for, in the person's own name."""


@dataclass(frozen=True)
class Remote:
    """How other servers are reached.

    Attributes:
        policy: what may be connected to.
        seconds: for all of a transfer.
        context: makes what verifies their certificates.
    """

    policy: EgressPolicy
    seconds: float = 3_600.0
    context: Callable[[], ssl.SSLContext] = field(default=ssl.create_default_context)

    def fetch(
        self,
        url: str,
        file: IO[bytes],
        most: int,
        *,
        token: str | None = None,
        watch: Callable[[int], object] = lambda size: None,
    ) -> None:
        """Write what is at a URL into a file.

        Args:
            most: bytes of it.
            token: sent as `Authorization: Bearer`, to the server of that URL alone.
            watch: called with the bytes of each piece; may raise, to end it.

        Raises:
            EgressDenied: the URL, or one that it leads to, may not be connected to.
            RemoteError: it cannot be had, or is too large.
        """
        deadline = time.monotonic() + self.seconds
        target = parse_url(url)
        home = target.origin
        for _ in range(_REDIRECTS + 1):
            headers = _headers(token if target.origin == home else None)
            with self._connected(target, deadline) as connection:
                with _told(target):
                    connection.request("GET", target.path, headers=headers)
                    answer = connection.getresponse()
                # It keeps the connection open until it is closed itself.
                with closing(answer):
                    location = answer.getheader("Location")
                    if answer.status in _MOVED and location is not None:
                        target = target.referred(location)
                        continue
                    if answer.status != 200:
                        raise RemoteRefused(f"{_place(target)} answers {_said(answer)}", answer.status)
                    self._take(answer, target, file, most, deadline, watch)
                    return
        raise RemoteError(f"{url[:200]!r} redirects more than {_REDIRECTS} times")

    def _take(
        self,
        answer: http.client.HTTPResponse,
        target: Target,
        file: IO[bytes],
        most: int,
        deadline: float,
        watch: Callable[[int], object],
    ) -> None:
        too_large = RemoteError(f"expected at most {most} bytes from {_place(target)}, found more")
        if answer.length is not None and answer.length > most:
            raise too_large
        size = 0
        while True:
            with _told(target):
                piece = answer.read1(_PIECE)
            if not piece:
                break
            size += len(piece)
            if size > most:
                raise too_large
            _in_time(deadline, target)
            file.write(piece)
            watch(len(piece))
        if answer.length:
            raise RemoteError(f"{_place(target)} has broken off {answer.length} bytes before the end")

    def send(
        self, url: str, pieces: Callable[[], AsyncIterator[bytes]], *, token: str | None = None
    ) -> dict[str, Any]:
        """Send pieces to a URL as the body of a POST, as they are made; answers the JSON object that is answered.

        No redirect is followed. Arguments and errors are those of `fetch`.
        """
        deadline = time.monotonic() + self.seconds
        target = parse_url(url)
        headers = _headers(token) | {
            "Content-Type": "application/octet-stream",
            "Transfer-Encoding": "chunked",
        }
        with self._connected(target, deadline) as connection:
            with _told(target):
                connection.putrequest("POST", target.path, skip_accept_encoding=True)
                for name, text in headers.items():
                    connection.putheader(name, text)
                connection.endheaders()
            # It may answer before it had all; what it says is worth more than that it took no more.
            with contextlib.suppress(_Refused):
                asyncio.run(_sent(connection, pieces, target, deadline))
            with _told(target), closing(connection.getresponse()) as answer:
                data = answer.read(_ANSWER)
        if answer.status not in (200, 201):
            raise RemoteRefused(f"{_place(target)} answers {_described(answer.status, data)}", answer.status)
        return _object(data, target)

    def call(
        self, method: str, url: str, body: Any = None, *, token: str | None = None
    ) -> dict[str, Any] | None:
        """Ask one of our servers something; answers its JSON object, None where it answers none.

        No redirect is followed. Errors are those of `fetch`.
        """
        deadline = time.monotonic() + self.seconds
        target = parse_url(url)
        headers = _headers(token)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        with self._connected(target, deadline) as connection, _told(target):
            connection.request(method, target.path, data, headers)
            with closing(connection.getresponse()) as answer:
                found = answer.read(_LARGE)
        if answer.status not in (200, 201, 204):
            raise RemoteRefused(f"{_place(target)} answers {_described(answer.status, found)}", answer.status)
        return None if answer.status == 204 else _object(found, target)

    @contextmanager
    def _connected(self, target: Target, deadline: float) -> Iterator[http.client.HTTPConnection]:
        if target.scheme not in ("http", "https"):
            # The policy says so too; a scheme that it lets through must be one that is spoken here.
            raise RemoteError(f"expected a URL of http or https, found {target.scheme!r}")
        try:
            addresses = asyncio.run(check(target, self.policy))
        except EgressDenied:
            raise
        except FFIError as exc:
            raise RemoteError(str(exc)) from None
        _in_time(deadline, target)
        context = self.context() if target.scheme == "https" else None
        connection = _Pinned(target, addresses, context)
        with closing(connection):
            yield connection


class _Refused(Exception):
    """The other side takes no more."""


class _Pinned(http.client.HTTPConnection):
    """A connection to addresses that were checked, whatever the name stands for by now."""

    def __init__(
        self, target: Target, addresses: list[PinnedAddress], context: ssl.SSLContext | None
    ) -> None:
        super().__init__(target.netloc, timeout=_STALL)
        self._target = target
        self._addresses = addresses
        self._context = context

    def connect(self) -> None:
        failed: OSError = OSError("no address")
        for pinned in self._addresses:
            try:
                sock = socket.create_connection((pinned.address, pinned.port), _CONNECT)
            except OSError as exc:
                failed = exc
                continue
            sock.settimeout(_STALL)
            if self._context is not None:
                try:
                    sock = self._context.wrap_socket(sock, server_hostname=self._target.host)
                except BaseException:
                    sock.close()
                    raise
            self.sock = sock
            return
        raise failed


async def _sent(
    connection: http.client.HTTPConnection,
    pieces: Callable[[], AsyncIterator[bytes]],
    target: Target,
    deadline: float,
) -> None:
    async for piece in pieces():
        _in_time(deadline, target)
        if piece:
            await asyncio.to_thread(_give, connection, b"%x\r\n%b\r\n" % (len(piece), piece))
    await asyncio.to_thread(_give, connection, b"0\r\n\r\n")


def _give(connection: http.client.HTTPConnection, data: bytes) -> None:
    try:
        connection.send(data)
    except (BrokenPipeError, ConnectionResetError) as exc:
        raise _Refused from exc
    except OSError as exc:
        raise RemoteError(f"cannot send to {connection.host}: {exc}") from exc


@contextmanager
def _told(target: Target) -> Iterator[None]:
    """What goes wrong with a connection is said with whose it is."""
    try:
        yield
    except (OSError, http.client.HTTPException) as exc:
        raise RemoteError(f"cannot reach {_place(target)}: {str(exc) or type(exc).__name__}") from exc


def _in_time(deadline: float, target: Target) -> None:
    if time.monotonic() > deadline:
        raise RemoteError(f"the transfer with {_place(target)} takes too long")


def _headers(token: str | None) -> dict[str, str]:
    headers = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "mixkit", "Connection": "close"}
    if token is not None:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise RemoteError("expected a token of printable ASCII characters without spaces")
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _place(target: Target) -> str:
    """The server of a URL. Without its path, which may be a secret by itself."""
    return f"{target.scheme}://{target.netloc}"


def _object(data: bytes, target: Target) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RemoteError(f"expected a JSON object from {_place(target)}, found something else")
    return found


def _said(answer: http.client.HTTPResponse) -> str:
    try:
        data = answer.read(_ANSWER)
    except (OSError, http.client.HTTPException):
        data = b""
    return _described(answer.status, data)


def _described(status: int, data: bytes) -> str:
    """The status, and what the server says about it if it is one of ours."""
    try:
        message = json.loads(data)["message"]
    except (ValueError, TypeError, KeyError, RecursionError):
        message = None
    return f"{status}: {message:.500}" if isinstance(message, str) else f"{status}"
