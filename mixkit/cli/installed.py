"""Agents of installed apps, as `mixkit run` runs them beside a server: the same code, powers and database."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mixkit.cli.runnable import Runnable
from mixkit.cli.workspaces import find_workspace, open_store
from mixkit.errors import NotFound

if TYPE_CHECKING:
    from mixkit.kernel import Kernel
    from mixkit.package import Workspace

__all__ = ["agents_of", "find_installed", "split_agent"]


def split_agent(code: Path, ws_dir: Path | None) -> tuple[str, str, str | None] | None:
    """Workspace, app and agent that WS/APP or WS/APP/AGENT names; None if it names a file or a folder.

    Args:
        ws_dir: given, what is named can be nothing else.
    """
    parts = code.parts
    if 2 <= len(parts) <= 3 and not code.is_absolute() and not code.suffix:
        if ws_dir is not None or not code.exists():
            return parts[0], parts[1], parts[2] if len(parts) == 3 else None
    elif ws_dir is not None:
        raise NotFound(f"expected WS/APP or WS/APP/AGENT with --ws-dir, found {str(code)!r}")
    return None


def find_installed(kernel: Kernel, ws_dir: Path | None, ws: str, app: str) -> dict[str, Runnable]:
    """The agents of an installed app by name, `APP/AGENT`.

    Raises:
        NotFound: there is no such directory, workspace or app.
    """
    try:
        store = open_store(kernel, ws_dir)
        workspace = find_workspace(store, ws)
        kernel.keep_signals(lambda name: store.workspace(name).signals())
    except NotFound as exc:
        if ws_dir is not None:
            raise
        raise NotFound(f"no such file {f'{ws}/{app}'!r}; and as an installed app: {exc}") from None
    return agents_of(workspace, app)


def agents_of(workspace: Workspace, app: str) -> dict[str, Runnable]:
    """The agents of an app of a workspace by name, `APP/AGENT`. `NotFound` if there is no such app."""
    from mixkit.databases import Apps

    with closing(workspace.app(app)) as installed:
        return {
            f"{app}/{name}": Runnable(
                f"{app}/{name}",
                agent.entry,
                installed.code(name),
                agent.description,
                agent.in_params,
                agent.out_params,
                installed.grants,
                installed.limits,
                installed.settings,
                app,
                workspace.name,
                installed.place,
                Apps(
                    partial(workspace.place_beside, installed.place),
                    partial(workspace.file, installed.place, installed.generation),
                ),
            )
            for name, agent in installed.agents.items()
        }
