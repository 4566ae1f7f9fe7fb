"""The directory of workspaces that a command is about, and what is named in it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mixkit.cli.choices import ws_dir_option
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mixkit.cli.output import Output
    from mixkit.kernel import Kernel
    from mixkit.package import Workspace, WorkspaceStore

__all__ = [
    "agreed",
    "find_workspace",
    "open_store",
    "served_dir",
    "split_app",
    "store_command",
    "yes_option",
]

F = TypeVar("F", bound=Callable[..., Any])

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def store_command(function: F) -> F:
    """Decorator: the command gets `store`, and `out` to print with, beside its own arguments."""

    @json_option
    @ws_dir_option
    @pass_session
    @functools.wraps(function)
    def command(session: Session, /, *args: Any, ws_dir: Path | None, **options: Any) -> Any:
        from mixkit.cli.output import Output

        with session.kernel() as kernel:
            store = open_store(kernel, ws_dir)
            return function(*args, store=store, out=Output(session.as_json), **options)

    return command  # type: ignore[return-value]


def open_store(kernel: Kernel, ws_dir: Path | None, *, make: bool = False) -> WorkspaceStore:
    """The workspaces of a directory, or of the one that the server of the kernel's profile serves.

    Args:
        make: also the directory.

    Raises:
        NotFound: there is no such directory.
        UsageError: none is given, and the profile has no server.
    """
    from mixkit.errors import NotFound
    from mixkit.package import WorkspaceStore

    ws_dir = ws_dir or served_dir(kernel)
    if not make and not ws_dir.is_dir():
        raise NotFound(
            f"no directory of workspaces at {str(ws_dir)!r}; give another --ws-dir, or make a first one with "
            "`mixkit ws create NAME`"
        )
    kernel.keep_keys(ws_dir)
    return WorkspaceStore(ws_dir, kernel.databases, kernel.files if kernel.filesystem else None)


def served_dir(kernel: Kernel) -> Path:
    """The directory of workspaces that the server of the kernel's profile serves, or that mixkit.toml names.
    `UsageError` if neither has one."""
    from mixkit.errors import NotFound

    try:
        return Path(kernel.settings("server").ws_dir)
    except NotFound:
        context = click.get_current_context(silent=True)
        session = context.find_object(Session) if context is not None else None
        if session is not None and session.project.ws_dir is not None:
            return Path(session.project.ws_dir)
        raise click.UsageError(
            f"which directory of workspaces? Give --ws-dir DIR; profile {kernel.profile.name!r} has no server "
            "whose directory it could be"
        ) from None


def find_workspace(store: WorkspaceStore, name: str) -> Workspace:
    """The workspace of that name. `NotFound` names those that there are."""
    from mixkit.errors import NotFound
    from mixkit.near import meant

    known = store.list()
    if name not in known:
        there = f"there are: {', '.join(known) or 'none'}"
        raise NotFound(f"no workspace {name!r} in {str(store.root)!r}; {there}{meant(name, known)}")
    return store.workspace(name)


def split_app(name: str) -> tuple[str, str]:
    """Workspace and app of `WS/APP`."""
    workspace, slash, app = name.partition("/")
    if not (workspace and slash and app) or "/" in app:
        raise click.BadParameter(f"expected WS/APP, as first/notes; found {name!r}", param_hint="WS/APP")
    return workspace, app


def agreed(question: str, yes: bool, out: Output, what: str | None = None) -> None:
    """Ask at the terminal whether something may be lost. Whoever says no ends the command, with status 1.

    Args:
        yes: it was agreed to before.
        what: what the command does, for where nobody can be asked; the question by default.

    Raises:
        UsageError: nobody can be asked.
    """
    if yes:
        return
    if out.as_json or not sys.stdin.isatty():
        raise click.UsageError(
            f"{question} Say --yes to agree" if what is None else f"{what}; say --yes to agree"
        )
    if not click.confirm(question, err=True):
        out.note("nothing was done")
        raise click.exceptions.Exit(1)
