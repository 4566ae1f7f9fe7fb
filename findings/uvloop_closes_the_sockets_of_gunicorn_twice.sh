#!/usr/bin/env bash
# uvloop 0.23.0, gunicorn 27.0.1: uvloop closes the descriptor of a listening socket itself, and lets a plain socket forget its
# number first. gunicorn gives its workers an object that wraps the socket; of that uvloop calls close, behind its own. The
# number is closed twice in each worker that ends, and in between it may be that of a file which a thread has opened.
# Seen: with the plain socket nothing is closed again; with gunicorn's, the number that is closed last is no descriptor.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0 gunicorn==27.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import errno
import os
import socket
from importlib.metadata import version

import uvloop
from gunicorn.sock import TCPSocket

seen = []


class Noted(socket.socket):
    """Notes of each close what its number is at that time."""

    def close(self):
        number = self.fileno()
        if number >= 0:
            try:
                os.fstat(number)
                seen.append("a descriptor")
            except OSError as exc:
                seen.append(errno.errorcode[exc.errno])
            self.detach()


def closed(wrap):
    seen.clear()
    listener = Noted(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    given = listener
    if wrap:
        given = TCPSocket.__new__(TCPSocket)
        given.sock = listener

    async def serve():
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, sock=given)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.1)

    uvloop.run(serve())
    return list(seen)


plain, wrapped = closed(wrap=False), closed(wrap=True)
print("uvloop", version("uvloop"), "gunicorn", version("gunicorn"))
print("plain socket, closed again:", plain, "- gunicorn's, closed again:", wrapped)
assert plain == [], "it has changed"
assert wrapped == ["EBADF"], "it has changed"
PYTHON
