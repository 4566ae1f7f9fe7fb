#!/usr/bin/env bash
# tuspy 1.1.0: with store_url a file is known again by its length and its first 64 KiB. Two files of one length that begin
# alike (exports with the same head, images of disks) are one to it: after the first was cut short, the second goes on
# where the first stopped, and the server has the beginning of one and the end of the other. Nothing is raised.
# Seen: the server's 140,000 bytes are neither file; 35,000 bytes of the second were sent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tuspy==1.1.0
cd "$folder"
cat > tus_server.py <<'PYTHON'
"""The core of the protocol and creation (tus 1.0.0), uploads kept in memory."""
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

UPLOADS, SENT = {}, []


class Tus(BaseHTTPRequestHandler):
    def answer(self, status, **fields):
        self.send_response(status)
        for name, value in {"Tus-Resumable": "1.0.0", "Content-Length": "0", **fields}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def do_POST(self):
        path = f"/files/{len(UPLOADS)}"
        UPLOADS[path] = bytearray()
        self.answer(201, Location=path)

    def do_HEAD(self):
        if self.path in UPLOADS:
            self.answer(200, Upload_Offset=len(UPLOADS[self.path]), Cache_Control="no-store")
        else:
            self.answer(404)

    def do_PATCH(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        assert int(self.headers["Upload-Offset"]) == len(UPLOADS[self.path])
        UPLOADS[self.path] += data
        SENT.append(len(data))
        self.answer(204, Upload_Offset=len(UPLOADS[self.path]))

    def log_message(self, *args):
        pass


def start():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tus)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/files/"
PYTHON
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

from tus_server import SENT, UPLOADS, start
from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

first, second = (Path(name) for name in ("january", "february"))
first.write_bytes(b"h" * 70_000 + b"1" * 70_000)
second.write_bytes(b"h" * 70_000 + b"2" * 35_000 + b"3" * 35_000)
client = TusClient(start())


def uploader(path):
    return client.uploader(str(path), chunk_size=35_000, store_url=True, url_storage=FileStorage("urls.json"))


uploader(first).upload(stop_at=105_000)  # the line went down here
SENT.clear()
uploader(second).upload()
(held,) = UPLOADS.values()
print("tuspy", version("tuspy"))
print("uploads:", len(UPLOADS), "- sent of the second:", sum(SENT), "- the server has:")
print("  the first:", held == first.read_bytes(), "- the second:", held == second.read_bytes(), "- bytes:", len(held))
assert len(held) == 140_000 and sum(SENT) == 35_000, "it has changed"
assert held not in (first.read_bytes(), second.read_bytes()), "it has changed"
PYTHON
