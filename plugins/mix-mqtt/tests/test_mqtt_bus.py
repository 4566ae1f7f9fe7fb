"""The bus over a real broker: the kernel's suite, and what only a connection can do."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest
from mix_mqtt.bus import BrokerBus
from mix_mqtt.settings import MqttSettings

from mixkit.bus import BusError, BusFull, BusLost, Message, MessagesMissed
from mixkit.testing.bus_suite import MESSAGE, QUEUE, BusSuite

World: TypeAlias = Any
Broker: TypeAlias = Any


class TestBrokerBus(BusSuite):
    @pytest.fixture
    async def bus(self, world: World, shared_broker: Broker) -> AsyncIterator[BrokerBus]:  # type: ignore[override]
        world.to(shared_broker)
        world.change(inbox=QUEUE, max_message_bytes=MESSAGE)
        bus = BrokerBus(world.settings)
        yield bus
        await bus.close()


class TestBusOfAnotherBroker(BusSuite):
    @pytest.fixture
    async def bus(self, world: World, rumqttd: Any) -> AsyncIterator[BrokerBus]:  # type: ignore[override]
        world.change(
            inbox=QUEUE,
            max_message_bytes=MESSAGE,
            dangerous_mqtt_mode=True,
            broker=f"mqtt://127.0.0.1:{rumqttd.port}",
        )
        bus = BrokerBus(world.settings)
        yield bus
        await bus.close()

    async def test_retained_messages_come_first_and_to_new_subscribers_only(
        self, bus: BrokerBus, root: str
    ) -> None:
        """Except that rumqttd sends them to the first subscription of a connection to a filter alone, against MQTT 5,
        section 3.3.1.3: so here the late subscriber has another one."""
        early = await bus.subscribe(f"{root}/a")
        await bus.publish(f"{root}/a", b"kept", retain=True, text=True)
        assert await early.next(15) == Message(f"{root}/a", b"kept", text=True)
        late = await bus.subscribe(f"{root}/+")
        assert await late.next(15) == Message(f"{root}/a", b"kept", retained=True, text=True)
        with pytest.raises(TimeoutError):
            await early.next(0.05)


@pytest.fixture
async def buses(world: World) -> AsyncIterator[Any]:
    made: list[BrokerBus] = []

    def make(at: Broker | asyncio.Server, **settings: Any) -> BrokerBus:
        if isinstance(at, asyncio.Server):
            port = at.sockets[0].getsockname()[1]
            world.change(dangerous_mqtt_mode=True, broker=f"mqtt://127.0.0.1:{port}")
        else:
            world.to(at)
        world.change(**settings)
        made.append(BrokerBus(world.settings))
        return made[-1]

    yield make
    for bus in made:
        await bus.close()


async def test_what_the_broker_refuses_is_an_error_and_harms_nothing(
    buses: Any, shared_broker: Broker
) -> None:
    bus = buses(shared_broker)
    for _ in range(30):  # More than are in flight at once: none of them keeps its place.
        with pytest.raises(
            BusError, match=r"refused the message on topic 'secret/x': Not authorized \(135\)"
        ):
            await bus.publish("secret/x", b"x")
    await bus.publish("open/x", b"x")


async def test_a_subscription_that_is_refused(buses: Any) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(b"\x20\x03\x00\x00\x00")
        data = b""
        while b"secret/x" not in data:
            data += await reader.read(65536)
        # The identifier of the packet stands before its properties and the filter.
        begin = data.index(b"\x82", 10)
        writer.write(b"\x90\x04" + data[begin + 2 : begin + 4] + b"\x00\x87")
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    bus = buses(server)
    with pytest.raises(BusError, match=r"refused the subscription to 'secret/x': Not authorized \(135\)"):
        await bus.subscribe("secret/x")
    await asyncio.sleep(0)
    assert bus.filters == 0
    server.close()


async def test_one_subscription_at_the_broker_for_all_to_a_filter(buses: Any, shared_broker: Broker) -> None:
    bus, topic = buses(shared_broker), secrets.token_hex(6)
    await bus.publish(topic, b"kept", retain=True)
    first = await bus.subscribe(topic)
    assert (await first.next(15)).retained
    others = [await bus.subscribe(topic) for _ in range(100)]
    assert bus.filters == 1
    for other in others:
        assert (await other.next(15)).retained
        with pytest.raises(TimeoutError):
            await other.next(0)
    await bus.publish(topic, b"new")
    assert (await first.next(15)).payload == b"new", "it got what was retained for the others"
    for other in (*others, first):
        other.close()
    await asyncio.sleep(0.05)
    assert bus.filters == 0
    await bus.publish(topic, b"", retain=True)


async def test_a_broker_that_is_killed_and_comes_back(buses: Any, broker: Broker) -> None:
    bus = buses(broker)
    subscription = await bus.subscribe("a/+")
    await bus.publish("a/1", b"1", retain=True)
    assert (await subscription.next(15)).payload == b"1"
    broker.kill()
    with pytest.raises(MessagesMissed, match="the connection to the broker was lost"):
        await subscription.next(15)
    with pytest.raises(BusLost, match="cannot connect"):
        await bus.publish("a/2", b"2")
    broker.start()
    for _ in range(100):
        try:
            await bus.publish("a/3", b"3")
            break
        except BusLost:
            await asyncio.sleep(0.05)
    assert (await subscription.next(15)).payload == b"3"
    with pytest.raises(TimeoutError):
        await subscription.next(0.05)


async def test_what_waits_for_the_broker_s_word_is_lost_with_it(buses: Any) -> None:
    """A peer that accepts the connection, acknowledges nothing, and leaves."""
    seen = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(b"\x20\x03\x00\x00\x00")
        data = b""
        while b"last" not in data:
            data += await reader.read(65536)
        seen.set()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    bus = buses(server)
    waiting = [asyncio.create_task(bus.publish("a", word)) for word in (b"first", b"last")]
    await seen.wait()
    for task in waiting:
        with pytest.raises(BusLost, match="lost before it answered"):
            await task
    server.close()


async def test_a_full_queue_is_an_error_at_once(buses: Any) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(b"\x20\x03\x00\x00\x00")
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    bus = buses(server, queue=30, in_flight=20)
    waiting = [asyncio.create_task(bus.publish("a", b"x")) for _ in range(30)]
    await asyncio.sleep(0)
    with pytest.raises(BusFull, match=r"mqtt\.queue"):
        await bus.publish("a", b"x")
    waiting[25].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    again = asyncio.create_task(bus.publish("a", b"x"))
    await asyncio.sleep(0.05)
    assert not again.done()
    await bus.close()
    results = await asyncio.gather(*waiting, again, return_exceptions=True)
    assert [type(result) for result in results].count(BusLost) == 30
    server.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "connection was closed"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "lost before it answered"),
        (b"\x20\x03\x00\x87\x00", r"Not authorized \(135\)"),
        (b"\x20\x05\x00\x00\x02\x24\x00", "without QoS 1"),
    ],
)
async def test_peers_that_do_not_accept(buses: Any, answer: bytes, said: str) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    bus = buses(server)
    with pytest.raises(BusError, match=said):
        await bus.publish("a", b"x")
    await bus.close()
    server.close()


@pytest.mark.parametrize(
    ("sent", "said"),
    [(b"\x30\xff\xff\xff\x7f" + b"x" * 100, "more than"), (b"\xf0\x00", "is not MQTT|closed")],
)
async def test_a_peer_that_turns_bad(buses: Any, sent: bytes, said: str) -> None:
    """A packet far larger than we said we take, and one of a kind that a client never gets."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(b"\x20\x03\x00\x00\x00")
        await writer.drain()
        writer.write(sent)
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    bus = buses(server)
    with pytest.raises(BusLost, match=said):
        await bus.publish("a", b"x")
    await bus.close()
    server.close()


