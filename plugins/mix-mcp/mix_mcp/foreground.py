"""The local server: that of `mixkit serve`, which listens also where the clients of its user find it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from typing import TYPE_CHECKING, Any, Final

import click
from mix_server import serve

from mix_mcp.state_dir import Running
from mixkit import __version__
from mixkit.errors import MixError, ProfileError
from mixkit.plugins import call_each

if TYPE_CHECKING:
    from mix_server.settings import ServerSettings

    from mix_mcp.state_dir import StateDir, Wanted
    from mixkit.cli.session import Session

__all__ = ["serve_here"]

_HOST: Final = "127.0.0.1"


def serve_here(session: Session, folder: StateDir, wanted: Wanted, port: int, idle_timeout: float) -> None:
    """Be the local server, until a signal or a long silence ends it.

    Args:
        wanted: what it serves.
        idle_timeout: seconds; 0 is without an end.

    Raises:
        MixError: there is one already, the port is taken, or the profile is not one to serve with.
    """
    own: dict[str, Any] = {
        "host": _HOST, "port": port, "ws_dir": wanted.ws_dir, "workers": 1, "no_auth": False, "auth": "tokens",
    }  # fmt: skip
    session.overrides = dict(session.overrides) | {
        f"settings.server.{name}": value for name, value in own.items()
    }
    token = secrets.token_urlsafe(24)
    state = folder.hold()
    with contextlib.ExitStack() as stack:
        stack.callback(folder.leave, state)
        listener = stack.enter_context(_bound(port))
        from mix_server.app import create_app
        from mix_server.required import check_required
        from mix_server.server import Server

        from mix_mcp.idle import Idle

        kernel = session.kernel()
        settings: ServerSettings = kernel.settings("server")
        check_required(kernel, settings.required)
        if settings.tls_certs is not None:
            raise ProfileError("expected none: the local server speaks no TLS", "settings.server.tls_certs")
        server = Server(kernel, token)
        app: Any = create_app(server)
        if idle_timeout:
            admission = server.admission
            app = Idle(
                app,
                idle_timeout,
                # What a broker carries comes without a request.
                lambda: bool(admission.active or admission.paused or server.bridge is not None),
            )
        url = f"http://{_HOST}:{port}"
        pages = {name: url + path for _, (name, path) in call_each(kernel.manager, "mix_page")}
        serve.end_by_signals()
        with folder.listen() as local:
            folder.say(
                state,
                Running(
                    pid=os.getpid(),
                    version=__version__,
                    token=token,
                    url=url,
                    pages=pages,
                    wanted=wanted,
                ),
            )
            click.echo(
                f"mixkit: serving {wanted.ws_dir} on {url} for this user (process {os.getpid()})", err=True
            )
            serve.serve(app, server, listener, local)


def _bound(port: int) -> socket.socket:
    try:
        return serve.bind(_HOST, port)
    except ProfileError:
        raise MixError(
            f"cannot listen on {_HOST}:{port}, which another program has, or the server of another user: "
            "give --port with another one, to `mixkit mcp install` too"
        ) from None
