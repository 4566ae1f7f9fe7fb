"""The last messages of topics."""

from __future__ import annotations

import random

import pytest

from mixkit.bus import Message
from mixkit.rings import Position, Ring, Rings, Room


def test_what_came_behind_a_position() -> None:
    ring = Ring(Room(messages=3))
    positions = [ring.end]
    for number in range(5):
        kept = ring.add(Message("a", b"%d" % number))
        positions.append(ring.end)
        assert kept.id == str(ring.end)
    found = [ring.after(position) for position in positions]
    payloads = [None if messages is None else [m.payload for m in messages] for messages in found]
    # Two have gone: who was there before them, or before one of them, cannot be told.
    assert payloads == [None, None, [b"2", b"3", b"4"], [b"3", b"4"], [b"4"], []]
    assert ring.begin == positions[2]
    assert ring.after(None) is None
    assert ring.after(Position(ring.mark, 6)) is None
    assert ring.after(Position("0" * 16, 4)) is None
    assert Ring(Room()).mark != Ring(Room()).mark


def test_a_ring_that_is_like_another_goes_on_as_it() -> None:
    ring = Ring(Room())
    ring.add(Message("a", b"0"))
    copy = Ring(Room(), ring.end)
    assert copy.add(Message("a", b"1")) == ring.add(Message("a", b"1"))
    assert copy.after(ring.begin) is None


@pytest.mark.parametrize("text", ["", ".", "a", "a.", ".1", "a.-1", "a.1.2", "a.١", "é\n.1", "a" * 64 + ".1"])
def test_what_is_no_position(text: str) -> None:
    assert Position.parse(text) is None


def test_a_position_as_text() -> None:
    position = Ring(Room()).end
    assert Position.parse(str(position)) == position


@pytest.mark.parametrize("seed", range(4))
def test_all_is_bounded_and_what_is_there_is_true(seed: int) -> None:
    choose = random.Random(seed)
    room = Room(messages=5, size=2_000, total=20_000, share=3)
    rings = Rings(room)
    said: dict[str, list[bytes]] = {}
    for number in range(2_000):
        topic = f"t{choose.randrange(40)}"
        message = Message(topic, b"%d" % number + b"x" * choose.randrange(600))
        owner = choose.choice("abcdefgh")
        rings.add(message, owner)
        said.setdefault(topic, []).append(message.payload)
        assert rings.size <= room.total
        ring = rings.of(topic, owner)
        kept = ring.after(ring.begin)
        assert kept is not None and len(kept) <= room.messages and ring.size <= room.size
        # The newest are always there, in their order.
        assert [m.payload for m in kept] == said[topic][-len(kept) :]
    assert rings.size == sum(
        ring.size + 1024 + len(topic) for of in rings._rings.values() for topic, ring in of.items()
    )
    for of in [dict(each) for each in rings._rings.values()]:
        for topic in of:
            assert topic in rings._owners


def test_no_owner_takes_it_all() -> None:
    rings = Rings(Room(messages=5, size=2_000, total=40_000, share=4))
    ring = rings.of("mine", "me")
    rings.add(Message("mine", b"x"), "me")
    for number in range(1_000):
        rings.add(Message(f"other/{number}", b"x" * 500), "other")
    assert rings.of("mine", "me") is ring
    assert rings.size <= 13_000
