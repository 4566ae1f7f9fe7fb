"""What agents do with messages: over a real broker, and inside the process."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from mix_mqtt.bus import BrokerBus
from mix_mqtt.pool import bus_for
from mix_mqtt.settings import MqttSettings

from mixkit import Kernel
from mixkit.environment import Env
from mixkit.errors import FFIError, GrantError, LimitExceeded, ProfileError
from mixkit.ffi_call import call_ffi
from mixkit.grants import ALL, Grants
from mixkit.limits import Limits
from mixkit.value import Case

World: TypeAlias = Any


@pytest.fixture(params=["process", "broker"])
def over(request: pytest.FixtureRequest, world: World) -> World:
    """Both buses."""
    if request.param == "broker":
        world.to(request.getfixturevalue("shared_broker"))
    return world


@pytest.fixture
def root() -> str:
    return f"calls-{secrets.token_hex(6)}"


async def test_messages_go_from_run_to_run(over: World, root: str) -> None:
    one, other = over.agent(), over.agent()
    handle = await other.subscribe(f"{root}/+")
    await one.publish(f"{root}/a", "åse")
    await one.publish(f"{root}/b", b"\x00\xff")
    assert await other.message(handle) == {"topic": f"{root}/a", "payload": "åse", "retained": False}
    assert await other.message(handle) == {"topic": f"{root}/b", "payload": b"\x00\xff", "retained": False}
    assert await other.next(handle, 0) == Case("timeout")


async def test_retained(over: World, root: str) -> None:
    agent = over.agent()
    await agent.publish(f"{root}/a", "kept", True)
    handle = await agent.subscribe(f"{root}/#")
    assert await agent.message(handle) == {"topic": f"{root}/a", "payload": "kept", "retained": True}
    await agent.publish(f"{root}/a", "", True)
    assert (await agent.message(handle))["payload"] == ""
    again = await agent.subscribe(f"{root}/#")
    assert await agent.next(again, 50) == Case("timeout")


@pytest.mark.parametrize(
    "short", ["$app", "$workspace", "$user", "$cloudAppUser", "$cloudAppShared", "$cloudAppPublic"]
)
async def test_short_topics_are_of_the_environment(over: World, root: str, short: str) -> None:
    def env(**parts: str) -> Env:
        return Env(**{"workspace": root, "app": "a", "user": "u", **parts})  # type: ignore[arg-type]

    parts = {
        "$workspace": "workspace",
        "$user": "workspace user",
        "$cloudAppUser": "workspace app user",
    }.get(short, "workspace app")
    here = over.agent(env=env())
    handle = await here.subscribe(f"{short}/x/y")
    for part in ("workspace", "app", "user"):
        stranger = over.agent(env=env(**{part: f"{root}-other"}))
        await stranger.publish(f"{short}/x/y", f"other {part}")
    await over.agent(env=env()).publish(f"{short}/x/y", "mine")
    shared = [part for part in ("workspace", "app", "user") if part not in parts.split()]
    for expected in [*(f"other {part}" for part in shared), "mine"]:
        found = await here.message(handle)
        assert (found["topic"], found["payload"]) == (f"{short}/x/y", expected)
    assert await here.next(handle, 0) == Case("timeout")
    lacking = over.agent(env=Env())
    assert "there is no workspace here" in await lacking.refused("publish", f"{short}/x", "x")


async def test_names_in_the_environment_cannot_leave_their_level(world: World) -> None:
    victim = world.agent(env=Env(workspace="w", app="a", user="u"))
    handle = await victim.subscribe("$cloudAppUser/x")
    for app, user in [("a/u", "x"), ("a", "+"), ("a", "#"), ("a%2Fu", "u"), ("", "a/u")]:
        agent = world.agent(env=Env(workspace="w", app=app, user=user))
        await agent.call("publish", "$cloudAppUser/x", "theirs")
        await agent.call("subscribe", "$cloudAppUser/x")
    await victim.publish("$cloudAppUser/x", "mine")
    assert (await victim.message(handle))["payload"] == "mine"


@pytest.mark.parametrize(
    ("call", "topic", "said"),
    [
        ("publish", "", "1 to 65535 bytes"),
        ("publish", "a/+", r"no \+"),
        ("publish", "/a", "no slash at the beginning"),
        ("publish", "a//b", "no two in a row"),
        ("publish", "a\x00", r"U\+0000"),
        ("publish", "a\ufffe", r"U\+FFFE"),
        ("publish", "/".join("a" * 201), "at most 200 levels"),
        ("publish", "å" * 40_000, "1 to 65535 bytes"),
        ("publish", "$SYS/x", r"expected one of \$app"),
        ("publish", "$app", r"expected \$app/name"),
        ("publish", "$app/", r"expected \$app/name"),
        ("publish", "mixkit/app/w/a/x", "are the host's"),
        ("subscribe", "$app/+", r"without \+ and #"),
        ("subscribe", "$share/g/a", "shared subscriptions"),
        ("subscribe", "$SYS/#", r"expected one of \$app"),
        ("subscribe", "#", "are the host's"),
        ("subscribe", "+/app/#", "are the host's"),
        ("subscribe", "mixkit", "are the host's"),
        ("subscribe", "a/#/b", "# as the last one"),
    ],
)
async def test_topics_that_are_refused(over: World, call: str, topic: str, said: str) -> None:
    args = (topic, "x") if call == "publish" else (topic,)
    with pytest.raises(FFIError, match=said):
        raise FFIError(await over.agent().refused(call, *args))


async def test_the_grant_names_the_topics(over: World, root: str) -> None:
    grants = Grants(["*"], {"mqtt.topics": [f"{root}/+/in", f"{root}/out/#", "$app/#"]})
    agent, free = over.agent(grants), over.agent()
    handle = await agent.subscribe(f"{root}/+/in")
    for filter in (f"{root}/#", f"{root}/+/+", f"{root}/+", "$user/x", f"{root}/a/in/#"):
        assert "not granted" in await agent.refused("subscribe", filter)
    for topic in (f"{root}/a/other", f"{root}", "$workspace/x"):
        assert "mqtt.topics" in await agent.refused("publish", topic, "x")
    await agent.publish("$app/deep/er", "x")
    await agent.publish(f"{root}/out", "x")
    await free.publish(f"{root}/a/other", "unseen")
    await free.publish(f"{root}/a/in", "seen")
    assert (await agent.message(handle))["payload"] == "seen"
    narrowed = over.agent(grants & Grants(["*"], {"mqtt.topics": [f"{root}/x/in"]}))
    await narrowed.subscribe(f"{root}/x/in")
    assert "not granted" in await narrowed.refused("subscribe", f"{root}/+/in")


async def test_runs_with_other_grants_have_other_connections(world: World, shared_broker: Any) -> None:
    world.to(shared_broker)

    async def bus(grants: Grants = ALL, **env: str) -> BrokerBus:
        state = world.agent(grants, Env(**{"workspace": "w", "app": "a", **env})).state
        found = await bus_for(state, world.settings)
        assert isinstance(found, BrokerBus)
        return found

    assert await bus() is await bus(user="someone")
    narrow = Grants(["*"], {"mqtt.topics": ["a/#"]})
    buses = {await bus(), await bus(narrow), await bus(app="b"), await bus(workspace="v")}
    assert len(buses) == 4
    for one in buses:
        await one.publish("a/x", b"x")
    world.change(connections=2)
    await bus()
    await (await bus(app="b")).publish("a/x", b"x")
    await (await bus()).publish("a/x", b"x")
    agent = world.agent(env=Env(workspace="third"))
    assert "mqtt.connections" in await agent.refused("publish", "a/x", "x")


async def test_a_run_that_ends_gives_its_subscriptions_back(over: World, root: str) -> None:
    agent = over.agent()
    for name in "abc":
        await agent.subscribe(f"{root}/{name}")
    bus: Any = await bus_for(agent.state, over.settings)
    # As a run ends whose guest ran in a thread.
    assert await asyncio.to_thread(agent.state.close) == []
    await asyncio.sleep(0.05)
    assert (bus.filters if isinstance(bus, BrokerBus) else bus.subscriptions) == 0


async def test_how_many_subscriptions_a_run_has(over: World, root: str) -> None:
    over.change(subscriptions=2)
    agent = over.agent()
    first = await agent.subscribe(f"{root}/a")
    await agent.subscribe(f"{root}/a")
    assert "mqtt.subscriptions" in await agent.refused("subscribe", f"{root}/b")
    for _ in range(2):
        await agent.call("unsubscribe", first)
    await agent.subscribe(f"{root}/b")
    await over.agent().subscribe(f"{root}/b")
    with pytest.raises(FFIError, match="not an open MqttSubscription"):
        await agent.next(first)


async def test_a_slow_reader_is_told_what_it_missed(over: World, root: str) -> None:
    agent = over.agent()
    slow = await agent.subscribe(f"{root}/a")
    for number in range(over.settings.inbox + 3):
        await agent.publish(f"{root}/a", str(number))
    await agent.publish(f"{root}/last", "x")
    for number in range(over.settings.inbox):
        assert (await agent.message(slow))["payload"] == str(number)
    missed = await agent.next(slow)
    assert missed.name == "missed" and "3 messages were missed" in missed.arg
    await agent.publish(f"{root}/a", "again")
    assert (await agent.message(slow))["payload"] == "again"


async def test_what_passes_counts(over: World, root: str) -> None:
    over.change(max_message_bytes=10_000)
    agent = over.agent(outgoing_bytes=12_000)
    assert "mqtt.max_message_bytes" in await agent.refused("publish", f"{root}/a", "x" * 10_001)
    handle = await agent.subscribe(f"{root}/a")
    await agent.publish(f"{root}/a", "x" * 10_000)
    with pytest.raises(LimitExceeded, match="outgoing_bytes"):
        await agent.next(handle)


async def test_the_run_s_time_ends_a_wait(over: World, root: str) -> None:
    agent = over.agent(wall_time=0.5)
    handle = await agent.subscribe(f"{root}/a")
    with pytest.raises(LimitExceeded, match="wall_time"):
        await agent.next(handle, None)
    other = over.agent()
    with pytest.raises(FFIError, match="milliseconds from 0"):
        await other.next(await other.subscribe(f"{root}/a"), -1)


async def test_the_run_s_time_ends_a_publish() -> None:
    """A peer that accepts the connection and acknowledges nothing."""

    left: list[asyncio.StreamWriter] = []

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left.append(writer)
        await reader.readexactly(10)
        writer.write(b"\x20\x03\x00\x00\x00")

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    overrides = {
        "settings.mqtt.dangerous_mqtt_mode": True,
        "settings.mqtt.broker": f"mqtt://127.0.0.1:{port}",
    }
    with Kernel("all", overrides=overrides) as kernel, pytest.raises(LimitExceeded, match="wall_time"):
        await call_ffi(kernel, "$mqtt_publish", ["a", "x"], limits=Limits(wall_time=0.5))
    server.close()
    for writer in left:
        writer.close()
        await writer.wait_closed()


async def test_a_broker_that_is_killed_is_told_to_runs(world: World, broker: Any) -> None:
    world.to(broker)
    agent = world.agent()
    handle = await agent.subscribe("a")
    broker.kill()
    missed = await agent.next(handle)
    assert missed.name == "missed" and "connection to the broker was lost" in missed.arg
    assert "cannot connect" in await agent.refused("publish", "a", "x")
    broker.start()
    for _ in range(100):
        if (await agent.call("publish", "a", "again")).name == "ok":
            break
    assert (await agent.message(handle))["payload"] == "again"


def test_processes_that_are_forked_have_connections_of_their_own(shared_broker: Any, root: str) -> None:
    """A server with --preload loads in one process and forks its workers."""
    script = f"""
