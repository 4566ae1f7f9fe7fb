"""Running the application: uvicorn in this process, or gunicorn with uvicorn in several.

SIGTERM and SIGINT stop it gracefully: no connection is taken any more, what runs may finish within the grace
period and is cancelled after it, and the process ends with status 0.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from mix_server.uvicorn_options import quiet_uvicorn, uvicorn_options
from mixkit.errors import ProfileError

if TYPE_CHECKING:
    from mix_server.app import App
    from mix_server.server import Server

__all__ = ["bind", "serve", "serve_with_workers"]

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to that address, or to the first one that the host's name means.

    Raises:
        ProfileError: the address is in use, is not this machine's, or may not be bound to.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except OSError as exc:
        raise ProfileError(f"cannot listen on {host!r}: {exc.strerror}", "settings.server.host") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # NOTE: listening is what fails when another socket with the same option is already bound there.
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise ProfileError(
            f"cannot listen on {host}:{port}: {exc.strerror}; choose another one with --port and --host",
            "settings.server.port",
        ) from None
    return listener


def end_by_signals() -> None:
    """End with status 0 from here on when a signal asks for it: before anybody is told that the server is there."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)


def serve(app: App, server: Server, *listeners: socket.socket) -> None:
    """Serve in this process until a signal ends it."""
    import uvicorn

    quiet_uvicorn()
    settings = server.settings
    tls = (settings.tls_certs, settings.tls_key) if settings.tls_certs and settings.tls_key else None
    config = uvicorn.Config(app, **uvicorn_options(settings.grace_period, tls))
    # uvicorn raises the signal again once it has stopped; by then there is nothing left to stop.
    end_by_signals()
    try:
        uvicorn.Server(config).run(sockets=[*listeners])
    except SystemExit as exc:
        if exc.code not in (None, 0):
            raise
    _leave(server)


def _exit(number: int, frame: Any) -> None:
    sys.exit(0)


def _leave(server: Server) -> None:
    """End the process even where a run does not: a host call that blocks cannot be interrupted."""
    if server.admission.active or server.admission.paused:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def serve_with_workers(app: App, server: Server, listener: socket.socket) -> None:
    """Serve in `settings.workers` processes, forked from this one, until a signal ends it; never returns."""
    from mix_server.workers import Workers

    quiet_uvicorn()
    Workers(app, server, listener).run()
