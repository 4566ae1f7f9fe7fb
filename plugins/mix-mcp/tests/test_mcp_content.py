"""What an agent answers, as clients read it."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from mix_mcp.content import result_of
from mix_mcp.message import Fault
from mix_mcp.prompt import filled


def read(value: Any, *, structured: bool = False, modern: bool = True) -> dict[str, Any]:
    """The result, as it comes out of its message."""
    found: dict[str, Any] = json.loads(
        msgspec.json.encode(result_of(value, structured=structured, modern=modern))
    )
    return found


def own(**parts: Any) -> dict[str, Any]:
    return {"_rmx_type": "mcp_result", "content": [], **parts}


def test_a_value_is_text_and_for_programs_too() -> None:
    assert read("a") == {"content": [{"type": "text", "text": "a"}]}
    assert read("a", structured=True) == {
        "content": [{"type": "text", "text": '"a"'}],
        "structuredContent": "a",
    }
    assert read({"a": [2**53 + 1]}, structured=True)["structuredContent"] == {"a": [2**53 + 1]}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_in_json_is_named(number: float) -> None:
    for structured in (False, True):
        found = read({"a": [1.0, {"b": number}]}, structured=structured)
        assert found["isError"] and "$.a[1].b" in found["content"][0]["text"]


def test_a_result_as_it_stands_is_one() -> None:
    assert read(own(isError=True, structuredContent=[1], other=1)) == {
        "content": [], "isError": True, "structuredContent": [1],
    }  # fmt: skip
    # Clients before 2026-07-28 take objects alone there, and fail the call otherwise.
    assert read(own(structuredContent=[1]), modern=False) == {"content": []}
    assert read(own(structuredContent={}), modern=False) == {"content": [], "structuredContent": {}}
    # What has a schema goes out as that says.
    assert read(own(), structured=True)["structuredContent"] == own()


@pytest.mark.parametrize("parts", [{"isError": "yes"}, {"content": "x"}, {"content": [{}]}, {"content": [1]}])
def test_what_is_none_is_an_error_that_says_so(parts: dict[str, Any]) -> None:
    found = read(own(**parts))
    assert found["isError"] is True and "the agent answered a result" in found["content"][0]["text"]


def test_a_prompt_that_json_cannot_hold_is_named() -> None:
    with pytest.raises(Fault, match="JSON cannot hold"):
        filled([{"role": "user", "content": {"type": "image", "data": b"x"}}], {})
