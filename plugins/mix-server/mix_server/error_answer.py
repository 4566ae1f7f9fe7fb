"""How every error becomes an answer over HTTP. What is said of it: `fault.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import falcon

from mix_server.errors import NOT_FOUND, Refusal, encode, message_body
from mix_server.fault import failure, judged
from mix_server.request import Request
from mix_server.response import Response

if TYPE_CHECKING:
    from falcon.asgi import App

__all__ = ["error_line", "install_handlers", "write_message"]


def install_handlers(app: App[Request, Response]) -> None:
    """Let every error that leaves a resource or a middleware of `app` end here."""
    app.add_error_handler(falcon.HTTPError, _on_falcon_error)
    app.add_error_handler(Exception, _on_error)


def write_message(resp: Response, status: int, message: str, **details: Any) -> None:
    """Make the answer an error with a message, and with what a program wants to know besides."""
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = message_body(message, **details)


def error_line(req: Request, exc: Exception) -> bytes:
    """The error as JSON on one line, for an answer whose status has been sent already."""
    _, message, details = (0, str(exc), {}) if isinstance(exc, Refusal) else judged(req, exc)
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
    agent = f"{params.get('ws')}/{params.get('app')}/{params.get('agent')}" if "agent" in params else None
    resp.status, body = failure(req, exc, agent)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = encode(body)