async def test_a_peer_that_says_nothing(buses: Any) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    bus = buses(server, connect_timeout=0.3)
    with pytest.raises(BusLost, match=r"within 0\.3 s"):
        await bus.publish("a", b"x")
    await bus.close()
    server.close()


async def test_a_wrong_password_or_certificate(buses: Any, shared_broker: Broker, world: World) -> None:
    with pytest.raises(BusLost, match=r"refused the connection: Not authorized"):
        await buses(shared_broker, password="wrong").publish("a", b"x")
    world.names["other.test"] = ["127.0.0.1"]
    bus = buses(shared_broker, broker=f"mqtts://other.test:{shared_broker.port}")
    with pytest.raises(BusLost, match="certificate is not valid"):
        await bus.publish("a", b"x")
    world.names["other.test"] = ["127.0.0.1", "10.1.2.3"]
    with pytest.raises(BusError, match="it resolves to a private address"):
        await bus.publish("a", b"x")


async def test_a_connection_that_nobody_uses_is_closed(buses: Any, shared_broker: Broker) -> None:
    bus = buses(shared_broker, idle=0.1)
    await bus.publish("a", b"x")
    for _ in range(300):
        if bus.idle:
            break
        await asyncio.sleep(0.05)
    assert bus.idle
    await bus.publish("a", b"x")


async def test_a_server_may_follow_what_the_broker_carries() -> None:
    import mix_mqtt

    for settings, has_broker in (
        (MqttSettings(), False),
        (MqttSettings(broker="mqtts://broker.example", prefix="house"), True),
    ):
        carrier = mix_mqtt.mix_topics(SimpleNamespace(settings={"mqtt": settings}.__getitem__))
        assert (carrier.prefix, carrier.broker is not None) == (settings.prefix, has_broker)
        if carrier.broker is not None:
            await carrier.broker().close()
