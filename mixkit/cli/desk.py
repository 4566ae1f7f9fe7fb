"""Workspaces as commands see them: in a directory on this machine, or behind a server's URL."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import quote, urlencode

import click

from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import find_workspace, open_store, ws_dir_option

if TYPE_CHECKING:
    from mixkit.cli.progress import Progress
    from mixkit.kernel import Kernel
    from mixkit.moving.arriving import Export
    from mixkit.moving.remote import Remote
    from mixkit.package import Workspace, WorkspaceStore
    from mixkit.package.app import Installation

__all__ = ["Desk", "desk_command", "spooled"]

F = TypeVar("F", bound=Callable[..., Any])

TOKEN_VARIABLE: Final = "MIXKIT_SERVER_TOKEN"
MOST: Final = 1 << 40
"""Bytes of an export: a person at a terminal knows the disk."""
_CHUNK: Final = 1 << 20

server_option = click.option(
    "--server", metavar="URL", help="Ask the server at this URL, as https://agents.example, and no directory."
)
token_option = click.option(
    "--token",
    metavar="TOKEN",
    envvar=TOKEN_VARIABLE,
    help=f"What the server takes as a token; better in {TOKEN_VARIABLE}.",
)


def desk_command(*, make: bool = False) -> Callable[[F], F]:
    """Decorator: the command gets `desk`, and `out` to print with, beside its own arguments.

    Args:
        make: also the directory of workspaces.
    """

    def decorate(function: F) -> F:
        @json_option
        @token_option
        @server_option
        @ws_dir_option
        @pass_session
        @functools.wraps(function)
        def command(
            session: Session,
            /,
            *args: Any,
            ws_dir: Path | None,
            server: str | None,
            token: str | None,
            **options: Any,
        ) -> Any:
            from mixkit.cli.output import Output

            out = Output(session.as_json)
            with _opened(session, ws_dir, server, token, make) as desk:
                return function(*args, desk=desk, out=out, **options)

        return command  # type: ignore[return-value]

    return decorate


@contextmanager
def _opened(
    session: Session, ws_dir: Path | None, server: str | None, token: str | None, make: bool
) -> Iterator[Desk]:
    if server is None:
        with session.kernel() as kernel:
            yield Local(kernel, open_store(kernel, ws_dir, make=make))
        return
    if ws_dir is not None:
        raise click.UsageError("--ws-dir is a directory here, and --server is elsewhere; give one of them")
    from mixkit.moving.remote import ANYWHERE, Remote

    yield Served(Remote(ANYWHERE), server.rstrip("/"), token)


class Desk(Protocol):
    """What is done with workspaces. Errors are `MixError`, which say what was expected."""

    def workspaces(self) -> list[tuple[str, list[str]]]:
        """Names of the workspaces with those of their apps."""
        ...

    def create(self, ws: str) -> dict[str, Any]:
        """Make an empty workspace; answers what there is to say."""
        ...

    def apps(self, ws: str) -> list[str]:
        """Names of the apps of a workspace."""
        ...

    def remove(self, ws: str) -> None:
        """Remove a workspace and all that is in it."""
        ...

    def create_app(self, ws: str, app: str) -> dict[str, Any]:
        """Make an app without code; answers what there is to say."""
        ...

    def remove_app(self, ws: str, app: str) -> None:
        """Remove an app and its data."""
        ...

    def powers(self, ws: str, app: str) -> dict[str, Any]:
        """What an app may do: `allowed` and `withheld`."""
        ...

    def agree(self, ws: str, app: str, powers: list[str] | None) -> dict[str, Any]:
        """Agree to powers that are withheld, or to all; answers as `powers`."""
        ...

    def export(
        self, ws: str, app: str | None, file: IO[bytes], history: bool, grants: bool, progress: Progress
    ) -> None:
        """Write the export of a workspace or an app."""
        ...

    def look(self, file: IO[bytes]) -> dict[str, Any]:
        """What an export holds, after all of it was read and found whole."""
        ...

    def bring(
        self, file: IO[bytes], ws: str | None, into: bool, grants: bool, progress: Progress
    ) -> dict[str, Any]:
        """Import an export: as the workspace of that name or of its own, or into one that is there."""
        ...


class Local:
    """Those of a directory."""

    def __init__(self, kernel: Kernel, store: WorkspaceStore) -> None:
        self.kernel = kernel
        self.store = store

    def workspace(self, name: str) -> Workspace:
        return find_workspace(self.store, name)

    def workspaces(self) -> list[tuple[str, list[str]]]:
        return [(name, self.store.workspace(name).apps()) for name in self.store.list()]

    def create(self, ws: str) -> dict[str, Any]:
        return {"workspace": ws, "path": str(self.store.create(ws).root)}

    def apps(self, ws: str) -> list[str]:
        return self.workspace(ws).apps()

    def remove(self, ws: str) -> None:
        self.store.delete(ws)

    def create_app(self, ws: str, app: str) -> dict[str, Any]:
        made = self.workspace(ws).create_app(app)
        return {"app": f"{ws}/{app}", "database": str(made.place.home)}

    def remove_app(self, ws: str, app: str) -> None:
        self.workspace(ws).delete_app(app)

    def powers(self, ws: str, app: str) -> dict[str, Any]:
        with closing(self.workspace(ws).app(app)) as found:
            return _powers(found.installation)

    def agree(self, ws: str, app: str, powers: list[str] | None) -> dict[str, Any]:
        return _powers(self.workspace(ws).agree(app, powers))

    def export(
        self, ws: str, app: str | None, file: IO[bytes], history: bool, grants: bool, progress: Progress
    ) -> None:
        import asyncio

        from mixkit.moving.leaving import Leaving, export

        workspace = self.workspace(ws)
        what = Leaving(app, history, grants, _watched(progress))

        async def write() -> None:
            async for piece in export(self.kernel, workspace, what):
                file.write(piece)

        asyncio.run(write())

    def look(self, file: IO[bytes]) -> dict[str, Any]:
        opened = _export(file)
        opened.check()
        return opened.described()

    def bring(
        self, file: IO[bytes], ws: str | None, into: bool, grants: bool, progress: Progress
    ) -> dict[str, Any]:
        import dataclasses

        from mixkit.moving.arriving import Bringing

        opened = _export(file)
        name = ws or opened.manifest.name
        if into:
            self.workspace(name)
        how = Bringing(belongings=grants, watch=_watched(progress))
        new = name not in self.store.list()
        return dataclasses.asdict(opened.bring(self.kernel, self.store, name, how, new=new))


class Served:
    """Those behind a URL."""

    def __init__(self, remote: Remote, url: str, token: str | None) -> None:
        self._remote = remote
        self._url = f"{url}/v1"
        self._token = token

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        return self._remote.call(method, self._url + quote(path), body, token=self._token) or {}

    def workspaces(self) -> list[tuple[str, list[str]]]:
        return [(name, self.apps(name)) for name in self._call("GET", "/ws")["workspaces"]]

    def create(self, ws: str) -> dict[str, Any]:
        made = self._call("POST", "/ws", {"name": ws})
        return {"workspace": made["name"], "path": f"{self._url}/ws/{ws}"}

    def apps(self, ws: str) -> list[str]:
        found: list[str] = self._call("GET", f"/ws/{ws}")["apps"]
        return found

    def remove(self, ws: str) -> None:
        self._call("DELETE", f"/ws/{ws}")

    def create_app(self, ws: str, app: str) -> dict[str, Any]:
        self._call("PUT", f"/ws/{ws}/app/{app}")
        return {"app": f"{ws}/{app}", "database": f"{self._url}/ws/{ws}/app/{app}"}

    def remove_app(self, ws: str, app: str) -> None:
        self._call("DELETE", f"/ws/{ws}/app/{app}")

    def powers(self, ws: str, app: str) -> dict[str, Any]:
        return self._powers(self._call("GET", f"/ws/{ws}/powers/{app}"))

    def agree(self, ws: str, app: str, powers: list[str] | None) -> dict[str, Any]:
        body = {"all": True} if powers is None else {"agree": powers}
        return self._powers(self._call("POST", f"/ws/{ws}/powers/{app}", body))

    def _powers(self, found: dict[str, Any]) -> dict[str, Any]:
        return {"allowed": found["allowed"], "withheld": found["withheld"]}

    def export(
        self, ws: str, app: str | None, file: IO[bytes], history: bool, grants: bool, progress: Progress
    ) -> None:
        of = f"/ws/{ws}" if app is None else f"/ws/{ws}/app/{app}"
        options = {"history": "true"} if history else {}
        if not grants:
            options["grants"] = "false"
        url = f"{self._url}{quote(of)}/export{'?' if options else ''}{urlencode(options)}"
        self._remote.fetch(url, file, MOST, token=self._token, watch=_counted(progress))

    def look(self, file: IO[bytes]) -> dict[str, Any]:
        opened = _export(file)
        opened.check()
        return opened.described()

    def bring(
        self, file: IO[bytes], ws: str | None, into: bool, grants: bool, progress: Progress
    ) -> dict[str, Any]:
        options = {} if grants else {"grants": "false"}
        if ws is not None and not into:
            options["ws"] = ws
        path = f"/ws/{ws}/import" if into else "/ws-import"
        url = f"{self._url}{quote(path)}{'?' if options else ''}{urlencode(options)}"
        watch = _counted(progress)

        async def pieces() -> Any:
            file.seek(0)
            while piece := file.read(_CHUNK):
                yield piece
                watch(len(piece))

        return self._remote.send(url, pieces, token=self._token)


@contextmanager
def spooled(path: Path) -> Iterator[IO[bytes]]:
    """A file to read from any place: the one of that path, or all of standard input for `-`."""
    if str(path) != "-":
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        while piece := sys.stdin.buffer.read(_CHUNK):
            file.write(piece)
        yield file


def _export(file: IO[bytes]) -> Export:
    from mixkit.moving.arriving import Export

    return Export(file, MOST)


def _powers(found: Installation | None) -> dict[str, Any]:
    return {
        "allowed": found.allowed() if found else [],
        "withheld": found.withheld() if found else [],
    }


def _watched(progress: Progress) -> Callable[[int, int], object]:
    """What is told of records and bytes."""
    records = size = 0

    def watch(more: int, bytes: int) -> None:
        nonlocal records, size
        records, size = records + more, size + bytes
        progress.update(records, size)

    return watch


def _counted(progress: Progress) -> Callable[[int], object]:
    """What is told of bytes."""
    size = 0

    def watch(more: int) -> None:
        nonlocal size
        size += more
        progress.update(0, size)

    return watch
