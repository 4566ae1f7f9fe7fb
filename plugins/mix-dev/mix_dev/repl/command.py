"""`mixkit repl`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mixkit.cli.choices import is_given, ws_dir_option, ws_option
from mixkit.cli.output import Output, safe
from mixkit.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from mix_dev.repl.session import Repl
    from mixkit.environment import Env
    from mixkit.kernel import Kernel
    from mixkit.storage import Place

__all__ = ["repl"]

_PROMPT: Final = "mix> "
_MORE: Final = "...> "
_HISTORY: Final = 2_000


@click.command("repl")
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE...]"
)
@ws_option("--workspace", "workspace", help="With --app: of which workspace.")
@click.option("--app", metavar="APP", help="Talk to the database of an installed app, as its agents do.")
@ws_dir_option
@json_option
@pass_session
def repl(
    session: Session, files: tuple[Path, ...], workspace: str | None, app: str | None, ws_dir: Path | None
) -> None:
    """Run Mix line by line; FILEs are modules to begin with, as :load takes them. :help says what else there is.

    In a pipe it reads lines from standard input, prints no prompt, and ends with exit code 1 if something went wrong.
    """
    from mix_dev.repl.program import is_open
    from mix_dev.repl.session import Ended, Repl

    if session.as_json:
        raise click.UsageError(
            "a conversation is no JSON document; to run code once: mixkit run FILE PARAMS --json"
        )
    if app is None and not is_given("workspace"):
        workspace = None
    if (workspace is None) != (app is None):
        raise click.UsageError("an app is in a workspace: give both --ws and --app, or none")
    printed = Output()
    with session.kernel() as kernel:
        place, env = _place(kernel, ws_dir, workspace, app)
        talk = Repl(kernel, lambda text: printed.line(text), place, env)
        right = True
        for path in files:
            right = talk.feed(f":load {path}") and right
        terminal = sys.stdin.isatty()
        try:
            for text in _typed(talk, is_open) if terminal else _piped(is_open):
                right = talk.feed(text) and right
        except Ended:
            pass
    if not terminal and not right:
        raise click.exceptions.Exit(1)


def _place(
    kernel: Kernel, ws_dir: Path | None, workspace: str | None, app: str | None
) -> tuple[Place | None, Env | None]:
    """The database of an app, and what its agents see around them."""
    from mixkit.cli.installed import find_installed
    from mixkit.environment import Env
    from mixkit.errors import NotFound

    if workspace is None or app is None:
        return None, None
    agents = find_installed(kernel, ws_dir, workspace, app)
    if not agents:
        raise NotFound(f"the app {app!r} has no agent, and so no database")
    return next(iter(agents.values())).place, Env(workspace=workspace, app=app)


def _piped(is_open: Callable[[str], bool]) -> Iterator[str]:
    text = ""
    for line in sys.stdin:
        text += line
        if not is_open(text):
            yield text
            text = ""
    if text.strip():
        yield text


def _typed(talk: Repl, is_open: Callable[[str], bool]) -> Iterator[str]:
    """What is typed on a terminal, with completion and a history."""
    import readline

    history = _history()
    _complete(readline, talk)
    with contextlib.suppress(OSError):
        if history is not None:
            readline.read_history_file(history)
    text = ""
    try:
        while True:
            try:
                text += input(_MORE if text else _PROMPT) + "\n"
            except KeyboardInterrupt:
                # What was typed is dropped, the conversation goes on.
                click.echo()
                text = ""
                continue
            except EOFError:
                click.echo()
                return
            if is_open(text) and not text.endswith("\n\n"):
                continue
            yield text
            text = ""
    finally:
        if history is not None:
            readline.set_history_length(_HISTORY)
            try:
                readline.write_history_file(history)
                history.chmod(0o600)
            except OSError as exc:
                click.echo(f"the history is not kept: {safe(str(exc))}", err=True)


def _history() -> Path | None:
    """`mixkit/repl_history` under `XDG_STATE_HOME`, or under `~/.local/state`; None if it cannot be there."""
    base = os.environ.get("XDG_STATE_HOME", "")
    folder = (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "mixkit"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return folder / "repl_history"


def _complete(readline: object, talk: Repl) -> None:
    from mix_dev.repl.complete import Completer

    found = Completer(talk.typed)
    set_completer = getattr(readline, "set_completer")  # noqa: B009 - a module of C, which differs by its library
    set_completer(found.complete)
    getattr(readline, "set_completer_delims")(" \t\n()[]{}+-*/%=<>!&|,;\"'")  # noqa: B009
    getattr(readline, "parse_and_bind")("tab: complete")  # noqa: B009
