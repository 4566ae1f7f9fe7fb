"""A real broker on loopback, and calls by way of FFI dispatch. Only DNS is made up: it belongs to the outside world."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from mix_mqtt.ffis import group
from mix_mqtt.settings import MqttSettings

from mixkit import codec, egress
from mixkit.environment import Env
from mixkit.ffi import FFITable
from mixkit.grants import ALL, Grants
from mixkit.limits import Budget, Limits
from mixkit.local_bus import BusLimits, LocalBus
from mixkit.state import NoServices, State
from mixkit.value import Case, Token

TABLE = FFITable([group])
MOSQUITTO = shutil.which("mosquitto", path="/usr/bin:/usr/sbin:/usr/local/sbin:/usr/local/bin:/opt/bin")
USER, PASSWORD = "agents", "a b:c"


class Broker:
    """mosquitto on a free port of loopback, TLS and a password; nobody may use what is below `secret`."""

    def __init__(self, folder: Path, authority: trustme.CA, *options: str) -> None:
        assert MOSQUITTO is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        certificate = authority.issue_cert("broker.test", "localhost")
        certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
        for number, pem in enumerate(certificate.cert_chain_pems):
            pem.write_to_path(str(folder / "cert.pem"), append=number > 0)
        (folder / "acl").write_text(f"user {USER}\ntopic readwrite #\ntopic deny secret/#\n")
        passwords = folder / "passwords"
        passwords.touch(0o600)
        tool = Path(MOSQUITTO).parent / "mosquitto_passwd"
        tool = tool if tool.exists() else Path(shutil.which("mosquitto_passwd") or "mosquitto_passwd")
        subprocess.run([tool, "-b", passwords, USER, PASSWORD], check=True, capture_output=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"certfile {folder}/cert.pem",
            f"keyfile {folder}/key.pem",
            "allow_anonymous false",
            f"password_file {passwords}",
            f"acl_file {folder}/acl",
            "persistence false",
            "user root",
            *options,
        ]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
        )
        log.close()
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                try:
                    self.process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
        raise AssertionError(f"mosquitto did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Agent:
    """A run that calls `$mqtt_*` as a guest would."""

    def __init__(self, world: World, grants: Grants, env: Env, limits: Limits) -> None:
        self.state = State(grants=grants, env=env, budget=Budget(limits), services=_Services(world))

    async def call(self, name: str, *args: Any) -> Any:
        words = codec.encode(list(args), token=self.state.token_to_handle)
        _, pending = TABLE.dispatch(self.state, f"$mqtt_{name}".encode(), words)
        budget = self.state.budget
        if inspect.isawaitable(pending):
            try:
                # As a run does, which is stopped at its deadline.
                pending = await asyncio.wait_for(pending, budget.remaining())
            except TimeoutError:
                raise budget.exceeded("wall_time") from None
        return codec.decode(pending, token=self.state.token_from_handle)

    async def publish(self, *args: Any) -> None:
        answer = await self.call("publish", *args)
        assert answer.name == "ok", answer.arg

    async def subscribe(self, filter: str) -> Token:
        answer = await self.call("subscribe", filter)
        assert answer.name == "ok", answer.arg
        handle: Token = answer.arg
        return handle

    async def refused(self, name: str, *args: Any) -> str:
        answer = await self.call(name, *args)
        assert answer.name == "error", answer
        message: str = answer.arg
        return message

    async def next(self, handle: Token, timeout_ms: float | None = 15_000) -> Case:
        found: Case = await self.call("next", handle, timeout_ms)
        return found

    async def message(self, handle: Token) -> Any:
        found = await self.next(handle)
        assert found.name == "message", found
        return found.arg


class World:
    """What runs live in: names, settings, the process's bus."""

    def __init__(self, settings: MqttSettings) -> None:
        self.settings = settings
        self.names = {"broker.test": ["127.0.0.1"]}
        self.bus = LocalBus(BusLimits(queue=settings.inbox))
        self.agents: list[Agent] = []

    async def resolve(self, host: str) -> list[str]:
        if host not in self.names:
            raise OSError(f"no name {host}")
        return self.names[host]

    def agent(self, grants: Grants = ALL, env: Env | None = None, **limits: Any) -> Agent:
        env = env or Env(workspace="w", app="a", user="u")
        agent = Agent(self, grants, env, Limits(**limits))
        self.agents.append(agent)
        return agent

    def change(self, **settings: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **settings)

    def to(self, broker: Broker) -> None:
        self.change(
            broker=f"mqtts://broker.test:{broker.port}",
            allow_private=(f"127.0.0.1:{broker.port}",),
            ca_file=str(broker.folder / "ca.pem"),
            user=USER,
            password=PASSWORD,
        )


class _Services(NoServices):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.bus = world.bus

    def settings(self, plugin: str) -> MqttSettings:
        assert plugin == "mqtt"
        return self._world.settings


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def shared_broker(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests that leave it as it is."""
    if MOSQUITTO is None:
        pytest.skip("there is no mosquitto; Debian's package of that name has it")
    broker = Broker(tmp_path_factory.mktemp("broker"), authority)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def broker(authority: trustme.CA, tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, that it may kill."""
    if MOSQUITTO is None:
        pytest.skip("there is no mosquitto; Debian's package of that name has it")
    broker = Broker(tmp_path, authority)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Without a broker, until a test sets one."""
    world = World(MqttSettings(connect_timeout=10, inbox=50))
    monkeypatch.setattr(egress, "system_resolver", world.resolve)
    yield world
    for agent in world.agents:
        assert agent.state.close() == []
    await asyncio.sleep(0)


class Rumqttd:
    """A broker by other people than mosquitto's, without TLS and passwords: rumqttd, which iotcore brings."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        lines = [
            "id = 0",
            "[router]",
            "id = 0",
            "max_connections = 100",
            "max_outgoing_packet_count = 200",
            "max_segment_size = 10485760",
            "max_segment_count = 10",
            "[v5.1]",
            'name = "v5"',
            f'listen = "127.0.0.1:{self.port}"',
            "next_connection_delay_ms = 1",
            "[v5.1.connections]",
            "connection_timeout_ms = 60000",
            "max_payload_size = 20480000",
            "max_inflight_count = 100",
        ]
        config, log = folder / "rumqttd.toml", folder / "log"
        config.write_text("\n".join(lines) + "\n")
        with log.open("ab") as out:
            command = [sys.executable, "-m", "iotcore", "--config", str(config)]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"rumqttd did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def rumqttd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rumqttd]:
    broker = Rumqttd(tmp_path_factory.mktemp("rumqttd"))
    yield broker
    broker.process.kill()
    broker.process.wait()
