"""`mixkit openapi`."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mixkit.cli.choices import ws_dir_option
from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session
from mixkit.cli.workspaces import find_workspace, open_store

if TYPE_CHECKING:
    from mix_server.settings import ServerSettings

__all__ = ["openapi"]


@click.command()
@click.option("--ws", metavar="WS", help="The agents of this workspace, instead of the routes of the server.")
@ws_dir_option
@json_option
@pass_session
def openapi(session: Session, /, ws: str | None, ws_dir: Path | None) -> None:
    """Print what the server of this profile can do, as OpenAPI 3.1, without a server.

    It is what the server answers to its operator at /openapi.json, and with --ws at /v1/ws/WS/openapi.json.
    """
    import msgspec

    if ws is None and ws_dir is not None:
        raise click.UsageError(
            "expected --ws beside --ws-dir: the routes of a server are the same for all workspaces"
        )
    document = _of_server(session) if ws is None else _of_workspace(session, ws, ws_dir)
    # A guest may have written what it says of agents: nothing of it is for the terminal as it is.
    Output(as_json=True).document(msgspec.to_builtins(document))


def _of_server(session: Session) -> dict[str, Any]:
    from mix_server.app import create_app
    from mix_server.server import Server

    # Which routes there are depends on the plugins and on no workspace.
    with tempfile.TemporaryDirectory(prefix="mixkit-") as nothing:
        # Nor on where it runs.
        elsewhere = {"settings.server.ws_dir": nothing, "settings.server.auth": "tokens"}
        session.overrides = {**session.overrides, **elsewhere}
        with session.kernel() as kernel:
            settings: ServerSettings = kernel.settings("server")
            # Nobody asks this one: any token does.
            token = settings.token or (None if settings.no_auth else secrets.token_urlsafe())
            return create_app(Server(kernel, token)).api.document()


def _of_workspace(session: Session, ws: str, ws_dir: Path | None) -> dict[str, Any]:
    from mix_server.catalog import Catalog
    from mix_server.listing import agents_of
    from mix_server.openapi import agents_document

    def everything(about: object) -> bool:
        return True

    async def nothing_runs(*about: object) -> bool:
        return False

    with session.kernel() as kernel:
        store = open_store(kernel, ws_dir)
        find_workspace(store, ws)
        catalog = Catalog(kernel, store, kernel.settings("server").env, nothing_runs)
        return agents_document(ws, asyncio.run(agents_of(catalog, store, ws, everything)))
