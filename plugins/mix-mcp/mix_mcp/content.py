"""What an agent answers, as the result of a tool."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from mixkit import tagged_json
from mixkit.errors import TaggedJSONError
from mixkit.forms import JSONText
from mixkit.value import UNDEF

__all__ = ["RESULT", "error_of", "result_of"]

RESULT: Final = "mcp_result"
"""The `_rmx_type` of a map that is a result of MCP as it stands: `{content, structuredContent?, isError?}`. So an agent
answers pictures, sounds, links to resources, or texts for others than programs."""

_TYPE: Final = b"_rmx_type"
_PARTS: Final = frozenset(("content", "structuredContent", "isError"))


def result_of(value: Any, *, structured: bool, modern: bool) -> dict[str, Any]:
    """The result of a tool whose agent has answered that value, which may be at hand as `JSONText`.

    Args:
        structured: the tool has a schema of what it answers, so that the value goes out for programs too.
        modern: the client takes any value where programs look; those before 2026-07-28 take objects.
    """
    if type(value) is JSONText:
        # What JSON does not have is tagged, and so is a result that stands as it is; a text alone goes out as itself.
        if value.find(_TYPE) < 0 and not value.startswith(b'"'):
            return _result(value.decode(), value, structured=structured)
        value = tagged_json.loads(value)
    # What has a schema goes out as it says.
    if not structured and type(value) is dict and value.get("_rmx_type") == RESULT:
        return _own(value, modern=modern)
    if value is UNDEF:
        return error_of("the agent answered undefined") if structured else {"content": []}
    try:
        text = tagged_json.dumps(value, plain=True)
    except TaggedJSONError:
        # Clients check a number against its schema, and raise where they find none.
        path = _no_number(value, "$")
        if path is not None:
            return error_of(f"the agent answered a number that JSON cannot hold, NaN or infinite, at {path}")
        try:
            text = tagged_json.dumps(value)
        except TaggedJSONError as exc:
            return error_of(f"the agent answered what JSON cannot hold: {exc}")
    if type(value) is str and not structured:
        return {"content": [{"type": "text", "text": value}]}
    return _result(text, text.encode(), structured=structured)


def error_of(text: str) -> dict[str, Any]:
    """The result of a call that failed: the model reads why, and may call again."""
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _result(text: str, data: bytes, *, structured: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    if structured:
        result["structuredContent"] = msgspec.Raw(data)
    return result


def _own(value: dict[str, Any], *, modern: bool) -> dict[str, Any]:
    found = {name: part for name, part in value.items() if name in _PARTS}
    if type(found.get("isError", False)) is not bool:
        return error_of("the agent answered a result whose isError is neither true nor false")
    if not modern and type(found.get("structuredContent")) is not dict:
        found.pop("structuredContent", None)
    content = found.setdefault("content", [])
    if type(content) is not list or not all(
        type(block) is dict and type(block.get("type")) is str for block in content
    ):
        return error_of(
            "the agent answered a result whose content is no array of blocks, each a map with a type"
        )
    try:
        return {
            name: msgspec.Raw(tagged_json.dumps(part, plain=True).encode()) for name, part in found.items()
        }
    except TaggedJSONError as exc:
        return error_of(f"the agent answered a result that JSON cannot hold: {exc}")


def _no_number(value: Any, path: str) -> str | None:
    """Where in a value the first number is that is none in JSON."""
    pending = [(value, path)]
    while pending:
        found, where = pending.pop()
        if type(found) is float:
            if not math.isfinite(found):
                return where
        elif type(found) is list:
            pending += [(item, f"{where}[{i}]") for i, item in enumerate(found)]
        elif type(found) is dict:
            pending += [(item, f"{where}.{key}") for key, item in found.items()]
    return None
