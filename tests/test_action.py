"""Actions: reading and writing their maps, chains, and the order in which a queue gives them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given

from mixkit import action
from mixkit.action import ActionQueue, Invoke, LocationCapture, OpenLink, PerformHostEffect
from mixkit.errors import FFIError
from mixkit.testing.strategies import values

INVOKE = {"_rmx_type": "msg_view_invoke", "name": "f", "env": {"a": 1}}
LINK = {"_rmx_type": "msg_view_open_link", "url": "https://example.com"}
EFFECT = {"_rmx_type": "msg_view_perform_host_effect", "name": "e", "args": [1]}
PLACE = {"_rmx_type": "msg_view_location_capture"}


@pytest.mark.parametrize("value", [INVOKE, LINK, EFFECT, PLACE, {**LINK, "next": {**INVOKE, "next": PLACE}}])
def test_maps_are_read_and_written(value: dict[str, Any]) -> None:
    assert action.to_value(action.parse(value)) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "not null"),
        (1, "a map whose _rmx_type is one of msg_view_invoke"),
        ([], "a map whose"),
        ({}, "a map whose"),
        ({"_rmx_type": "other"}, "a map whose"),
        ({"_rmx_type": ["msg_view_invoke"]}, "a map whose"),
        ({"_rmx_type": {}}, "a map whose"),
        ({"_rmx_type": "msg_view_invoke"}, "msg_view_invoke needs 'name', a string"),
        ({**INVOKE, "name": 1}, "needs 'name'"),
        ({**LINK, "url": None}, "needs 'url'"),
        ({**PLACE, "url": "x"}, "msg_view_location_capture has no key 'url'; it has none"),
        ({**LINK, "x" * 1000: 1}, "has no key 'x{80}'; it has url"),
        ({**LINK, "next": 1}, "a map whose"),
        ({**LINK, "next": {}}, "a map whose"),
    ],
)
def test_what_is_no_action(value: Any, message: str) -> None:
    with pytest.raises(FFIError, match=message):
        action.parse(value)


@given(value=values())
def test_any_value_is_an_action_or_an_error_of_the_agent(value: Any) -> None:
    for candidate in (value, {**LINK, "next": value}, {"_rmx_type": value}):
        with contextlib.suppress(FFIError):
            action.parse(candidate)


def chain(length: int) -> dict[str, Any]:
    value = dict(INVOKE)
    for _ in range(length - 1):
        value = {**INVOKE, "next": value}
    return value


def test_chains_are_bounded_and_counted() -> None:
    parsed = action.parse(chain(100))
    assert action.length(parsed) == 100 and action.to_value(parsed) == chain(100)
    with pytest.raises(FFIError, match="at most 100 next"):
        action.parse(chain(101))


def test_the_queue_keeps_the_order() -> None:
    queue = ActionQueue()
    queue.push(Invoke(name="a", next=Invoke(name="b", next=OpenLink(url="u", next=Invoke(name="x")))))
    queue.push(PerformHostEffect(name="e", next=Invoke(name="y")))
    queue.push(Invoke(name="c", next=LocationCapture()))
    taken = []
    while (found := queue.take()) is not None:
        taken.append(found.name)
    assert taken == ["a", "b", "c"]
    assert [type(item).__name__ for item in queue.client] == [
        "PerformHostEffect",
        "OpenLink",
        "LocationCapture",
    ]
