"""Real TLS WebSocket servers on loopback, and calls by way of FFI dispatch. Only DNS is made up: it belongs to the
outside world."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from mix_ws.ffis import group
from mix_ws.settings import WsSettings
from websockets.asyncio.server import ServerConnection, serve

from mixkit import codec, egress
from mixkit.ffi import FFITable
from mixkit.grants import ALL, Grants
from mixkit.limits import Budget, Limits
from mixkit.state import NoServices, State
from mixkit.value import Case, Token

TABLE = FFITable([group])
Handler = Callable[[ServerConnection], Awaitable[None]]


class Agent:
    """A run that calls `$ws_*` as a guest would."""

    def __init__(self, world: World, grants: Grants, limits: Limits) -> None:
        services = _Services(world)
        self.state = State(grants=grants, budget=Budget(limits), services=services)

    async def call(self, name: str, *args: Any) -> Any:
        words = codec.encode(list(args), token=self.state.token_to_handle)
        _, pending = TABLE.dispatch(self.state, f"$ws_{name}".encode(), words)
        budget = self.state.budget
        try:
            # As a run does, which is stopped at its deadline.
            answer = await asyncio.wait_for(pending, budget.remaining())
        except TimeoutError:
            raise budget.exceeded("wall_time") from None
        return codec.decode(answer, token=self.state.token_from_handle)

    async def connect(self, url: str, **request: Any) -> Any:
        answer = await self.call("connect", {"url": url, **request})
        assert answer.name == "ok", answer.arg
        return answer.arg

    async def refused(self, url: str, **request: Any) -> str:
        answer = await self.call("connect", {"url": url, **request})
        assert answer.name == "error", answer
        message: str = answer.arg
        return message

    async def receive(self, socket: Token, *args: Any) -> Case:
        found: Case = await self.call("receive", socket, *args)
        return found


class World:
    """What runs live in: names, settings, servers."""

    def __init__(self, settings: WsSettings, context: ssl.SSLContext, stack: AsyncExitStack) -> None:
        self.settings = settings
        self.names: dict[str, list[str]] = {"server.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
        self.asked: list[str] = []
        self.context = context
        self.stack = stack
        self.agents: list[Agent] = []

    async def resolve(self, host: str) -> list[str]:
        self.asked.append(host)
        if host not in self.names:
            raise OSError(f"no name {host}")
        return self.names[host]

    def agent(self, grants: Grants = ALL, **limits: Any) -> Agent:
        agent = Agent(self, grants, Limits(**limits))
        self.agents.append(agent)
        return agent

    def change(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **settings)

    async def serve(self, handler: Handler, **options: Any) -> str:
        """Start a server, and open its port to agents. Answers its URL."""
        server = await self.stack.enter_async_context(
            serve(handler, "127.0.0.1", 0, ssl=self.context, **options)
        )
        return self.open(server.sockets[0].getsockname()[1])

    async def raw(self, answer: bytes) -> str:
        """A server that says these bytes to whatever it is asked, and reads on."""

        async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(say, "127.0.0.1", 0, ssl=self.context)
        self.stack.callback(server.close)
        return self.open(server.sockets[0].getsockname()[1])

    def open(self, port: int) -> str:
        self.change(allow_private=(*self.settings.allow_private, f"127.0.0.1:{port}"))
        return f"wss://server.test:{port}/"


class _Services(NoServices):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def settings(self, plugin: str) -> WsSettings:
        assert plugin == "ws"
        return self._world.settings


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    yield path


@pytest.fixture
async def world(
    authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("server.test", "other.test", "127.0.0.1").configure_cert(context)
    async with AsyncExitStack() as stack:
        world = World(WsSettings(ca_file=str(ca_file), connect_timeout=5, close_timeout=1), context, stack)
        monkeypatch.setattr(egress, "system_resolver", world.resolve)
        yield world
        for agent in world.agents:
            assert agent.state.close() == []
        # The last words of the connections that were open.
        await asyncio.sleep(0)
