"""What serves, for who looks whether it is of their version."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, TypedDict

from mix_server.caller import EVERYBODY
from mix_server.described import Method

from mixkit import __version__

if TYPE_CHECKING:
    from mix_server.request import Request
    from mix_server.response import Response

__all__ = ["ReleaseInfo"]


class Release(TypedDict):
    """What serves."""

    name: Literal["mixkit"]
    version: str


class ReleaseInfo:
    """`GET /v1/ext/remix-app/release-info`: name and version, to everybody, as `GET /` says them."""

    permissions: ClassVar = {"GET": EVERYBODY}
    never_limited = True
    methods: ClassVar = {"GET": Method("Say which release serves", {200: Release})}

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = {"name": "mixkit", "version": __version__}
