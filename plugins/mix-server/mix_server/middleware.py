"""What happens around every request: its identity, its caller, its line in metrics and access log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from typing import TYPE_CHECKING, Any

from falcon import HTTP_METHODS

from mix_server.activity import activity_by, activity_of, done_by
from mix_server.auth import admit, permission_of
from mix_server.caller import EVERYBODY, Resource
from mix_server.error_answer import write_message
from mix_server.errors import BadRequest, Refusal
from mix_server.match import refuse_conditions
from mix_server.noise import quieten
from mix_server.options import refuse_options
from mix_server.rates import bucket_of
from mix_server.shares import ASKING
from mix_server.streams import Stream
from mixkit.activities import Kind
from mixkit.errors import NotFound, StorageError, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server
    from mixkit.activities import Activity

__all__ = ["ANSWERED", "Around"]

ANSWERED = "mixkit.answered"
"""Key of an ASGI scope: the answer is being sent, so that there cannot be another one."""

log = logging.getLogger("mixkit.server")
access = logging.getLogger("mixkit.server.access")

_RUN = Kind.RUN
_LONGEST_PATH = 512
"""Characters of a path in the access log."""
_SELDOM = 100
"""Collections of younger objects before one of all that were made since the start."""


class Around:
    """The server's own middleware, outside of all others.

    Args:
        server: whose requests these are.
        deprecated: templates of routes whose answers say that they will go.
        done: the methods of the route of a template.
    """

    def __init__(
        self, server: Server, deprecated: dict[str, str], done: Callable[[str], Container[str]]
    ) -> None:
        self._server = server
        self._authorizer = server.authorizer
        self._metrics = server.metrics
        self._activities = server.activities
        self._clients = server.clients
        self._cors = server.cors
        self._rates = server.rates
        self._deprecated = deprecated
        self._done = done
        self._log = server.settings.access_log
        if self._log and access.level == logging.NOTSET:
            # Who asks for it wants to see it, whatever else is logged.
            access.setLevel(logging.INFO)

    async def process_startup(self, scope: dict[str, Any], event: dict[str, Any]) -> None:
        quieten()
        self._server.start()
        # PERF: what is loaded by now stays, so the garbage collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        # PERF: a run that waits is many objects, which go with it: to look at those of 3,000 runs takes 50 ms and more,
        # and finds nothing (measured).
        gc.set_threshold(*gc.get_threshold()[:2], _SELDOM)

    async def process_shutdown(self, scope: dict[str, Any], event: dict[str, Any]) -> None:
        await self._server.stop()

    async def process_request(self, req: Request, resp: Response) -> None:
        req.clients = self._clients
        if self._cors and self._cors.is_preflight(req):
            self._cors.answer(resp)
            resp.complete = True

    async def process_resource(
        self, req: Request, resp: Response, resource: Any, params: dict[str, Any]
    ) -> None:
        raw = req.scope.get("raw_path") or b""
        if b"%2" in raw:
            _refuse_slashes(raw, str(req.uri_template))
        permission = permission_of(resource, req.method)
        about = req.resource = Resource(params.get("ws"), params.get("app"), params.get("agent"))
        if permission is not EVERYBODY and not hasattr(resource, "admits_by_itself"):
            try:
                req.caller = await admit(self._authorizer, req, permission, about)
            except (Refusal, NotFound):
                # Counts too: else tokens and names could be tried without an end.
                await self._count(req, resp, resource)
                raise
            req.activity = activity_of(resource, req.method)
        else:
            ASKING.set(bucket_of(req, None))
        await self._count(req, resp, resource)
        # A method that is not done here is refused as such, whatever else is sent.
        if req.judged and req.method in self._done(str(req.uri_template)):
            refuse_conditions(req, resource)
            refuse_options(req, resource)

    async def _count(self, req: Request, resp: Response, resource: Any) -> None:
        """Count a request against what its caller may ask. `TooOften` if that is used up."""
        if self._rates is not None and not hasattr(resource, "never_limited"):
            caller = req.caller
            if caller is None:
                # Also where everybody may ask, or this one may not: behind a proxy all have one address, and nobody is
                # to use up what the others have.
                with contextlib.suppress(Refusal, NotFound):
                    caller = await self._authorizer.authorize(req)
            bucket = bucket_of(req, caller)
            if bucket is not None:
                resp.set_headers(self._rates.take(bucket))

    async def process_response(self, req: Request, resp: Response, resource: Any, succeeded: bool) -> None:
        resp.set_header("X-Request-Id", req.id)
        if self._cors:
            self._cors.label(req, resp)
        route = req.uri_template
        if route in self._deprecated:
            resp.set_headers({"Deprecation": DEPRECATED_SINCE, "Link": self._deprecated[route]})
        if req.unread and req.ends_connection:
            # Else the HTTP server would read the rest, however long, to find the next request behind it.
            resp.set_header("Connection", "close")
        if req.method == "HEAD" and isinstance(resp.stream, Stream):
            # Falcon sends nothing of it, and does not close it either.
            await resp.stream.close()
        kind = req.activity
        if kind is not None:
            done = done_by(req, kind, resp.status_code)
            # PERF: nearly all are runs.
            if kind is _RUN or not kind.is_durable:
                self._activities.record_later(req.resource.workspace, activity_by, done)
            else:
                await self._note(activity_by(done), req, resp)
        req.scope[ANSWERED] = True
        seconds = time.perf_counter() - req.started
        status = resp.status_code
        method = req.method if req.method in HTTP_METHODS else "OTHER"
        self._metrics.count(method, route, status, seconds)
        if self._log:
            access.info(
                "%s %s %d %.1f ms",
                method,
                shortened(req.path, _LONGEST_PATH),
                status,
                seconds * 1000,
                extra={"request_id": req.id},
            )

    async def _note(self, activity: Activity, req: Request, resp: Response) -> None:
        """Have it on the disk before it is answered."""
        try:
            await asyncio.to_thread(self._activities.record, activity)
        except StorageError as exc:
            log.error("%s", exc, exc_info=exc, extra={"request_id": req.id})
            if isinstance(resp.stream, Stream):
                await resp.stream.close()
                resp.stream = None
            write_message(resp, 503, "it was done, and cannot be noted; the server's log has more")


def _refuse_slashes(raw: bytes, template: str) -> None:
    """Refuse a path whose parts are only parts once `%2F` was decoded: a proxy may have let it pass as another one.

    What a template ends with may have them, if it takes all of the rest.
    """
    parts = raw.split(b"/", template.count("/"))
    checked = parts[:-1] if template.endswith(":path}") else parts
    if len(parts) <= template.count("/") or any(b"%2f" in part.lower() for part in checked):
        raise BadRequest("expected the slashes between the parts of the path as they are, found %2F")


DEPRECATED_SINCE = "@1767225600"
"""RFC 9745: the moment since when the first interface is deprecated, 2026-01-01."""
