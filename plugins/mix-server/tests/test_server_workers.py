"""What a worker process has of gunicorn and gives to uvicorn."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvloop
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.sock import TCPSocket  # type: ignore[import-untyped]
from mix_server.workers import Logger, Worker


class Noted(socket.socket):
    """A socket that notes whether it was closed while it had a number."""

    closed_by_number = False

    def close(self) -> None:
        self.closed_by_number |= self.fileno() >= 0
        super().close()


class Application(BaseApplication):  # type: ignore[misc]
    def load_config(self) -> None:
        self.cfg.set("logger_class", Logger)

    def load(self) -> Any:
        return None


def test_a_listening_socket_is_closed_once() -> None:
    """Its number may be that of a file of another thread as soon as it is closed."""
    app = Application()
    with Noted(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        wrapped = TCPSocket.__new__(TCPSocket)
        wrapped.sock = listener
        worker = Worker(1, 1, [wrapped], app, 30, app.cfg, app.cfg.logger_class(app.cfg))

        worker.tmp.close()

        async def serve() -> None:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(asyncio.Protocol, sock=worker.sockets[0])
            server.close()
            await server.wait_closed()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
        assert (listener.fileno(), listener.closed_by_number) == (-1, False)
