"""Messages of MCP: JSON-RPC 2.0, one object each, and the faults that an answer can name."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec

__all__ = [
    "HEADER_MISMATCH",
    "INTERNAL",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "METHOD_NOT_FOUND",
    "MISSING_CAPABILITY",
    "PARSE_ERROR",
    "UNSUPPORTED_VERSION",
    "Answer",
    "Fault",
    "Id",
    "Message",
    "answer",
    "failure",
    "notification",
    "read",
    "request",
]

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL: Final = -32603
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022

Id = str | int


class Fault(Exception):
    """What is wrong with a message, as its answer says it.

    Args:
        code: of JSON-RPC, or of MCP.
        text: for who sent the message; says what was expected and found.
        data: more of it, for programs.

    Attributes:
        id: of the message, where it has one that an answer can have, and it is otherwise none.
    """

    def __init__(self, code: int, text: str, data: Any = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.data = data
        self.id: Id | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a client of a session answers to a request of the server: a result, or None for an error."""

    id: Id
    result: dict[str, Any] | None


class Message(msgspec.Struct, frozen=True):
    """A request, or a notification, which has no `id`."""

    method: str
    params: dict[str, Any]
    id: Id | None


_MOST_DIGITS: Final = 64
"""Characters of an id: it is kept while its request is worked on, and goes out again."""
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Text = Annotated[str, msgspec.Meta(max_length=_MOST_DIGITS)]


class _Request(Message, frozen=True, kw_only=True):
    """One that is as it should be, and has an id as clients make them."""

    jsonrpc: Literal["2.0"]
    params: dict[str, Any] = {}
    id: _Int | _Text


_requests = msgspec.json.Decoder(_Request)


def read(data: bytes) -> Message | Answer:
    """The message that a body or a line holds.

    Raises:
        Fault: it is no JSON, several messages, or none.
    """
    try:
        # PERF: nearly all are requests.
        return _requests.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read(data)


def _read(data: bytes) -> Message | Answer:
    """The same of what is no request, or not a good one."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Fault(PARSE_ERROR, f"expected one message as JSON: {exc}") from None
    if type(found) is not dict:
        _refuse("an object; several messages at once are not taken", found)
    id = found.get("id")
    known = id if type(id) in (str, int) and len(str(id)) <= _MOST_DIGITS else None
    if "id" in found and known is None:
        _refuse("an id that is text or a whole number", id)
    try:
        return _message(found, known)
    except Fault as fault:
        # Who sent it waits for an answer to it.
        fault.id = known
        raise


def _message(found: dict[str, Any], id: Id | None) -> Message | Answer:
    if found.get("jsonrpc") != "2.0":
        _refuse('"jsonrpc": "2.0"', found.get("jsonrpc"))
    method, params = found.get("method"), found.get("params", {})
    if method is None and ("result" in found or "error" in found) and id is not None:
        result = found.get("result")
        return Answer(id, result if type(result) is dict else None)
    if type(method) is not str:
        _refuse("a method as text", method)
    if type(params) is not dict:
        raise Fault(INVALID_PARAMS, f"expected params as an object, found {_kind(params)}")
    return Message(method, params, id)


def answer(id: Id, result: Any) -> bytes:
    """The answer to a request. A `msgspec.Raw` in it is JSON already."""
    return _encoder.encode({"jsonrpc": "2.0", "id": id, "result": result})


def failure(id: Id | None, fault: Fault) -> bytes:
    """The answer to what cannot be done; without an id to what none is known of."""
    error: dict[str, Any] = {"code": fault.code, "message": fault.text}
    if fault.data is not None:
        error["data"] = fault.data
    return _encoder.encode({"jsonrpc": "2.0", "id": id, "error": error})


def request(id: Id, method: str, params: Any) -> bytes:
    """What a client of a session is asked."""
    return _encoder.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def notification(method: str, params: dict[str, Any]) -> bytes:
    """What is told beside answers."""
    return _encoder.encode({"jsonrpc": "2.0", "method": method, "params": params})


def _refuse(expected: str, found: Any) -> NoReturn:
    raise Fault(INVALID_REQUEST, f"expected {expected}, found {_kind(found)}")


def _kind(found: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "nothing"}
    return kinds.get(type(found), "a number")


_encoder = msgspec.json.Encoder()
