"""What a worker process has of gunicorn and gives to uvicorn."""

from __future__ import annotations

import subprocess
import sys

CLOSING = """
import asyncio, socket
import uvloop
from gunicorn.app.base import BaseApplication
from gunicorn.sock import TCPSocket
from mix_server.workers import Logger, Worker

class Noted(socket.socket):
    closed_by_number = False

    def close(self):
        self.closed_by_number |= self.fileno() >= 0
        super().close()

class Application(BaseApplication):
    def load_config(self):
        self.cfg.set("logger_class", Logger)

    def load(self):
        return None

app = Application()
listener = Noted(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
wrapped = TCPSocket.__new__(TCPSocket)
wrapped.sock = listener
worker = Worker(1, 1, [wrapped], app, 30, app.cfg, app.cfg.logger_class(app.cfg))

async def serve():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=worker.sockets[0])
    server.close()
    await server.wait_closed()

uvloop.run(serve())
print(listener.fileno(), listener.closed_by_number)
"""


def test_a_listening_socket_is_closed_once() -> None:
    """Its number may be that of a file of another thread as soon as it is closed."""
    # A process of its own: one that has gunicorn in it is taken for one of several.
    done = subprocess.run([sys.executable, "-c", CLOSING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "-1 False\n"), done.stderr
