#!/usr/bin/env bash
# sseclient-py 1.9.0: what stands in a stream behind its last empty line is given as an event. The HTML standard
# discards it: a connection that breaks in the middle of an event is otherwise not to be told from a whole one.
# Seen: of a record of two lines, the first one, as an event of its own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check requests==2.34.2 sseclient-py==1.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import requests
import sseclient

STREAM = [b"data: whole\n\n", b"data: the first of two lines\n"]


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

print("sseclient-py", version("sseclient-py"))
with requests.get(url, stream=True) as answer:
    seen = [event.data for event in sseclient.SSEClient(answer).events()]
print("one event was finished, seen:", seen)
assert seen == ["whole", "the first of two lines"], "it has changed"
PYTHON
