"""Workspaces in a directory, as commands see them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, TypeVar

from mixkit.activities import Kind
from mixkit.cli import desk
from mixkit.cli.noted import noted
from mixkit.cli.workspaces import find_workspace

if TYPE_CHECKING:
    from mixkit.cli.progress import Progress
    from mixkit.kernel import Kernel
    from mixkit.package import Workspace, WorkspaceStore
    from mixkit.package.app import Installation

__all__ = ["Local"]


F = TypeVar("F", bound=Callable[..., Any])


def _noted(kind: Kind) -> Callable[[F], F]:
    """Decorator: what the method does with a workspace, and an app of it, is an activity."""

    def decorate(method: F) -> F:
        @functools.wraps(method)
        def done(self: Local, ws: str, *more: Any, **options: Any) -> Any:
            with noted(self.store, kind, ws, more[0] if more else None):
                return method(self, ws, *more, **options)

        return done  # type: ignore[return-value]

    return decorate


class Local:
    """Those of a directory."""

    def __init__(self, kernel: Kernel, store: WorkspaceStore) -> None:
        self.kernel = kernel
        self.store = store

    def workspace(self, name: str) -> Workspace:
        return find_workspace(self.store, name)

    def workspaces(self) -> list[tuple[str, list[str]]]:
        return [(name, self.store.workspace(name).apps()) for name in self.store.list()]

    @_noted(Kind.CREATE)
    def create(self, ws: str) -> dict[str, Any]:
        return {"workspace": ws, "path": str(self.store.create(ws).root)}

    def apps(self, ws: str) -> list[str]:
        return self.workspace(ws).apps()

    def installed(self, ws: str) -> list[dict[str, Any]]:
        workspace = self.workspace(ws)
        found = []
        for name in workspace.apps():
            with closing(workspace.app(name)) as app:
                release = app.release
                found.append(
                    {
                        "app": name,
                        "package": release.package if release else None,
                        "version": release.version if release else None,
                        "signer": release.signer if release else None,
                        "agents": list(app.agents),
                        "descriptions": {agent: about.description for agent, about in app.agents.items()},
                    }
                )
        return found

    def shown(self, ws: str, app: str) -> dict[str, Any]:
        from mixkit.cli.installed import agents_of
        from mixkit.cli.runnable import described

        workspace = self.workspace(ws)
        with closing(workspace.app(app)) as found:
            release, place, limits = found.release, found.place, found.limits
            layers = found.grants.layers()
        agents = [described(self.kernel, item) for item in agents_of(workspace, app).values()]
        return {
            "app": f"{ws}/{app}",
            "package": release.package if release else None,
            "version": release.version if release else None,
            "signer": release.signer if release else None,
            "database": str(place.home),
            "limits": limits,
            "granted": [{"ffis": patterns, "options": options} for patterns, options in layers],
            "agents": [
                {
                    "agent": item.name.rpartition("/")[2],
                    "params": str(item.params),
                    "result": str(item.result),
                    "description": item.description,
                }
                for item in agents
            ],
        }

    @_noted(Kind.DELETE)
    def remove(self, ws: str) -> None:
        self.store.delete(ws)

    @_noted(Kind.CREATE)
    def create_app(self, ws: str, app: str) -> dict[str, Any]:
        made = self.workspace(ws).create_app(app)
        return {"app": f"{ws}/{app}", "database": str(made.place.home)}

    @_noted(Kind.DELETE)
    def remove_app(self, ws: str, app: str) -> None:
        self.workspace(ws).delete_app(app)

    def powers(self, ws: str, app: str) -> dict[str, Any]:
        with closing(self.workspace(ws).app(app)) as found:
            return _powers(found.installation)

    @_noted(Kind.INSTALL)
    def agree(self, ws: str, app: str, powers: list[str] | None) -> dict[str, Any]:
        return _powers(self.workspace(ws).agree(app, powers))

    @_noted(Kind.EXPORT)
    def export(
        self, ws: str, app: str | None, file: IO[bytes], history: bool, grants: bool, progress: Progress
    ) -> None:
        import asyncio

        from mixkit.moving.leaving import Leaving, export

        workspace = self.workspace(ws)
        what = Leaving(app, history, grants, desk.watched(progress))

        async def write() -> None:
            async for piece in export(self.kernel, workspace, what):
                file.write(piece)

        asyncio.run(write())

    def look(self, file: IO[bytes]) -> dict[str, Any]:
        return desk.described(file)

    def bring(
        self, file: IO[bytes], ws: str | None, into: bool, grants: bool, progress: Progress
    ) -> dict[str, Any]:
        import dataclasses

        from mixkit.moving.arriving import Bringing

        found = desk.opened(file)
        name = ws or found.manifest.name
        if into:
            self.workspace(name)
        how = Bringing(belongings=grants, watch=desk.watched(progress))
        new = name not in self.store.list()
        with noted(self.store, Kind.IMPORT, name) as about:
            done = found.bring(self.kernel, self.store, name, how, new=new)
            about |= {"apps": [*done.apps], "records": done.records}
        return dataclasses.asdict(done)


def _powers(found: Installation | None) -> dict[str, Any]:
    return {
        "allowed": found.allowed() if found else [],
        "withheld": found.withheld() if found else [],
    }
