"""`mixkit dev`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import click

from mixkit.cli.choices import folder_argument, ws_option
from mixkit.cli.output import Output
from mixkit.cli.project import FILE as PROJECT
from mixkit.cli.session import DEFAULT_PROFILE, Session, json_option, pass_session

if TYPE_CHECKING:
    from mixkit.kernel import Kernel

__all__ = ["dev"]

_LOOK: Final = 1.0
"""Seconds after which it is looked whether the server is there."""


@click.command("dev")
@folder_argument()
@ws_option(default="dev", help="Workspace that the app is installed into.")
@click.option(
    "--ws-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Directory of workspaces; that of mixkit.toml by default, or the folder workspaces in FOLDER.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), help="Port to serve on; 0 takes a free one.")
@click.option(
    "--open/--no-open", "opening", default=None,
    help="Open the administration page in a browser, or do not. By default only on the terminal of a desktop.",
)  # fmt: skip
@click.option("--no-serve", is_flag=True, help="Start no server: one that serves DIR runs already.")
@click.option("--no-test", is_flag=True, help="Run no tests.")
@json_option
@pass_session
def dev(
    session: Session,
    folder: Path,
    ws: str,
    ws_dir: Path | None,
    port: int | None,
    opening: bool | None,
    no_serve: bool,
    no_test: bool,
) -> None:
    """Serve the app in FOLDER, which has a manifest.json, and install it anew with each change.

    After each change the app is compiled and installed with all powers that it asks for, and its tests are run. What is
    wrong is shown, and what was installed before stays. Ctrl-C ends it.
    """
    from mix_dev.made.app import App
    from mix_dev.made.served import Served
    from mix_dev.made.watch import Watch
    from mix_dev.made.ways import TOKEN, open_page, ways
    from mixkit.cli.runnable import MANIFEST
    from mixkit.cli.workspaces import open_store
    from mixkit.plugins import call_each

    if session.as_json:
        raise click.UsageError("this goes on until it is ended, and prints no document: leave out --json")
    folder = folder.resolve()
    if not (folder / MANIFEST).is_file():
        raise click.UsageError(
            f"expected an app, a folder with a {MANIFEST}, found none in {folder}; make one with: mixkit new app NAME"
        )
    workspaces = Path(ws_dir or session.project.ws_dir or folder / "workspaces").absolute()
    out = Output()
    signal.signal(signal.SIGTERM, _ends)
    with session.kernel() as kernel:
        store = open_store(kernel, workspaces, make=True)
        watch = Watch(folder, workspaces)
        app = App(kernel, store, folder, ws, out, tests=not no_test)
        served = None if no_serve else Served(session, workspaces, port)
        told: list[str] = []
        try:
            app.update()
            url = served.wait() if served is not None else _elsewhere(kernel)
            page = next((url + path for _, (_, path) in call_each(kernel.manager, "mix_page")), "")
            if page:
                open_page(page, opening)
            while served is None or not served.ended:
                token = None if served is None or os.environ.get(TOKEN) else served.token
                lines = [*ways(app.agents, ws, url, token, _bridge(session, kernel, ws, workspaces), page)]
                # Again when an agent is called otherwise, or takes something else.
                if app.agents and lines != told:
                    for line in lines:
                        out.line(line)
                    told = lines
                changed = watch.changed(_LOOK)
                if changed:
                    out.note(f"changed: {', '.join(changed[:5])}{' …' if len(changed) > 5 else ''}")
                    if PROJECT in changed:
                        out.note(f"what {PROJECT} says counts when this is started again")
                    if changed != [PROJECT]:
                        app.update()
            raise click.ClickException(f"the server has ended, with status {served.status}; start this again")
        except KeyboardInterrupt:
            pass
        finally:
            # Who is impatient asks twice, and would leave the server behind.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            if served is not None:
                served.close()
            app.close()
        # Nothing is left then.
        out.note("ended")


def _elsewhere(kernel: Kernel) -> str:
    """Where the server of the profile listens, if somebody has started it."""
    return f"http://127.0.0.1:{kernel.settings('server').port}"


def _bridge(session: Session, kernel: Kernel, ws: str, ws_dir: Path) -> list[str]:
    """The command that serves the workspace to a client of MCP; empty if the profile has none."""
    if "mcp" not in kernel.profile.plugins:
        return []
    # A client starts it in a folder of its own choice.
    profile = [] if session.profile == DEFAULT_PROFILE else ["-p", session.profile_anywhere]
    return ["mixkit", *profile, "mcp", "--ws", ws, "--ws-dir", str(ws_dir)]


def _ends(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
