"""`$http_do` and `$http_do_server`."""

from __future__ import annotations

from functools import partial
from typing import Any

from mix_http.message import HttpRequest
from mixkit.egress import host_patterns
from mixkit.errors import CancelledRun, GrantError, LimitExceeded, MixError
from mixkit.ffi import FFIGroup
from mixkit.importing import imported
from mixkit.state import State
from mixkit.value import Result

__all__ = ["group"]

group = FFIGroup(
    "http",
    options={
        "http.hosts": "host patterns that requests may go to, as api.example.com, *.example.com, host:8443"
    },
    checks={"http.hosts": partial(host_patterns, "http.hosts")},
)


@group.register("$http_do")
async def http_do(state: State, request: HttpRequest) -> dict[str, Any]:
    """Send an HTTP request. Answers `{status, body, headers, requested_url}`, or `{error}` alone."""
    await imported("mix_http.client")
    from mix_http.client import call

    try:
        return await call(state, request)
    except (LimitExceeded, CancelledRun, GrantError):
        raise
    except MixError as exc:
        return {"error": str(exc)}


@group.register("$http_do_server")
async def http_do_server(state: State, request: HttpRequest) -> Result[dict[str, Any]]:
    """The same, for calls between servers: `ok` of the answer, or `error(message)` without a response."""
    await imported("mix_http.client")
    from mix_http.client import call

    return await call(state, request)
