"""The names of an app's secrets, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final, TypedDict

from mix_server.described import Method

from mix_secrets.vaults import FOLDER, app_of, found_in

__all__ = ["Secrets"]

_ADMIN: Final = "admin"
"""The server's permission for what belongs to who administers an app."""


class SecretDescription(TypedDict):
    """What may be known of a secret. `changed` is in milliseconds since 1970; `user` is empty for nobody."""

    name: str
    user: str
    kind: str
    version: int
    changed: int


class SecretNames(TypedDict):
    """The secrets of an app."""

    secrets: list[SecretDescription]


class Secrets:
    """`GET /v1/ws/{ws}/app/{app}/secrets`: what each secret of the app is called, whose it is, and when it was stored.

    Values are for agents: no request reads one.
    """

    permissions: ClassVar = {"GET": _ADMIN}
    methods: ClassVar = {"GET": Method("List the names of an app's secrets", {200: SecretNames})}

    def __init__(self, server: Any) -> None:
        self._server = server

    async def on_get(self, req: Any, resp: Any, ws: str, app: str) -> None:
        resp.set_header("Cache-Control", "no-store")
        resp.media = {"secrets": await asyncio.to_thread(self._listed, ws, app)}

    def _listed(self, ws: str, app: str) -> list[SecretDescription]:
        """`NotFound` if there is no such app."""
        workspace = self._server.store.workspace(ws)
        place = workspace.place(app)
        vault = found_in(workspace.root / FOLDER, workspace.name, self._server.kernel.keyring)
        return [
            {
                "name": entry.name.name,
                "user": entry.name.user,
                "kind": entry.name.kind,
                "version": entry.version,
                "changed": entry.changed,
            }
            for entry in vault.entries(app_of(place))
        ]
