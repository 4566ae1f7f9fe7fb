"""The bus inside the process, and what filters match."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from mixkit.bus import BusFull, Filters, MessagesMissed, covers, overlap
from mixkit.local_bus import BusLimits, LocalBus
from mixkit.testing.bus_suite import MESSAGE, QUEUE, FollowedBusSuite


class TestLocalBus(FollowedBusSuite):
    @pytest.fixture
    async def bus(self) -> AsyncIterator[LocalBus]:
        bus = LocalBus(BusLimits(queue=QUEUE, max_message_bytes=MESSAGE))
        yield bus
        await bus.close()


_LEVELS = ["a", "b", "+", "#", ""]
_FILTERS = [
    "/".join(levels)
    for number in (1, 2, 3)
    for levels in itertools.product([*_LEVELS, "$a"], *[_LEVELS] * (number - 1))
    if "#" not in levels[:-1] and levels != ("",)
]
_TOPICS = [
    "/".join(levels)
    for number in (1, 2, 3, 4)
    for levels in itertools.product(["a", "b", "", "$a"], *[["a", "b", ""]] * (number - 1))
    if levels != ("",)
]


def _matches(filter: str, topic: str) -> bool:
    """As MQTT 5, section 4.7, says it, one level at a time."""
    if topic.startswith("$") and filter[0] in "+#":
        return False

    def rest(f: list[str], t: list[str]) -> bool:
        if f[:1] == ["#"]:
            return True
        if not f or not t:
            return not t and (not f or f == ["#"])
        return f[0] in ("+", t[0]) and rest(f[1:], t[1:])

    return rest(filter.split("/"), topic.split("/"))


def test_what_filters_match() -> None:
    filters: Filters[str] = Filters()
    for filter in _FILTERS:
        filters.add(filter, filter)
    for topic in _TOPICS:
        expected = {filter for filter in _FILTERS if _matches(filter, topic)}
        found = filters.matching(topic)
        assert set(found) == expected and len(found) == len(expected)
        assert {filter for filter in _FILTERS if covers(filter, topic)} == expected
    for filter in _FILTERS:
        filters.remove(filter, filter)
        filters.remove(filter, filter)
    assert not any(filters.matching(topic) for topic in _TOPICS)
    assert not filters._root.below


def test_which_filters_cover_and_overlap_others() -> None:
    # The empty topic stands in for all that only filters can mean.
    of = {filter: {topic for topic in [*_TOPICS, ""] if _matches(filter, topic)} for filter in _FILTERS}
    for one, other in itertools.product(_FILTERS, repeat=2):
        assert overlap(one, other) == bool(of[one] & of[other]), (one, other)
        if covers(one, other):
            assert of[other] <= of[one], (one, other)
    assert covers("a/#", "a/+/b") and covers("a/#", "a") and covers("a/+", "a/+")
    assert not covers("a/+", "a/#") and not covers("a/b", "a/+") and not covers("#", "$a/b")


async def test_what_is_retained_is_bounded() -> None:
    bus = LocalBus(BusLimits(max_retained=2, max_retained_bytes=20, share=1))
    await bus.publish("a", b"1", retain=True)
    await bus.publish("b", b"2", retain=True)
    with pytest.raises(BusFull, match="2 retained messages"):
        await bus.publish("c", b"3", retain=True)
    await bus.publish("a", b"x" * 10, retain=True)
    with pytest.raises(BusFull, match="20 is the limit"):
        await bus.publish("b", b"x" * 9, retain=True)
    await bus.publish("b", b"", retain=True)
    await bus.publish("b", b"", retain=True)
    await bus.publish("c", b"3" * 8, retain=True)
    subscription = await bus.subscribe("#")
    assert [(await subscription.next(1)).topic for _ in "ac"] == ["a", "c"]


async def test_no_owner_takes_it_all() -> None:
    bus = LocalBus(BusLimits(max_retained=6, max_subscriptions=6, share=2))
    for number in range(3):
        await bus.publish(f"mine/{number}", b"x", retain=True, owner="me")
        await bus.subscribe("mine/#", owner="me")
    with pytest.raises(BusFull, match="you have 3 retained messages on the bus, and 3 is the limit"):
        await bus.publish("mine/3", b"x", retain=True, owner="me")
    with pytest.raises(BusFull, match="you have 3 subscriptions"):
        await bus.subscribe("mine/#", owner="me")
    await bus.publish("mine/2", b"y", retain=True, owner="me")
    # Another takes a topic over, and gives it back.
    await bus.publish("mine/0", b"yours", retain=True, owner="you")
    await bus.publish("mine/3", b"x", retain=True, owner="me")
    with pytest.raises(BusFull, match="you have 3"):
        await bus.publish("mine/0", b"x", retain=True, owner="me")
    await bus.publish("mine/0", b"", retain=True, owner="me")
    for number in range(3):
        await bus.publish(f"yours/{number}", b"x", retain=True, owner="you")
        await bus.subscribe("yours/#", owner="you")
    with pytest.raises(BusFull, match="there are 6 subscriptions"):
        await bus.subscribe("a", owner="third")
    with pytest.raises(BusFull, match="there are 6 retained messages"):
        await bus.publish("a", b"x", retain=True, owner="third")


async def test_how_many_subscribe_at_once() -> None:
    bus = LocalBus(BusLimits(max_subscriptions=2, share=1))
    first = await bus.subscribe("a")
    await bus.subscribe("a")
    with pytest.raises(BusFull, match="2 subscriptions"):
        await bus.subscribe("a")
    first.close()
    await bus.subscribe("b")
    assert bus.subscriptions == 2


async def test_a_queue_is_bounded_in_bytes() -> None:
    bus = LocalBus(BusLimits(queue_bytes=100))
    subscription = await bus.subscribe("a")
    for _ in range(3):
        await bus.publish("a", b"x" * 60)
    await bus.publish("a", b"small")
    assert len((await subscription.next(1)).payload) == 60
    with pytest.raises(MessagesMissed, match="2 messages"):
        await subscription.next(1)
    assert (await subscription.next(1)).payload == b"small"
    await bus.publish("a", b"x" * 1000)
    assert len((await subscription.next(1)).payload) == 1000, "alone, it fits"


async def test_subscribers_and_publishers_of_several_event_loops() -> None:
    bus = LocalBus()
    subscription = await bus.subscribe("a/+")

    def publish(name: int) -> None:
        async def all() -> None:
            for number in range(100):
                await bus.publish(f"a/{name}", b"%d" % number)

        asyncio.run(all())

    publishing = [asyncio.create_task(asyncio.to_thread(publish, name)) for name in range(4)]
    seen: dict[str, list[int]] = {}
    for _ in range(400):
        message = await subscription.next(15)
        seen.setdefault(message.topic, []).append(int(message.payload))
    await asyncio.gather(*publishing)
    assert seen == {f"a/{name}": list(range(100)) for name in range(4)}
