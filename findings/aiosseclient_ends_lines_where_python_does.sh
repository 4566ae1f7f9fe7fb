#!/usr/bin/env bash
# aiosseclient 0.1.8: a line of a stream ends wherever str.splitlines says so, at a form feed or U+2028 too, of
# which JSON texts may contain the latter as it is; the rest of the line is lost, with a warning in the log. The
# lines of an event stream end with CR, LF or both. And retry is True where it should be a number.
# Seen: the head of the text, and True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 aiosseclient==0.1.8
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import asyncio
import json

import aiosseclient

STREAM = ["data: {}\n\n".format(json.dumps("one\u2028two", ensure_ascii=False)).encode(), b"retry: 50\ndata: last\n\n"]


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


async def first_two():
    events = []
    async for event in aiosseclient.aiosseclient(url):
        events.append((event.data, event.retry))
        if len(events) == 2:
            return events


print("aiosseclient", version("aiosseclient"))
seen = asyncio.run(asyncio.wait_for(first_two(), 20))
print("seen:", seen)
assert seen == [('"one', None), ("last", True)], "it has changed"
PYTHON
