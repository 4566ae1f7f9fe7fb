"""The metrics page."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mix_server.caller import Permission
from mix_server.described import Method
from mix_server.error_answer import write_message
from mix_server.metrics import DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["MetricsPage"]


class MetricsPage:
    """`GET /metrics`, for Prometheus: the sums over all workers, or 503 where only this one's are known."""

    permissions: ClassVar = {"GET": Permission.ADMIN}
    methods: ClassVar = {"GET": Method("Counters, for Prometheus", {200: str}, ("text/plain",))}

    def __init__(self, server: Server) -> None:
        self._server = server

    async def on_get(self, req: Request, resp: Response) -> None:
        rendered = self._server.metrics.render()
        if rendered is None:
            write_message(
                resp,
                503,
                f"several workers share no metrics: set {DIRECTORY_VARIABLE} to an empty directory, "
                "or start gunicorn with -c python:mix_server.gunicorn_conf",
            )
        else:
            resp.data, resp.content_type = rendered
