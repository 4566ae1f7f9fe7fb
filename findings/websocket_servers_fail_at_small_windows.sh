#!/usr/bin/env bash
# tornado 6.6.1 and autobahn 26.10.2, with compression on: an offer of permessage-deflate with
# server_max_window_bits=8, which RFC 7692 allows, ends the handshake (500, and 400), also when the client offers
# plain permessage-deflate beside it. A server that cannot do what is offered declines that offer and takes the
# next.
# Seen: 101 for the plain offer; 500 and 400 for both together.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tornado==6.6.1 autobahn==26.10.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import logging
from importlib.metadata import version

import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept

logging.disable()


class Echo(tornado.websocket.WebSocketHandler):
    def get_compression_options(self):
        return {}


def accept(offers):
    return next((PerMessageDeflateOfferAccept(o) for o in offers if isinstance(o, PerMessageDeflateOffer)), None)


async def answer(port, offer):
    """The status that a server gives to a handshake with an offer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
    )
    line = await asyncio.wait_for(reader.readline(), 20)
    writer.close()
    return int(line.split()[1])


async def main():
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Echo)]))
    server.add_sockets(sockets)
    factory = WebSocketServerFactory()
    factory.protocol = WebSocketServerProtocol
    factory.setProtocolOptions(perMessageCompressionAccept=accept)
    other = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    for name, port, status in (
        ("tornado", sockets[0].getsockname()[1], 500),
        ("autobahn", other.sockets[0].getsockname()[1], 400),
    ):
        plain = await answer(port, "permessage-deflate")
        both = await answer(port, "permessage-deflate; server_max_window_bits=8, permessage-deflate")
        print(name, version(name), "plain:", plain, "small window, or else plain:", both)
        assert (plain, both) == (101, status), "it has changed"


asyncio.run(main())
PYTHON
