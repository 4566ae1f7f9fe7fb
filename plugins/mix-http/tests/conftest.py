"""A real TLS server on loopback that says exactly the bytes a test wants, and calls by way of FFI dispatch.

Only DNS is made up: it belongs to the outside world.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from mix_http.ffis import group
from mix_http.settings import HttpSettings

from mixkit import codec, egress
from mixkit.ffi import FFITable
from mixkit.grants import ALL, Grants
from mixkit.limits import Budget, Limits
from mixkit.state import NoServices, State


@dataclass(frozen=True)
class Seen:
    """A request as the server got it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    certificate: Mapping[str, Any] | None

    @property
    def host(self) -> str:
        return self.headers["host"]


Reply = bytes | Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each path with its reply. A reply without Content-Length or chunks ends with the connection."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.seen: list[Seen] = []
        self.connections = 0
        self.port = 0
        self.stubborn = False
        """Keep a connection open even when the client asks to close it."""
        self._tasks: set[asyncio.Task[None]] = set()

    def reply(self, path: str, body: bytes | str = b"", status: int = 200, **headers: str) -> None:
        """Answer the path with a whole response; underscores in header names are hyphens."""
        content = body.encode() if isinstance(body, str) else body
        lines = [f"HTTP/1.1 {status} Reason", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.replies[path] = "\r\n".join(lines).encode() + b"\r\n\r\n" + content

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        self.reply(path, status=status, Location=location)

    def url(self, path: str, host: str = "server.test") -> str:
        return f"https://{host}:{self.port}{path}"

    async def start(self, context: ssl.SSLContext | None) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def open(self) -> int:
        """How many connections the client keeps, once those that it closes are gone."""
        _, pending = await asyncio.wait(self._tasks, timeout=0.5)
        return len(pending)

    async def stop(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while await self._one(reader, writer, number):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers or name.lower() == "x-many", f"{name} came twice"
            headers[name.lower()] = value
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        seen = Seen(method, path, headers, body, number, writer.get_extra_info("peercert"))
        self.seen.append(seen)
        reply = self.replies[path.partition("?")[0]]
        if callable(reply):
            await reply(seen, writer)
            return False
        writer.write(reply)
        await writer.drain()
        # A reply that does not say where it ends is ended by the connection, as HTTP/1.0 did.
        return b"content-length" in reply.lower() and (self.stubborn or headers.get("connection") != "close")


@dataclass
class World:
    """What a call runs in: names, settings, an interceptor, and the CA that the client trusts."""

    authority: trustme.CA
    settings: HttpSettings
    names: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    intercept: Callable[[Any], Any] | None = None
    state: State | None = None

    async def resolve(self, host: str) -> list[str]:
        self.asked.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError(f"no name {host}")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def change(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **settings)

    async def do(
        self,
        request: dict[str, Any],
        *,
        name: str = "$http_do",
        grants: Grants = ALL,
        limits: Limits | None = None,
    ) -> Any:
        """The value that an agent gets for the call."""
        state = State(grants=grants, budget=Budget(limits or Limits()), services=_Services(self))
        self.state = state
        words = codec.encode([request], token=state.token_to_handle)
        try:
            _, pending = TABLE.dispatch(state, name.encode(), words)
            return codec.decode(await pending)
        finally:
            state.close()

    async def error(self, request: dict[str, Any], **options: Any) -> str:
        """The message of a call that gets no response, which is then all that the agent gets."""
        answer = await self.do(request, **options)
        assert list(answer) == ["error"], answer
        message: str = answer["error"]
        return message


class _Services(NoServices):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def settings(self, plugin: str) -> HttpSettings:
        assert plugin == "http"
        return self._world.settings

    async def intercept(self, request: Any) -> Any | None:
        return self._world.intercept(request) if self._world.intercept else None


TABLE = FFITable([group])


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def server(authority: trustme.CA) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(
        "server.test", "other.test", "rebind.test", "*.many.test", "127.0.0.1"
    ).configure_cert(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(context)
    server = Server()
    listener = await server.start(context)
    yield server
    await server.stop(listener)


@pytest.fixture
def world(
    authority: trustme.CA, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    settings = HttpSettings(ca_file=str(ca_file), allow_private=(f"127.0.0.1:{server.port}",), timeout=10)
    world = World(authority, settings)
    for host in ("server.test", "other.test"):
        world.names[host] = [["127.0.0.1"]]
    monkeypatch.setattr(egress, "system_resolver", world.resolve)
    yield world
