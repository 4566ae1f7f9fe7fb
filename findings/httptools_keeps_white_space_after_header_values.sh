#!/usr/bin/env bash
# httptools 0.9.0 strips white space before the value of a header, but not after it, and uvicorn 0.54.0 hands it on, though
# it is no part of the value (OWS, RFC 9110, section 5.5). With h11 0.16.0 it is stripped. So `If-None-Match: "a" ` is
# another value behind the one parser than behind the other.
# Seen: b'"a" \t' and b'"a"'.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httptools==0.9.0 h11==0.16.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
import h11
import httptools

print("httptools", version("httptools"), "h11", h11.__version__)
REQUEST = b'GET / HTTP/1.1\r\nHost: h\r\nIf-None-Match: \t "a" \t\r\n\r\n'

class Protocol:
    def on_header(self, name, value):
        if name.lower() == b"if-none-match":
            self.seen = value

protocol = Protocol()
httptools.HttpRequestParser(protocol).feed_data(REQUEST)
connection = h11.Connection(h11.SERVER)
connection.receive_data(REQUEST)
other = dict(connection.next_event().headers)[b"if-none-match"]
print("httptools:", protocol.seen, "h11:", other)
assert protocol.seen == b'"a" \t' and other == b'"a"', "it has changed"
PYTHON
