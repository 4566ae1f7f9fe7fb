"""What the server refuses, and the body of an answer that says so. What becomes of other errors: `fault.py`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NotRequired, TypedDict

import msgspec

from mixkit.errors import MixError, shortened

__all__ = [
    "NOT_FOUND",
    "BadRequest",
    "BodyTimeout",
    "BodyTooLarge",
    "BodyTooRich",
    "Conflicting",
    "Disconnected",
    "ErrorMessage",
    "Failed",
    "Forbidden",
    "HeadTooLong",
    "HeaderTooLong",
    "NotAcceptable",
    "OtherType",
    "Overloaded",
    "PreconditionFailed",
    "Refusal",
    "RunError",
    "RunErrorMessage",
    "Stopping",
    "TooManyHeaders",
    "Unauthorized",
    "Unavailable",
    "UnknownVersion",
    "Unsupported",
    "UnsupportedBody",
    "UnsupportedCoding",
    "encode",
    "message_body",
]

_LONGEST = 2_048
"""Characters of a text in an answer that is an error."""

NOT_FOUND = "there is no such thing here, or none that you may see"
"""All that a 404 says: a name that does not exist looks the same as one that the caller may not see."""


class ErrorMessage(TypedDict):
    """The body of an answer that is an error; the places are those in a query or a record, where it has some."""

    ok: Literal[False]
    kind: Literal["message"]
    message: str
    line: NotRequired[int]
    column: NotRequired[int]
    path: NotRequired[str]
    id: NotRequired[str]
    expected: NotRequired[str | None]
    found: NotRequired[str | None]


class RunError(TypedDict):
    """What a run ended with."""

    message: str
    code: str
    backtrace: list[Any]
    agent: str


class RunErrorMessage(TypedDict):
    """The body of an answer that says how a run failed."""

    ok: Literal[False]
    kind: Literal["run_error"]
    run_error: RunError


class Refusal(MixError):
    """A request that the server does not serve. `status` is the answer's, `headers` are added to it."""

    code = "refused"
    status = 400
    headers: ClassVar[dict[str, str]] = {}


class BadRequest(Refusal):
    """The request is malformed; the message says what was expected."""


class Unauthorized(Refusal):
    """The token is missing or not the one that this server takes."""

    status = 401
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Refusal):
    """The caller is known, or needs not be, and may not do this."""

    status = 403


class NotAcceptable(Refusal):
    """The result cannot be written in the form that `Accept` asks for."""

    status = 406


class BodyTimeout(Refusal):
    """The body came too slowly."""

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the body did not arrive within {seconds:g} s; the setting body_timeout allows more"
        )


class Conflicting(Refusal):
    """It was done before, and is done once."""

    status = 409


class PreconditionFailed(Refusal):
    """What the request says of a record in `If-Match` or `If-None-Match` does not hold; nothing was done."""

    status = 412


class BodyTooLarge(Refusal):
    """The body is, or would become, longer than allowed."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than the {limit} bytes that are taken here")


class HeaderTooLong(Refusal):
    """A header that says what is sent or wanted is longer than any that is meant."""

    status = 431

    def __init__(self, name: str, most: int) -> None:
        super().__init__(f"expected at most {most} bytes in the header {name}")


class HeadTooLong(Refusal):
    """All headers together are longer than anybody means."""

    status = 431

    def __init__(self, most: int) -> None:
        super().__init__(f"expected at most {most} bytes in the head of a request")


class TooManyHeaders(Refusal):
    """The request has more headers than anybody means."""

    status = 431

    def __init__(self, most: int) -> None:
        super().__init__(f"expected at most {most} headers")


class UnknownVersion(Refusal):
    """The request is in a version of HTTP that is not spoken here."""

    status = 505

    def __init__(self, found: str) -> None:
        super().__init__(f"expected HTTP/1.0, HTTP/1.1 or HTTP/2, found HTTP/{found:.10}")


class BodyTooRich(Refusal):
    """The body holds more values than allowed, however small they are."""

    status = 413

    def __init__(self, most: int) -> None:
        super().__init__(
            f"the body holds more than {most} values, keys included; send it in parts, or raise "
            "settings.server.values_limit"
        )


class UnsupportedBody(Refusal):
    """A body of a type that is not read here; the message lists those that are."""

    status = 415


class OtherType(UnsupportedBody):
    """A body of another type than those that are expected.

    Args:
        expected: the types, for people.
        found: the request's, without parameters; empty if it has none.
    """

    def __init__(self, expected: str, found: str) -> None:
        by_itself = found == "application/x-www-form-urlencoded"
        hint = "; curl sends that unless --json or -H 'Content-Type: …' says another one" if by_itself else ""
        super().__init__(f"expected the type {expected}, found {found[:80] or 'none'}{hint}")


class UnsupportedCoding(UnsupportedBody):
    """A body in a `Content-Encoding` that is not read here."""

    headers: ClassVar[dict[str, str]] = {"Accept-Encoding": "gzip, deflate"}

    def __init__(self, header: str) -> None:
        super().__init__(f"expected Content-Encoding gzip or deflate, or none, found {header[:80]!r}")


class Overloaded(Refusal):
    """More runs are asked for than there is room to wait for; `state` says which bound was met."""

    status = 429
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}

    def __init__(self, state: str) -> None:
        super().__init__(f"{state}; try again in a second")


class Disconnected(Refusal):
    """The client went away. Nobody reads the answer; the status is for the log and the metrics."""

    status = 499

    def __init__(self) -> None:
        super().__init__("the client went away")


class Unsupported(Refusal):
    """What the request asks for is understood and not done here; doing it without would be wrong."""

    status = 501


class Failed(Refusal):
    """Something of the server, or of a plugin, left a request without an answer; the log says what."""

    status = 500

    def __init__(self) -> None:
        super().__init__("a fault of the server; its log has more")


class Stopping(Refusal):
    """The server stops and the run did not finish within the grace period."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}

    def __init__(self) -> None:
        super().__init__("the server is stopping; try again")


class Unavailable(Refusal):
    """Something that the server needs for this is not there now."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


def message_body(message: str, **details: Any) -> bytes:
    """The body of an answer that is an error."""
    return encode({"ok": False, "kind": "message", "message": message, **details})


def encode(answer: dict[str, Any]) -> bytes:
    """An error as JSON, none of its texts too long, whatever it quotes."""
    return msgspec.json.encode(_bounded(answer))


def _bounded(value: Any) -> Any:
    match value:
        case str():
            return shortened(value, _LONGEST)
        case dict():
            return {name: _bounded(item) for name, item in value.items()}
        case _:
            return value
