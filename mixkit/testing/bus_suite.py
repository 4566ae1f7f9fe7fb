"""What every bus must do. Derive a test class and override one fixture:

class TestMyBus(BusSuite):
    @pytest.fixture
    async def bus(self):
        bus = MyBus(queue=QUEUE, max_message_bytes=MESSAGE)
        yield bus
        await bus.close()
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from contextlib import suppress

import pytest

from mixkit.bus import (
    Beginning,
    Bus,
    BusError,
    BusLost,
    FollowedBus,
    Message,
    MessagesMissed,
    Subscription,
)
from mixkit.rings import Position

__all__ = ["MESSAGE", "QUEUE", "BusSuite", "FollowedBusSuite"]

QUEUE = 50
"""Messages that may wait for a subscriber of the bus under test."""

MESSAGE = 100_000
"""Bytes of a message of the bus under test."""

_SOON = 15.0
"""Seconds within which what was published arrives, on a busy machine too."""

_NO_TEXTS = ["", "a\x00", "a\n", "a\x85", "\ufdd0", "\U0001ffff", "\ud800", "/".join("a" * 201), "å" * 32_768]


async def _received(subscription: Subscription, number: int) -> list[Message]:
    return [await subscription.next(_SOON) for _ in range(number)]


async def _nothing(subscription: Subscription) -> None:
    with pytest.raises(TimeoutError):
        await subscription.next(0.05)


class BusSuite:
    @pytest.fixture
    def bus(self) -> Bus:
        raise NotImplementedError("override the fixture `bus` with a bus of yours")

    @pytest.fixture
    def root(self) -> str:
        """A first level that no other test has: a broker keeps what is retained."""
        return f"suite-{secrets.token_hex(6)}"

    async def test_messages_arrive_in_order_at_all_who_subscribe(self, bus: Bus, root: str) -> None:
        one, other = await bus.subscribe(f"{root}/a"), await bus.subscribe(f"{root}/a")
        for number in range(30):
            await bus.publish(f"{root}/a", b"%d" % number)
        expected = [Message(f"{root}/a", b"%d" % number) for number in range(30)]
        assert await _received(one, 30) == expected
        assert await _received(other, 30) == expected
        await _nothing(one)

    @pytest.mark.parametrize(
        ("filter", "there", "elsewhere"),
        [
            ("a/b", ["a/b"], ["a", "a/b/", "a/B", "a/b/c"]),
            ("a/+", ["a/b", "a/"], ["a", "a/b/c", "b/b"]),
            ("+/b", ["a/b", "/b"], ["b", "a/b/c"]),
            ("a/+/c", ["a/b/c", "a//c"], ["a/c", "a/b/b"]),
            ("a/#", ["a", "a/", "a/b/c"], ["b", "ab"]),
            ("#", ["a", "a/b", "$x"], []),
            ("å/☂", ["å/☂"], ["a/☂"]),
        ],
    )
    async def test_what_a_filter_matches(
        self, bus: Bus, root: str, filter: str, there: list[str], elsewhere: list[str]
    ) -> None:
        subscription = await bus.subscribe(f"{root}/{filter}")
        for topic in (*elsewhere, *there):
            await bus.publish(f"{root}/{topic}", topic.encode())
        assert [m.payload.decode() for m in await _received(subscription, len(there))] == there
        await _nothing(subscription)

    async def test_wildcards_at_the_first_level_leave_out_topics_with_a_dollar(
        self, bus: Bus, root: str
    ) -> None:
        subscription = await bus.subscribe(f"+/{root}")
        with suppress(BusError):  # Brokers may keep such topics for themselves.
            await bus.publish(f"$none/{root}", b"no")
        await bus.publish(f"x/{root}", b"yes")
        assert [m.payload for m in await _received(subscription, 1)] == [b"yes"]

    async def test_filters_that_overlap_get_a_message_once_each(self, bus: Bus, root: str) -> None:
        filters = [f"{root}/#", f"{root}/+", f"{root}/a", f"{root}/a"]
        subscriptions = [await bus.subscribe(filter) for filter in filters]
        await bus.publish(f"{root}/a", b"1")
        for subscription in subscriptions:
            assert await _received(subscription, 1) == [Message(f"{root}/a", b"1")]
        for subscription in subscriptions:
            await _nothing(subscription)

    async def test_payloads_are_what_they_were(self, bus: Bus, root: str) -> None:
        subscription = await bus.subscribe(f"{root}/a")
        payloads = [b"", b"\x00\xff", "å".encode(), b"x" * MESSAGE]
        for payload in payloads:
            await bus.publish(f"{root}/a", payload)
            assert await subscription.next(_SOON) == Message(f"{root}/a", payload)
        await bus.publish(f"{root}/a", "å".encode(), text=True)
        assert (await subscription.next(_SOON)).text

    async def test_retained_messages_come_first_and_to_new_subscribers_only(
        self, bus: Bus, root: str
    ) -> None:
        early = await bus.subscribe(f"{root}/+")
        await bus.publish(f"{root}/a", b"old", retain=True)
        await bus.publish(f"{root}/a", b"kept", retain=True, text=True)
        await bus.publish(f"{root}/b", b"passing")
        assert [m.retained for m in await _received(early, 3)] == [False] * 3
        late = await bus.subscribe(f"{root}/+")
        assert await late.next(_SOON) == Message(f"{root}/a", b"kept", retained=True, text=True)
        await bus.publish(f"{root}/a", b"new")
        assert await late.next(_SOON) == Message(f"{root}/a", b"new")
        assert await early.next(_SOON) == Message(f"{root}/a", b"new")
        await _nothing(early)
        await bus.publish(f"{root}/a", b"", retain=True)
        assert await late.next(_SOON) == Message(f"{root}/a", b"")
        await _nothing(await bus.subscribe(f"{root}/+"))

    async def test_a_slow_subscriber_is_told_what_it_missed(self, bus: Bus, root: str) -> None:
        slow, quick = await bus.subscribe(f"{root}/a"), await bus.subscribe(f"{root}/#")
        for number in range(QUEUE + 7):
            await bus.publish(f"{root}/a", b"%d" % number)
            assert (await quick.next(_SOON)).payload == b"%d" % number
        assert [m.payload for m in await _received(slow, QUEUE)] == [b"%d" % n for n in range(QUEUE)]
        with pytest.raises(MessagesMissed, match="7 messages were missed"):
            await slow.next(_SOON)
        await bus.publish(f"{root}/a", b"again")
        assert (await slow.next(_SOON)).payload == b"again"

    async def test_a_subscription_that_is_closed(self, bus: Bus, root: str) -> None:
        one, other = await bus.subscribe(f"{root}/a"), await bus.subscribe(f"{root}/a")
        await bus.publish(f"{root}/a", b"1")
        assert (await other.next(_SOON)).payload == b"1"
        # From a thread, as when a run ends whose guest ran in one.
        await asyncio.to_thread(one.close)
        one.close()
        await bus.publish(f"{root}/a", b"2")
        assert (await other.next(_SOON)).payload == b"2"
        assert (await one.next(_SOON)).payload == b"1"
        with pytest.raises(BusLost, match="closed"):
            await one.next(_SOON)
        again = await bus.subscribe(f"{root}/a")
        await bus.publish(f"{root}/a", b"3")
        assert (await again.next(_SOON)).payload == b"3"

    async def test_closing_ends_a_wait(self, bus: Bus, root: str) -> None:
        subscription = await bus.subscribe(f"{root}/a")
        waiting = asyncio.create_task(subscription.next(_SOON))
        threading.Timer(0.05, subscription.close).start()
        with pytest.raises(BusLost, match="closed"):
            await waiting

    async def test_a_wait_ends_and_loses_nothing(self, bus: Bus, root: str) -> None:
        subscription = await bus.subscribe(f"{root}/a")
        with pytest.raises(TimeoutError):
            await subscription.next(0)
        waiting = asyncio.create_task(subscription.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await bus.publish(f"{root}/a", b"1")
        assert (await subscription.next(_SOON)).payload == b"1"

    @pytest.mark.parametrize(
        "topic",
        [
            "",
            "a+",
            "a/+",
            "#",
            "a\x00",
            "a\n",
            "a\x85",
            "\ufdd0",
            "\U0001ffff",
            "\ud800",
            "/".join("a" * 201),
            "å" * 32_768,
        ],
    )
    async def test_topics_that_cannot_be(self, bus: Bus, root: str, topic: str) -> None:
        subscription = await bus.subscribe(f"{root}/a")
        with pytest.raises(BusError, match=r"topic .*(expected|character)"):
            await bus.publish(topic, b"x")
        await bus.publish(f"{root}/a", b"it goes on")
        assert (await subscription.next(_SOON)).payload == b"it goes on"

    @pytest.mark.parametrize("filter", [*_NO_TEXTS, "a+", "a/#/b", "##", "a/b#", "$share/g/a"])
    async def test_filters_that_cannot_be(self, bus: Bus, filter: str) -> None:
        with pytest.raises(BusError, match="filter "):
            await bus.subscribe(filter)

    async def test_a_message_that_is_too_large(self, bus: Bus, root: str) -> None:
        with pytest.raises(BusError, match=f"at most {MESSAGE} bytes, found {MESSAGE + 1}"):
            await bus.publish(f"{root}/a", b"x" * (MESSAGE + 1))
        await bus.publish(f"{root}/a", b"x")

    async def test_a_closed_bus(self, bus: Bus, root: str) -> None:
        subscription = await bus.subscribe(f"{root}/a")
        await bus.publish(f"{root}/a", b"1")
        assert (await subscription.next(_SOON)).payload == b"1"
        await bus.close()
        await bus.close()
        for attempt in (subscription.next(_SOON), bus.publish(f"{root}/a", b"2"), bus.subscribe(f"{root}/a")):
            with pytest.raises(BusLost, match="closed"):
                await attempt


class FollowedBusSuite(BusSuite):
    """What a bus must do beside that whose topics can be followed."""

    @pytest.fixture
    def bus(self) -> FollowedBus:
        raise NotImplementedError("override the fixture `bus` with a bus of yours")

    async def test_who_follows_gets_what_came_while_nobody_listened(
        self, bus: FollowedBus, root: str
    ) -> None:
        for number in range(3):
            await bus.publish(f"{root}/a", b"%d" % number, text=number == 1)
            await bus.publish(f"{root}/other", b"no")
        following = await bus.follow(f"{root}/a")
        # All of it is there without a wait.
        begin, *messages = [await following.next(0) for _ in range(4)]
        assert type(begin) is Beginning and begin.topic == f"{root}/a"
        await bus.publish(f"{root}/a", b"3")
        messages.append(await following.next(_SOON))
        mark = begin.id.partition(".")[0]
        assert [message.id for message in (begin, *messages)] == [f"{mark}.{number}" for number in range(5)]
        assert [message.payload for message in messages] == [b"0", b"1", b"2", b"3"]
        assert [message.text for message in messages] == [False, True, False, False]
        await _nothing(following)

    async def test_positions_are_the_same_for_all_who_follow(self, bus: FollowedBus, root: str) -> None:
        one = await bus.follow(f"{root}/a")
        listening = await bus.subscribe(f"{root}/#")
        await bus.publish(f"{root}/a", b"x", retain=True)
        other = await bus.follow(f"{root}/a")
        ids = [[(await each.next(_SOON)).id for _ in range(2)] for each in (one, other)]
        assert ids[0] == ids[1]
        # Who only listens knows nothing of it.
        assert await listening.next(_SOON) == Message(f"{root}/a", b"x")
        await _nothing(other)

    async def test_topics_share_no_marks_and_no_numbers(self, bus: FollowedBus, root: str) -> None:
        await bus.publish(f"{root}/a", b"x")
        begins = [Position.parse((await (await bus.follow(f"{root}/{topic}")).next(0)).id) for topic in "abb"]
        first, second, again = begins
        assert first is not None and second is not None
        assert (first.number, second.number) == (0, 0)
        assert first.mark != second.mark and second == again

    async def test_a_ring_is_bounded(self, bus: FollowedBus, root: str) -> None:
        for number in range(300):
            await bus.publish(f"{root}/a", b"%d" % number)
        following = await bus.follow(f"{root}/a")
        begin = Position.parse((await following.next(0)).id)
        assert begin is not None and 0 < begin.number < 300
        assert (await following.next(0)).payload == b"%d" % begin.number

    async def test_what_cannot_be_followed(self, bus: FollowedBus, root: str) -> None:
        for topic in (f"{root}/+", f"{root}/#", ""):
            with pytest.raises(BusError, match="topic"):
                await bus.follow(topic)
