"""Records of apps that describe prompts and resources: those of the apps that somebody may read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mix_server.caller import Permission, Resource

if TYPE_CHECKING:
    from mix_server.caller import Caller
    from mix_server.server import Server

    from mixkit.storage import Database

__all__ = ["PROMPT", "RESOURCE", "TOOL", "Records", "as_lists", "texts_of"]

PROMPT: Final = "mcp_prompt"
RESOURCE: Final = "mcp_resource"
TOOL: Final = "mcp_tool"
_MOST: Final = 1_000
"""Records of a type in an app that are read."""


class Records:
    """The records of one workspace that MCP knows.

    Args:
        server: which has it.
        workspace: its name.
    """

    def __init__(self, server: Server, workspace: str) -> None:
        self._server = server
        self._workspace = workspace

    async def apps(self, who: Caller) -> list[str]:
        """The apps that somebody may read. `NotFound` if the workspace is gone."""
        apps = self._server.store.workspace(self._workspace).apps()
        await self._server.authorizer.ready(who, self._workspace)
        may = self._server.authorizer.may
        return [app for app in apps if may(who, Permission.READ, Resource(self._workspace, app))]

    async def of_type(self, who: Caller, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
        """The records of a type that somebody may read, each with its app."""
        return await self.of_apps(kind, await self.apps(who))

    async def of_apps(self, kind: str, apps: list[str]) -> list[tuple[str, Mapping[str, Any]]]:
        """The records of a type in some apps, each with its app."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for app in apps:
            database = await self._server.databases.of(self._workspace, app)
            rows = await self._server.databases.call(partial(_read, database, kind))
            found += [(app, row) for row in rows]
        return found

    async def moments(self) -> tuple[str, ...]:
        """Stands for what is in the databases of all apps."""
        apps = self._server.store.workspace(self._workspace).apps()
        return tuple([(await self._server.databases.of(self._workspace, app)).watermark() for app in apps])


def _read(database: Database, kind: str) -> list[dict[str, Any]]:
    with database.query("_rmx_type == $type", {"type": kind}, limit=_MOST) as rows:
        return list(rows)


def as_lists(row: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The maps in an array of a record; what else somebody has written there is passed over."""
    found = row.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def texts_of(row: Mapping[str, Any], key: str) -> list[str]:
    """The texts in an array of a record; what else is written there is passed over."""
    found = row.get(key)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []
