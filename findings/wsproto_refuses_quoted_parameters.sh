#!/usr/bin/env bash
# wsproto 1.3.2: the value of an extension's parameter may be a token or a quoted string (RFC 6455, 9.1);
# server_max_window_bits="10" raises a ValueError of int() out of the send of the acceptance.
# Seen: 10 is agreed upon, "10" is the error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wsproto==1.3.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.extensions import PerMessageDeflate

HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={}\r\n\r\n"
)


def agreed(value):
    server = WSConnection(ConnectionType.SERVER)
    server.receive_data(HANDSHAKE.format(value).encode())
    assert isinstance(next(iter(server.events())), Request)
    try:
        answer = server.send(AcceptConnection(extensions=[PerMessageDeflate()]))
    except ValueError as exc:
        return str(exc)
    return next(line for line in answer.decode().split("\r\n") if line.lower().startswith("sec-websocket-extensions"))


print("wsproto", version("wsproto"))
for value in ("10", '"10"'):
    print(f"server_max_window_bits={value}:", agreed(value))
assert "server_max_window_bits=10" in agreed("10"), "it has changed"
assert "invalid literal for int()" in agreed('"10"'), "it has changed"
PYTHON
