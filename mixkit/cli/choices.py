"""Options and arguments whose value may be that of a `mixkit.toml`, each of which is written once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from mixkit.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ProjectOption",
    "enter_folder",
    "folder_argument",
    "is_given",
    "server_option",
    "server_to_ask",
    "token_option",
    "ws_dir_option",
    "ws_option",
]

F = TypeVar("F", bound=Callable[..., Any])

TOKEN_VARIABLE: Final = "MIXKIT_SERVER_TOKEN"


class ProjectOption(click.Option):
    """An option that has the value of a key of `mixkit.toml` where neither the command line nor the environment says
    one."""

    def __init__(self, decls: Sequence[str], *, of_project: str, **about: Any) -> None:
        super().__init__(decls, **about)
        self.of_project = of_project

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        session = ctx.find_object(Session)
        if call and session is not None and not ctx.resilient_parsing:
            value = session.of_project(self.of_project)
            if value is not None:
                return value
        return super().get_default(ctx, call)


def ws_option(
    *names: str, required: bool = False, help: str = "Workspace.", default: str | None = None
) -> Callable[[F], F]:
    """Decorator: the option `--ws`, a workspace that is there, or is made.

    Args:
        names: other ways to write it, and the name of the argument that the command gets, `ws` by default.
    """
    about: dict[str, Any] = {} if default is None else {"default": default, "show_default": True}
    return click.option(
        "--ws",
        *names,
        cls=ProjectOption,
        of_project="workspace",
        metavar="WS",
        required=required,
        help=help,
        **about,
    )


ws_dir_option = click.option(
    "--ws-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Directory of workspaces; by default that of mixkit.toml, or the one that the profile's server serves.",
)

server_option = click.option(
    "--server",
    metavar="URL",
    help="Ask the server at this URL, as https://agents.example, and no directory; by default that of a mixkit.toml "
    "that names no directory.",
)

token_option = click.option(
    "--token",
    metavar="TOKEN",
    envvar=TOKEN_VARIABLE,
    help=f"What the server takes as a token; better in {TOKEN_VARIABLE}.",
)


def server_to_ask(session: Session, server: str | None, ws_dir: Path | None, token: str | None) -> str | None:
    """The server that a command asks which has the options for one; None: it looks into the directory.

    A mixkit.toml that names both has named one place twice: the directory needs no token, and no server that runs.

    Raises:
        UsageError: both are given; or the token of the environment would go to where a file says that it should.
    """
    if server is not None:
        if ws_dir is not None:
            raise click.UsageError(
                "--ws-dir is a directory here, and --server is elsewhere; give one of them"
            )
        return server
    project = session.project
    if ws_dir is not None or project.ws_dir is not None or project.server is None:
        return None
    if token and project.found and not is_given("token") and not _is_near(project.server):
        raise click.UsageError(
            f"the token of the environment does not go to {project.server}, which only {project.path} names: whoever "
            f"wrote that would have it. If you trust it, give --server {project.server}"
        )
    return session.of_project("server")


def is_given(name: str) -> bool:
    """Whether somebody has typed the argument of the command that runs."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _is_near(url: str) -> bool:
    """Whether it is an address of this machine."""
    from urllib.parse import urlsplit

    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def enter_folder(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Callback of an argument that may be a folder: the `mixkit.toml` of the one that is given counts, as if one were
    there. That of a file's folder does not."""
    session = ctx.find_object(Session)
    given = value if isinstance(value, tuple) else (value,)
    folders = [each for each in given if each and Path(each).is_dir()]
    if session is not None and len(folders) == 1 and not ctx.resilient_parsing:
        session.work_in(folders[0])
    return value


def folder_argument(name: str = "folder") -> Callable[[F], F]:
    """Decorator: the argument FOLDER, the current one by default, whose `mixkit.toml` counts."""
    # Eager: before the options that have values of the file.
    return click.argument(
        name,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=Path(),
        is_eager=True,
        callback=enter_folder,
    )
