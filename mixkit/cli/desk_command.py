"""Commands that work on a directory of workspaces or on a server."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from mixkit.cli.choices import server_option, server_to_ask, token_option, ws_dir_option
from mixkit.cli.desk import CHUNK
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import open_store

if TYPE_CHECKING:
    from mixkit.cli.desk import Desk

__all__ = ["desk_command", "spooled"]

F = TypeVar("F", bound=Callable[..., Any])


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
    server = server_to_ask(session, server, ws_dir, token)
    if server is None:
        from mixkit.cli.local import Local

        with session.kernel() as kernel:
            yield Local(kernel, open_store(kernel, ws_dir, make=make))
        return
    from mixkit.cli.served import Served
    from mixkit.moving.remote import ANYWHERE, Remote

    yield Served(Remote(ANYWHERE), server.rstrip("/"), token)


@contextmanager
def spooled(path: Path) -> Iterator[IO[bytes]]:
    """A file to read from any place: the one of that path, or all of standard input for `-`."""
    if str(path) != "-":
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        while piece := sys.stdin.buffer.read(CHUNK):
            file.write(piece)
        yield file
