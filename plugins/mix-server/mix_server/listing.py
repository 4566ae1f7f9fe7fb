"""The agents of a workspace, as they are listed: with what they take and answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from mix_server.caller import Resource
from mixkit.errors import MixError, NotFound
from mixkit.schema import ANY, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from mix_server.catalog import Catalog
    from mixkit.package import InstalledApp, Workspace, WorkspaceStore

__all__ = ["Agent", "agents_of"]


class Agent(NamedTuple):
    """An agent as it is listed: `problem` says why its code cannot be used, if it cannot."""

    app: str
    name: str
    description: str
    params: Type
    result: Type
    problem: str = ""


async def agents_of(
    catalog: Catalog, store: WorkspaceStore, ws: str, may_run: Callable[[Resource], bool]
) -> list[Agent]:
    """The agents of a workspace for which `may_run` says yes, by app and name.

    Raises:
        NotFound: there is no such workspace.
    """

    def installed() -> list[InstalledApp]:
        workspace = store.workspace(ws)
        return [app for name in sorted(workspace.apps()) if (app := _app(workspace, name)) is not None]

    found = []
    for app in await asyncio.to_thread(installed):
        for name, agent in sorted(app.agents.items()):
            if not may_run(Resource(ws, app.name, name)):
                continue
            if _is_whole(app, name):
                # PERF: code is loaded only where the package leaves something to it.
                found.append(Agent(app.name, name, agent.description, agent.in_params, agent.out_params))
                continue
            try:
                target = await catalog.of_installed(app, name)
            except NotFound:
                continue  # The workspace was deleted since it was listed.
            except MixError as exc:
                found.append(Agent(app.name, name, agent.description, ANY, ANY, str(exc)))
            else:
                found.append(Agent(app.name, name, target.description, target.params, target.result))
    return found


def _app(workspace: Workspace, name: str) -> InstalledApp | None:
    try:
        return workspace.app(name)
    except NotFound:
        return None


def _is_whole(app: InstalledApp, agent: str) -> bool:
    """Whether a package says itself what an agent is, takes and answers."""
    if app.release is None:
        return False
    said = app.release.agents[agent]
    return bool(said.description) and None not in (said.in_params, said.out_params)
