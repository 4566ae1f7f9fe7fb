"""What a shell is offered behind a command: the names that there are. Never an error: somebody is typing."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from mixkit.cli.session import Session

if TYPE_CHECKING:
    from mixkit.package import WorkspaceStore

__all__ = ["complete_code", "complete_ffi", "complete_profile", "complete_where", "complete_workspace"]


def complete_profile(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of profiles."""
    from mixkit.profile import profile_names

    return [name for name in profile_names() if name.startswith(incomplete)]


def complete_ffi(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of FFIs of the profile."""
    try:
        names = [each.name for each in _session(ctx).assembly().ffis]
    except Exception:
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_workspace(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of workspaces of the directory."""
    return [name for name in _names(ctx, "") if name.startswith(incomplete)]


def complete_where(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """WS, WS/APP or WS/APP/AGENT: the names of the part that is being typed."""
    above, slash, _ = incomplete.rpartition("/")
    return [name for name in _names(ctx, above + slash) if name.startswith(incomplete)]


def complete_code(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A file, or what is installed."""
    names = complete_where(ctx, param, incomplete) if incomplete else []
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


def _session(ctx: click.Context) -> Session:
    return ctx.find_object(Session) or Session()


def _names(ctx: click.Context, above: str) -> list[str]:
    from mixkit.cli.workspaces import open_store

    try:
        with _session(ctx).kernel() as kernel:
            return [f"{above}{name}" for name in _within(open_store(kernel, ctx.params.get("ws_dir")), above)]
    except Exception:
        return []


def _within(store: WorkspaceStore, above: str) -> list[str]:
    match above.split("/"):
        case [""]:
            return [*store.list()]
        case [ws, ""]:
            return [*store.workspace(ws).apps()]
        case [ws, app, ""]:
            with closing(store.workspace(ws).app(app)) as found:
                return [*found.agents]
    return []
