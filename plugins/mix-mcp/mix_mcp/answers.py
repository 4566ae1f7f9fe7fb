"""What a client must be able to do to be asked something, and whether what it answers is an answer to that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mixkit.answers import check_answer, check_form
from mixkit.errors import FFIError

__all__ = ["fits", "needs"]

_ACTIONS: Final = ("accept", "decline", "cancel")


def needs(method: str, params: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The capabilities of a client, as `Client.can` takes them, that a request of that method stands on."""
    match method:
        case "elicitation/create":
            mode = str(params.get("mode", "form"))
            if mode == "form":
                yield ("elicitation",)
            yield "elicitation", mode
        case "sampling/createMessage":
            yield ("sampling",)
            if "tools" in params or "toolChoice" in params:
                yield "sampling", "tools"
            if params.get("includeContext", "none") != "none":
                yield "sampling", "context"
        case "roots/list":
            yield ("roots",)


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
    form: Any = params.get("requestedSchema")
    try:
        check_form(form)
        check_answer(form, answer.get("content", {}))
    except FFIError:
        return False
    return True