import asyncio, os
from mixkit import Kernel
from mixkit.ffi_call import call_ffi

overrides = {{
    "settings.mqtt.broker": "mqtts://localhost:{shared_broker.port}",
    "settings.mqtt.dangerous_mqtt_mode": True,
    "settings.mqtt.ca_file": "{shared_broker.folder}/ca.pem",
    "settings.mqtt.user": "agents",
    "settings.mqtt.password": "a b:c",
}}

async def publish(kernel, name):
    for number in range(20):
        answer = await call_ffi(kernel, "$mqtt_publish", [f"{root}/{{name}}", str(number)])
        assert answer.name == "ok", answer

kernel = Kernel("all", overrides=overrides)
asyncio.run(publish(kernel, "before"))
children = []
for name in range(4):
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(publish(kernel, name))
        except BaseException as exc:
            print(repr(exc), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
asyncio.run(publish(kernel, "after"))
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_broker_processes_that_are_forked_hear_each_other(tmp_path: Path) -> None:
    """As the workers of a server with --preload do."""
    script = f"""
import asyncio, os
from pathlib import Path
from mixkit import Kernel, codec
from mixkit.environment import Env
from mixkit.state import State
from mixkit.grants import ALL
from mixkit.limits import Budget, Limits

kernel = Kernel("all", environ={{}})
kernel.share_bus(Path("{tmp_path}") / "bus")

async def call(state, name, *args):
    words = codec.encode(list(args), token=state.token_to_handle)
    _, answer = kernel.ffis.dispatch(state, f"$mqtt_{{name}}".encode(), words)
    found = codec.decode(await answer, token=state.token_from_handle)
    assert found.name != "error", found
    return found

async def work(number, ready, go):
    env = Env(workspace="w", app="a", user="u")
    state = State(grants=ALL, env=env, budget=Budget(Limits()), services=kernel)
    handle = (await call(state, "subscribe", "$app/x")).arg
    os.write(ready, b"x")
    await asyncio.to_thread(os.read, go, 1)
    for turn in range(20):
        await call(state, "publish", "$app/x", f"{{number}}-{{turn}}")
    heard = [(await call(state, "next", handle, 20_000)).arg["payload"] for _ in range(80)]
    assert sorted(heard) == sorted(f"{{n}}-{{turn}}" for n in range(4) for turn in range(20)), heard
    assert (await call(state, "next", handle, 50)).name == "timeout"
    assert state.close() == []
    os.write(ready, b"x")
    # Whoever carries the messages stays until all have heard everything.
    await asyncio.to_thread(os.read, go, 1)

ready, go = os.pipe(), os.pipe()
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(work(number, ready[1], go[0]))
        except BaseException as exc:
            print(repr(exc), flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
os.close(ready[1])
for _ in range(2):
    for _ in children:
        os.read(ready[0], 1)
    os.write(go[1], b"x" * 4)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("value", ["a/#", [1], ["a/#/b"], ["$none/a"], None, {"a": 1}])
def test_values_that_the_grant_option_cannot_have(value: object) -> None:
    with Kernel("all") as kernel, pytest.raises(GrantError, match=r"grant option mqtt\.topics: expected"):
        kernel.ffis.check_grants(Grants([], {"mqtt.topics": value}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"broker": "mqtt://example.com"}, "expected mqtts"),
        ({"broker": "https://example.com"}, "expected mqtts"),
        ({"broker": "mqtts://u:p@example.com"}, "user name"),
        ({"broker": "mqtts://example.com/path"}, "no path"),
        ({"broker": "mqtts://10.0.0.1"}, "a private address"),
        ({"broker": "mqtts://169.254.169.254"}, "metadata"),
        ({"broker": "example.com"}, "absolute URL"),
        ({"prefix": "a/b"}, "letters"),
        ({"prefix": ""}, "letters"),
        ({"password": "x"}, "user"),
        ({"allow_private": ("x",)}, "address"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        MqttSettings(**settings)


def test_doctor(tmp_path: Any) -> None:
    from mix_mqtt.doctor import checks

    assert [check.level for check in checks(MqttSettings())] == ["ok"]
    good = MqttSettings(broker="mqtts://example.com", user="u", password="hidden")
    assert [check.level for check in checks(good)] == ["ok", "ok"]
    assert "hidden" not in str(checks(good))
    for name in ("ca_file", "client_certificate"):
        (tmp_path / name).write_text("no PEM")
        bad = MqttSettings(broker="mqtts://example.com", **{name: str(tmp_path / name)})
        assert checks(bad)[1].level == "error" and name in checks(bad)[1].remedy
    assert checks(MqttSettings(broker="mqtt://127.0.0.1", dangerous_mqtt_mode=True))[0].level == "warning"
