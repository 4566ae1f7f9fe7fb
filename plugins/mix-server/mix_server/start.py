"""Starting: from settings to a process that serves, or one clear error."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from mix_server import auth, serve
from mix_server.metrics import shared_directory
from mix_server.required import check_required
from mix_server.tls import check_pair
from mixkit.errors import NotFound, ProfileError
from mixkit.plugins import call_each

if TYPE_CHECKING:
    from mix_server.settings import ServerSettings
    from mixkit.cli.session import Session
    from mixkit.kernel import Kernel

__all__ = ["start"]


def start(session: Session) -> None:
    """Serve with the profile of this invocation of the command line, until a signal ends it.

    Raises:
        ProfileError, PluginError: a setting is wrong, the address is taken; nothing serves then.
    """
    kernel = session.kernel()
    settings: ServerSettings = kernel.settings("server")
    check_required(kernel, settings.required)
    if settings.no_auth and not auth.is_loopback(settings.host):
        raise ProfileError(
            f"without authentication the server listens on a loopback address only, found {settings.host!r}; "
            "leave no_auth away, or listen on 127.0.0.1",
            "settings.server.host",
        )
    check_pair(settings.tls_certs, settings.tls_key)
    token = settings.token
    if token is None and not settings.no_auth and settings.auth == "tokens":
        token = secrets.token_urlsafe(24)
    directory = shared_directory() if settings.workers > 1 else None
    parent = os.getpid()
    try:
        # Imported after the directory for metrics is known, before anything is forked.
        from mix_server.app import create_app
        from mix_server.server import Server

        server = Server(kernel, token)
        app = create_app(server)
        with serve.bind(settings.host, settings.port) as listener:
            scheme = "https" if settings.tls_certs else "http"
            _warn(kernel)
            serve.end_by_signals()
            _announce(scheme, listener, None if settings.token else token, kernel)
            run = serve.serve_with_workers if settings.workers > 1 else serve.serve
            run(app, server, listener)
    finally:
        # NOTE: workers leave by an exception that passes here; what they share is the parent's.
        if directory and os.getpid() == parent:
            shutil.rmtree(directory, ignore_errors=True)


def _warn(kernel: Kernel) -> None:
    """Say each time what nobody should find out later."""
    for plugin in kernel.profile.plugins:
        with suppress(NotFound):
            settings = kernel.settings(plugin)
            for name in type(settings).__struct_fields__:
                if name.startswith("dangerous_") and getattr(settings, name):
                    said = (
                        f"settings.{plugin}.{name}: agents reach every address, and connections without TLS"
                    )
                    click.echo(f"mixkit: warning: {said}", err=True)


def _announce(scheme: str, listener: socket.socket, token: str | None, kernel: Kernel) -> None:
    host, port = listener.getsockname()[:2]
    address = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    click.echo(f"mixkit: listening on {address}", err=True)
    for _, (name, path) in call_each(kernel.manager, "mix_page"):
        click.echo(f"mixkit: {name}: {address}{path}", err=True)
    if token:
        click.echo(f"mixkit: token: {token}", err=True)
