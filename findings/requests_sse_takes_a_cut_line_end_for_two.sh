#!/usr/bin/env bash
# requests-sse 0.5.3: where a CR and its LF arrive in two pieces, as they do now and then, the line ends twice, so
# that an event of two lines becomes two events.
# Seen: two events of one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check requests==2.34.2 requests-sse==0.5.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
import time

import requests_sse

STREAM = [b"data: one\r", b"\ndata: two\r\n\r\n"]


class Stream(BaseHTTPRequestHandler):
    """Answers with the pieces of a stream, one write each."""

    def do_GET(self):
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for piece in STREAM:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(0.5)

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Stream)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"

print("requests-sse", version("requests-sse"))
seen = []
with requests_sse.EventSource(url, timeout=20) as source:
    for event in source:
        seen.append(event.data)
        if event.data.endswith("two"):
            break
print("one event of two lines was sent, seen:", seen)
assert seen == ["one", "two"], "it has changed"
PYTHON
