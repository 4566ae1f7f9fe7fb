#!/usr/bin/env bash
# aiohttp-sse-client2 0.3.0 and requests-sse 0.5.3 take all white space off the beginning of a line of data, where
# the HTML standard takes one space. What is sent line by line (source text, YAML, a model's answer) arrives
# without its indentation.
# Seen: a statement and its block in one column, with both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 aiohttp-sse-client2==0.3.0 requests==2.34.2 requests-sse==0.5.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import asyncio

import aiohttp_sse_client2.client
import requests_sse

STREAM = [b"data: if x:\ndata:     y()\n\n", b"data: second\n\n"]


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


async def aiohttp_client():
    events = []
    async with aiohttp_sse_client2.client.EventSource(url) as source:
        async for event in source:
            events.append(event.data)
            if len(events) == 2:
                return events


def requests_client():
    events = []
    with requests_sse.EventSource(url, timeout=20) as source:
        for event in source:
            events.append(event.data)
            if len(events) == 2:
                return events


for name, seen in (
    ("aiohttp-sse-client2", asyncio.run(asyncio.wait_for(aiohttp_client(), 20))),
    ("requests-sse", requests_client()),
):
    print(name, version(name), seen)
    assert seen == ["if x:\ny()", "second"], "it has changed"
PYTHON
