"""Several processes: gunicorn as the parent that forks, watches and replaces them, uvicorn in each."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

import gunicorn.app.base  # type: ignore[import-untyped]
import gunicorn.glogging  # type: ignore[import-untyped]
import uvicorn_worker  # type: ignore[import-untyped]

from mix_server import metrics
from mix_server.uvicorn_options import uvicorn_options

if TYPE_CHECKING:
    from mix_server.app import App
    from mix_server.server import Server

__all__ = ["Logger", "Worker", "Workers"]

_LAST: Final = 5
"""Seconds between the end of the grace period and gunicorn's killing a worker that has not ended."""


class Logger(gunicorn.glogging.Logger):  # type: ignore[misc]
    """gunicorn's log lines, in the form and to the place of all the others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for name in ("gunicorn.error", "gunicorn.access"):
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True


class Worker(uvicorn_worker.UvicornWorker):  # type: ignore[misc]
    """One process, whoever's gunicorn it is."""

    def __init__(
        self, age: int, ppid: int, sockets: Any, app: Any, timeout: float, cfg: Any, log: Any
    ) -> None:
        # NOTE: the base class reads this name from the class, and leaves the grace period to gunicorn, which kills.
        files = cfg.ssl_options
        tls = (files["certfile"], files["keyfile"]) if cfg.is_ssl else None
        type(self).CONFIG_KWARGS = uvicorn_options(max(cfg.graceful_timeout - _LAST, 1), tls)
        # NOTE: uvloop, which closes the descriptor itself, makes a socket forget its number, but calls `close` of what
        # wraps one: that closes the number again, which a thread may have got for a file in between.
        plain = [getattr(each, "sock", each) for each in sockets]
        super().__init__(age, ppid, plain, app, timeout, cfg, log)
        logger = logging.getLogger("uvicorn.error")
        logger.propagate = not logger.handlers

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The parent was interrupted: end as gracefully as if it had been told to stop."""
        # NOTE: the base class hears SIGQUIT here and leaves uvicorn running.
        signal.raise_signal(signal.SIGTERM)


class Workers(gunicorn.app.base.BaseApplication):  # type: ignore[misc]
    """The parent process.

    Args:
        app: made here, before the fork, so that what is wrong with it is said once.
        listener: bound and listening; all workers accept from it.
    """

    def __init__(self, app: App, server: Server, listener: socket.socket) -> None:
        self._app = app
        self._settings = server.settings
        self._listener = listener
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's configuration: ours alone, no file and no variable."""
        # gunicorn closes the descriptor that it is given.
        options = {
            "bind": f"fd://{os.dup(self._listener.fileno())}",
            "workers": self._settings.workers,
            "worker_class": Worker,
            "logger_class": Logger,
            "loglevel": logging.getLevelName(logging.getLogger().level).lower(),
            "preload_app": True,
            "control_socket_disable": True,
            # The worker ends its runs by itself; being killed is for one that does not.
            "graceful_timeout": math.ceil(self._settings.grace_period) + _LAST,
            "child_exit": _child_exit,
            "proc_name": "mixkit",
            "certfile": self._settings.tls_certs,
            "keyfile": self._settings.tls_key,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> App:
        """The application that was made before."""
        return self._app


def _child_exit(arbiter: Any, worker: Any) -> None:
    metrics.forget_process(worker.pid)
