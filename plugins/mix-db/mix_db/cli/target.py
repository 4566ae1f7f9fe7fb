"""Which database a command is about, and opening it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from mixkit.cli.choices import ws_dir_option
from mixkit.cli.session import Session
from mixkit.cli.workspaces import find_workspace, served_dir, split_app

if TYPE_CHECKING:
    from mix_db.engine.handle import Handle

__all__ = ["VARIABLE", "Target", "database_option"]

VARIABLE = "MIXKIT_DB"

Mode = Literal["create", "write", "read"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """The folder of a database."""

    folder: Path

    @contextmanager
    def open(self, mode: Mode) -> Iterator[Handle]:
        """The open database.

        Raises:
            NotFound: there is none, and it is not to be made.
            ProfileError: a setting of the plugin is wrong.
            StorageError: it cannot be opened.
        """
        with closing(open_database(self.folder, mode)) as database:
            yield database


def open_database(folder: Path, mode: Mode) -> Handle:
    """The database in a folder. Raises as `Target.open`."""
    from mix_db.engine.opening import open_folder
    from mix_db.settings import Settings
    from mixkit.errors import NotFound

    settings = click.get_current_context().ensure_object(Session).settings("db", Settings)
    try:
        return open_folder(folder, create=mode == "create", read_only=mode == "read", settings=settings)
    except NotFound:
        raise NotFound(
            f"no database in {str(folder)!r}; make one there with: mixkit db init --db {folder}"
        ) from None


def database_option(function: F) -> F:
    """Decorator: the options that name a database. The command gets `target`, a `Target`."""

    @functools.wraps(function)
    def command(*args: Any, folder: Path | None, ws_dir: Path | None, app: str | None, **options: Any) -> Any:
        return function(*args, target=_target(folder, ws_dir, app), **options)

    for option in (
        click.option("--app", metavar="WS/APP", help="Workspace and app whose database it is."),
        ws_dir_option,
        click.option(
            "--db",
            "folder",
            type=click.Path(file_okay=False, path_type=Path),
            help=f"Folder of the database, that of run --database too; by default what {VARIABLE} names.",
        ),
    ):
        command = option(command)
    return command  # type: ignore[return-value]


def _target(folder: Path | None, ws_dir: Path | None, app: str | None) -> Target:
    import os

    if ws_dir is not None and app is None:
        raise click.UsageError("whose database? --ws-dir goes with --app WS/APP")
    if folder is not None and app is not None:
        raise click.UsageError("give --db or --app, not both")
    if app is not None:
        return _app_target(ws_dir, app)
    named = os.environ.get(VARIABLE)
    if folder is None and not named:
        raise click.UsageError(
            f"which database? Give --db FOLDER, or --app WS/APP with --ws-dir, or set {VARIABLE}"
        )
    from mix_db.files.home import located

    return Target(located(folder or Path(str(named))))


def _app_target(ws_dir: Path | None, name: str) -> Target:
    from mix_db.files.home import folder_in
    from mix_db.storages import Mixquery
    from mixkit.databases import Databases
    from mixkit.errors import NotFound
    from mixkit.package import WorkspaceStore

    workspace, app = split_app(name)
    if ws_dir is None:
        with click.get_current_context().ensure_object(Session).kernel() as kernel:
            ws_dir = served_dir(kernel)
    if not ws_dir.is_dir():
        raise NotFound(f"no directory of workspaces at {str(ws_dir)!r}; give another --ws-dir")
    with closing(Databases(Mixquery)) as databases:
        place = find_workspace(WorkspaceStore(ws_dir, databases), workspace).place(app)
    return Target(folder_in(place.home))
