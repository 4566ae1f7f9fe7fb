#!/usr/bin/env bash
# httpx-sse 0.4.3: a block of a stream that has no data (an id alone, to move the place where a client begins
# again; or a type alone) comes out as an event with empty data. The HTML standard dispatches nothing where the
# data are empty.
# Seen: four events of a stream that has two.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1 httpx-sse==0.4.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import httpx
import httpx_sse

STREAM = [b"data: first\n\n", b"id: 7\n\n", b"event: tick\n\n", b"data: last\n\n"]


class Stream(BaseHTTPRequestHandler):
    """Answers with the pieces of a stream, one write each."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in STREAM:
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Stream)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"

print("httpx-sse", version("httpx-sse"))
with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", url) as source:
    seen = [(event.event, event.data, event.id) for event in source.iter_sse()]
print("two events were sent, seen:", seen)
assert seen == [("message", "first", ""), ("message", "", "7"), ("tick", "", "7"), ("message", "last", "7")], "it has changed"
PYTHON
