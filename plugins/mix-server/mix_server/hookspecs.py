"""The hooks that the server adds to those of the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.hookspecs import hookspec

if TYPE_CHECKING:
    from falcon.asgi import App

    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["mix_middleware", "mix_page", "mix_routes"]


@hookspec
def mix_routes(app: App[Request, Response], server: Server) -> None:
    """Add routes: `app.add_route("/v1/ext/weather/{city}", Weather(server))`. Called once, before any fork.

    A request has been authorized before it comes to a resource: `req.caller` says who asks. What a method needs, the
    resource says in its `permissions`, as `{"GET": Permission.READ}` (`mix_server.caller`): it is asked of the names
    `ws`, `app` and `agent` in the path. What it does not say needs `Permission.ADMIN`. One that changes something and
    has `If-Match` or `If-None-Match` comes to a resource only for the methods in its `heeds_conditions`; else it is
    refused with 412. Names in a query string are refused with 400 unless they are in its `options`, as
    `{"GET": {"unit"}}`, or it judges them by itself: `{"GET": mix_server.options.ITS_OWN}`.
    What its methods take and answer, for the OpenAPI document, it says in its `methods` (`mix_server.described`).
    """


@hookspec
def mix_middleware() -> Any:
    """A Falcon ASGI middleware object, or a list of them. They run inside the server's own."""


@hookspec
def mix_page() -> tuple[str, str]:  # type: ignore[empty-body]
    """A page of the server for people: what it is, in a word or two, and its path. `mixkit serve` says where it is."""
