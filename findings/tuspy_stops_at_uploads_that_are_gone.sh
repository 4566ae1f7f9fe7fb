#!/usr/bin/env bash
# tuspy 1.1.0: with store_url the address of an upload is kept for the file. Servers let uploads expire (the protocol's
# extension "expiration"; 404 or 410 from then on), and a client is to make a new one. This one asks the old address when
# it is made, raises, and keeps the address: the file cannot be uploaded until somebody edits the store.
# Seen: three attempts end with 404, the server is never asked for a new upload.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tuspy==1.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread

from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from tusclient.storage.filestorage import FileStorage

asked = []


class Expired(BaseHTTPRequestHandler):
    """Creates uploads; each that was begun is gone when somebody comes back to it."""

    def answer(self):
        asked.append(self.command)
        self.send_response(201 if self.command == "POST" else 404)
        if self.command == "POST":
            self.send_header("Location", f"/files/{len(asked)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_HEAD = answer

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Expired)
Thread(target=server.serve_forever, daemon=True).start()
client = TusClient(f"http://127.0.0.1:{server.server_port}/files/")
Path("export").write_bytes(b"x" * 1000)


def uploader():
    return client.uploader("export", store_url=True, url_storage=FileStorage("urls.json"))


begun = uploader()
begun.set_url(begun.create_url())
said = []
for _attempt in range(3):
    try:
        uploader().upload()
    except TusCommunicationError as exc:
        said.append(exc.status_code)
print("tuspy", version("tuspy"))
print("attempts:", said, "- requests:", asked)
assert said == [404] * 3 and asked == ["POST"] + ["HEAD"] * 3, "it has changed"
PYTHON
