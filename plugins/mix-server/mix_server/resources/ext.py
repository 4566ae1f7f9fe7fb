"""Paths below `/v1/ext`, each handed to the plugin that has registered its first name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mix_server.auth import admit, permission_of
from mix_server.caller import EVERYBODY, Permission, Resource
from mix_server.described import Method
from mix_server.options import ITS_OWN
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mix_server.request import Request
    from mix_server.response import Response
    from mix_server.server import Server

__all__ = ["Extensions"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Extensions:
    """`ANY /v1/ext/{ext}/{path..}`: what a plugin does there; see the hook `mix_extensions`."""

    permissions: ClassVar = dict.fromkeys(_METHODS, Permission.SEE)
    admits_by_itself = True
    heeds_conditions = frozenset(_METHODS)
    options: ClassVar = dict.fromkeys(_METHODS, ITS_OWN)
    methods: ClassVar = {
        method: Method("What the plugin of that name does", takes=bytes, taken_as=("*/*",), others=True)
        for method in _METHODS
    }

    def __init__(self, server: Server, extensions: Mapping[str, Any]) -> None:
        self._server = server
        self._extensions = extensions

    async def _on(self, req: Request, resp: Response, ext: str, path: str) -> None:
        found = self._extensions.get(ext)
        permission = Permission.SEE if found is None else permission_of(found, req.method)
        if permission is not EVERYBODY:
            about = Resource() if found is None else _about(found, path)
            req.caller = await admit(self._server.authorizer, req, permission, about)
        if found is None:
            raise NotFound("no plugin has registered that name")
        await found.on_request(req, resp, path)

    on_get = on_post = on_put = on_patch = on_delete = _on


def _about(extension: Any, path: str) -> Resource:
    """What a request is about, if the plugin says it; the server otherwise."""
    resource: Resource = extension.resource(path) if hasattr(extension, "resource") else Resource()
    return resource
