"""Whether what a client answers is an answer to what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["fits"]

_ACTIONS: Final = ("accept", "decline", "cancel")
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
}


def fits(request: Mapping[str, Any], answer: Any) -> bool:
    """Whether that is an answer to a request `{method, params}`: None is not."""
    if type(answer) is not dict:
        return False
    match request["method"]:
        case "elicitation/create":
            return _is_elicited(request["params"], answer)
        case "sampling/createMessage":
            return "role" in answer and "content" in answer
        case "roots/list":
            return type(answer.get("roots")) is list
    return False


def _is_elicited(params: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    if answer.get("action") not in _ACTIONS:
        return False
    if answer["action"] != "accept" or params.get("mode") == "url":
        return True
    content, schema = answer.get("content", {}), params.get("requestedSchema", {})
    if type(content) is not dict or type(schema) is not dict:
        return False
    fields = schema.get("properties", {})
    if any(name not in content for name in schema.get("required", ())):
        return False
    return all(_is_of(fields[name], value) for name, value in content.items() if name in fields)


def _is_of(field: Any, value: Any) -> bool:
    """Whether a value is of a field: of its type, and one of those that it names, if it does."""
    if type(field) is not dict:
        return True
    kinds = _TYPES.get(field.get("type", ""))
    if kinds is not None and type(value) not in kinds:
        return False
    return "enum" not in field or value in field["enum"]
