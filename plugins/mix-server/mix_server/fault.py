"""What an error is to who asked: its status, and what is said of it.

An agent that failed is 422 `{"kind": "run_error", "run_error": {message, code, backtrace, agent}}`; all else
is `{"ok": false, "kind": "message", "message": …}` with the status that fits. A 5xx says nothing about the
inside: the log does, under the request id.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from mix_server.errors import NOT_FOUND, Refusal
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
)
from mixkit.moving.errors import RemoteError
from mixkit.package.errors import Busy, Exists
from mixkit.schema import Mismatch
from mixkit.target import EgressDenied

__all__ = ["Identified", "failure", "judged"]

log = logging.getLogger("mixkit.server")

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
    RemoteError: 424,
    EgressDenied: 403,
}
"""Errors that are the caller's to mend, or to wait for. The class nearest to the error counts."""

_AGENT_FAULTS = (EngineError, FFIError, GrantError, GuestError, LimitExceeded)


class Identified(Protocol):
    """What an error is of: the log has more under its id."""

    @property
    def id(self) -> str: ...


def failure(req: Identified, exc: Exception, agent: str | None) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer that an error becomes.

    Args:
        agent: whose run it is of, `WS/APP/AGENT`; None of none.
    """
    if isinstance(exc, Refusal):
        return exc.status, _message(str(exc))
    if _timed_out(exc):
        return 504, _message(str(exc))
    if isinstance(exc, RunError) and exc.panic_code != "internal":
        return 422, _run_error(exc.to_dict() | {"agent": str(agent)})
    if isinstance(exc, _AGENT_FAULTS) and agent is not None:
        backtrace = exc.backtrace if isinstance(exc, GuestError) else []
        return 422, _run_error(
            {"message": str(exc), "code": exc.code, "backtrace": backtrace, "agent": agent}
        )
    status, message, details = judged(req, exc)
    return status, _message(message, **details)


def judged(req: Identified, exc: Exception) -> tuple[int, str, dict[str, Any]]:
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


def _log_failure(req: Identified, exc: Exception) -> None:
    log.error("request failed: %s", exc, exc_info=exc, extra={"request_id": req.id})


def _timed_out(exc: BaseException) -> bool:
    cause = exc.__cause__ if isinstance(exc, RunError) else exc
    return isinstance(cause, LimitExceeded) and cause.limit == "wall_time"


def _message(text: str, **details: Any) -> dict[str, Any]:
    return {"ok": False, "kind": "message", "message": text, **details}


def _run_error(run_error: dict[str, Any]) -> dict[str, Any]:
    return {"ok": False, "kind": "run_error", "run_error": run_error}
