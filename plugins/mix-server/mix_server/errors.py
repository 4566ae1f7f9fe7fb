"""What the server refuses, and how every error becomes an answer.

An agent that failed is 422 `{"kind": "run_error", "run_error": {message, code, backtrace, agent}}`; all else
is `{"ok": false, "kind": "message", "message": …}` with the status that fits. A 5xx says nothing about the
inside: the log does, under the request id.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import falcon
import msgspec

from mixkit.errors import (
    CancelledRun,
    Conflict,
    DatabaseGone,
    EngineError,
    FFIError,
    FileConflict,
    FileError,
    FilesFull,
    GrantError,
    GuestError,
    LimitExceeded,
    MessagePackError,
    MixError,
    NotFound,
    PackageError,
    PathError,
    QueryCancelled,
    QueryError,
    QueryTimeout,
    QuotaExceeded,
    RecordError,
    RunError,
    StorageError,
    TaggedJSONError,
    shortened,
)
from mixkit.package.errors import Busy, Exists
from mixkit.schema import Mismatch

if TYPE_CHECKING:
    from falcon.asgi import App

    from mix_server.request import Request
    from mix_server.response import Response

__all__ = [
    "NOT_FOUND",
    "BadRequest",
    "BodyTimeout",
    "BodyTooLarge",
    "BodyTooRich",
    "Disconnected",
    "Forbidden",
    "HeaderTooLong",
    "NotAcceptable",
    "Overloaded",
    "PreconditionFailed",
    "Refusal",
    "Stopping",
    "TooManyHeaders",
    "Unauthorized",
    "UnknownVersion",
    "Unsupported",
    "UnsupportedBody",
    "UnsupportedCoding",
    "error_line",
    "install_handlers",
    "message_body",
]

log = logging.getLogger("mixkit.server")

_LONGEST = 2_048
"""Characters of a text in an answer that is an error."""

NOT_FOUND = "there is no such thing here, or none that you may see"
"""All that a 404 says: a name that does not exist looks the same as one that the caller may not see."""


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


_STATUS: dict[type[MixError], int] = {
    Mismatch: 400,
    TaggedJSONError: 400,
    MessagePackError: 400,
    PackageError: 400,
    RecordError: 400,
    QueryError: 400,
    QueryTimeout: 504,
    QueryCancelled: 503,
    NotFound: 404,
    DatabaseGone: 404,
    Exists: 409,
    Conflict: 409,
    CancelledRun: 503,
    Busy: 503,
    PathError: 400,
    FileConflict: 412,
    FilesFull: 507,
}
"""Errors that are the caller's to mend, or to wait for. The class nearest to the error counts."""

_AGENT_FAULTS = (EngineError, FFIError, GrantError, GuestError, LimitExceeded)


def install_handlers(app: App[Request, Response]) -> None:
    """Let every error that leaves a resource or a middleware of `app` end here."""
    app.add_error_handler(falcon.HTTPError, _on_falcon_error)
    app.add_error_handler(Exception, _on_error)


def write_message(resp: Response, status: int, message: str, **details: Any) -> None:
    """Make the answer an error with a message, and with what a program wants to know besides."""
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = message_body(message, **details)


def message_body(message: str, **details: Any) -> bytes:
    """The body of an answer that is an error."""
    return _encode({"ok": False, "kind": "message", "message": message, **details})


def _encode(answer: dict[str, Any]) -> bytes:
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


def error_line(req: Request, exc: Exception) -> bytes:
    """The error as JSON on one line, for an answer whose status has been sent already."""
    _, message, details = (0, str(exc), {}) if isinstance(exc, Refusal) else _judge(req, exc)
    return message_body(message, **details)


async def _on_falcon_error(req: Request, resp: Response, exc: falcon.HTTPError, params: Any) -> None:
    if exc.headers:
        resp.set_headers(exc.headers)
    status = exc.status_code
    if status == 404:
        message = NOT_FOUND
    elif status == 405:
        message = f"{req.method} is not among what is done here: {resp.get_header('Allow')}"
    else:
        message = exc.description or exc.title
    write_message(resp, status, message)


async def _on_error(req: Request, resp: Response, exc: Exception, params: dict[str, Any]) -> None:
    if isinstance(exc, Refusal):
        resp.set_headers(exc.headers)
        write_message(resp, exc.status, str(exc))
        return
    if _timed_out(exc):
        write_message(resp, 504, str(exc))
        return
    agent = f"{params.get('ws')}/{params.get('app')}/{params.get('agent')}"
    if isinstance(exc, RunError) and exc.panic_code != "internal":
        _write_run_error(resp, exc.to_dict() | {"agent": agent})
    elif isinstance(exc, _AGENT_FAULTS) and "agent" in params:
        backtrace = exc.backtrace if isinstance(exc, GuestError) else []
        _write_run_error(
            resp, {"message": str(exc), "code": exc.code, "backtrace": backtrace, "agent": agent}
        )
    else:
        _write_other(req, resp, exc)


def _write_other(req: Request, resp: Response, exc: Exception) -> None:
    status, message, details = _judge(req, exc)
    write_message(resp, status, message, **details)


def _judge(req: Request, exc: Exception) -> tuple[int, str, dict[str, Any]]:
    """Status, message and details of an error that is no refusal; what is the server's own goes to the log."""
    if isinstance(exc, QuotaExceeded):
        return 507, str(exc), {}
    if isinstance(exc, StorageError) and not isinstance(exc, DatabaseGone):
        _log_failure(req, exc)
        return (
            503,
            f"the database could not do it; the server's log has more under the request id {req.id}",
            {},
        )
    if type(exc) is FileError:
        _log_failure(req, exc)
        return 503, f"the files could not be had; the server's log has more under the request id {req.id}", {}
    status = next((_STATUS[cls] for cls in type(exc).__mro__ if cls in _STATUS), 500)
    if status == 500:
        _log_failure(req, exc)
        return 500, f"a fault of the server; its log has more under the request id {req.id}", {}
    details: dict[str, Any] = {}
    if isinstance(exc, QueryError | RecordError):
        # Where in the query or the record: what a storage's own errors have of these.
        places = ((name, getattr(exc, name, None)) for name in ("line", "column", "path"))
        details = {name: place for name, place in places if isinstance(place, int | str)}
    elif isinstance(exc, Conflict):
        details = {"id": exc.id, "expected": exc.expected, "found": exc.found, "path": exc.path}
    return status, NOT_FOUND if status == 404 else str(exc), details


def _log_failure(req: Request, exc: Exception) -> None:
    log.error("request failed: %s", exc, exc_info=exc, extra={"request_id": req.id})


def _timed_out(exc: BaseException) -> bool:
    cause = exc.__cause__ if isinstance(exc, RunError) else exc
    return isinstance(cause, LimitExceeded) and cause.limit == "wall_time"


def _write_run_error(resp: Response, run_error: dict[str, Any]) -> None:
    resp.status = 422
    resp.content_type = falcon.MEDIA_JSON
    resp.data = _encode({"ok": False, "kind": "run_error", "run_error": run_error})
