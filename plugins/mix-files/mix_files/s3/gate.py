"""What obstore connects to: a proxy of this process that lets it reach the one store, by addresses that were checked.

obstore looks names up by itself, takes proxies from the environment and follows redirects to anywhere; what it can be
told is one proxy for everything. So there is one: on loopback, for whoever knows its password, and it connects only to
the hosts of the store, each connection through the egress check. TLS is between obstore and the store.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import threading
from contextlib import suppress
from typing import Final

from mixkit import egress
from mixkit.egress import EgressPolicy
from mixkit.errors import FFIError, FileError
from mixkit.target import EgressDenied, Target, parse_url

__all__ = ["Gate"]

_HEAD: Final = 64 * 1024
_PIECE: Final = 256 * 1024
_DENIED: Final = 2.0
"""Seconds that a refusal holds."""


class Gate:
    """A thread with an event loop of its own: objects of obstore are used from many loops. Not for a forked child.

    Args:
        hosts: origins that may be reached.
        timeout: seconds to be told where to, and to connect.
    """

    def __init__(
        self, hosts: frozenset[tuple[str, int]], scheme: str, policy: EgressPolicy, timeout: float
    ) -> None:
        self._hosts = hosts
        self._scheme = scheme
        self._policy = policy
        self._timeout = timeout
        self._password = secrets.token_urlsafe(24)
        self._port = 0
        # Until when the store is refused, and how.
        self._denied: tuple[float, FFIError] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._end: asyncio.Event
        self._ready = threading.Event()
        self._tasks: set[asyncio.Future[None]] = set()
        self.refused = ""
        """Why the last connection was refused, or nothing."""
        threading.Thread(target=self._work, name="mixkit-s3", daemon=True).start()
        if not self._ready.wait(timeout):
            raise FileError(f"cannot listen on loopback within {timeout:g} s, which the file system s3 needs")

    @property
    def url(self) -> str:
        """The proxy's, with its password."""
        return f"http://mixkit:{self._password}@127.0.0.1:{self._port}"

    def close(self) -> None:
        """End it, with its connections. From any thread."""
        with suppress(RuntimeError):  # It has ended.
            self._loop.call_soon_threadsafe(self._end.set)

    def _work(self) -> None:
        with suppress(OSError):  # Whoever waits for it is told.
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._come, "127.0.0.1", 0, limit=_HEAD)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._end.wait()

    def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Held here: when both sides wait, nobody else does.
        task = asyncio.ensure_future(self._let_in(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self._timeout):
                head = await reader.readuntil(b"\r\n\r\n")
                target = self._target(head)
                incoming, onward = await self._connected(target)
            if head.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                onward.write(_without_password(head))
            self.refused = ""
            await _between((reader, writer), (incoming, onward))
        except FFIError as exc:
            self.refused = str(exc)
            with suppress(OSError):
                writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Nobody is there: obstore finds that out when the connection ends, and tries again.
            pass
        finally:
            for end in (writer, onward):
                if end is not None:
                    end.close()

    def _target(self, head: bytes) -> Target:
        lines = head.decode("latin-1").split("\r\n")
        expected = "basic " + base64.b64encode(f"mixkit:{self._password}".encode()).decode()
        given = [
            line.partition(":")[2].strip()
            for line in lines
            if line.lower().startswith("proxy-authorization:")
        ]
        if len(given) != 1 or not hmac.compare_digest(given[0].lower().encode(), expected.lower().encode()):
            raise EgressDenied("", "the password of the gate is missing")
        method, _, rest = lines[0].partition(" ")
        where = rest.partition(" ")[0]
        target = parse_url(f"{self._scheme}://{where}/" if method == "CONNECT" else where)
        if target.scheme != self._scheme or (target.host, target.port) not in self._hosts:
            raise EgressDenied(target.host, "the store sent a redirect to another host")
        return target

    async def _connected(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        failure: OSError | None = None
        # obstore tries again what was refused: that is no reason to look the name up again.
        now = asyncio.get_running_loop().time()
        if self._denied is not None and now < self._denied[0]:
            raise self._denied[1]
        try:
            addresses = await egress.check(target, self._policy)
        except FFIError as exc:
            self._denied = now + _DENIED, exc
            raise
        for pinned in addresses:
            try:
                return await asyncio.open_connection(pinned.address, pinned.port, limit=_PIECE)
            except OSError as exc:
                failure = exc
        assert failure is not None
        raise failure


def _without_password(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"proxy-authorization:"))


async def _between(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Pass on what comes from both, until one of them ends."""
    ways = {
        asyncio.ensure_future(_pass_on(one[0], other[1])),
        asyncio.ensure_future(_pass_on(other[0], one[1])),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.wait(ways)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
