#!/usr/bin/env bash
# tuspy 1.1.0: an open stream can be given instead of a path, and store_url has uploads go on later; the two do not go
# together: the stream is closed when its fingerprint is taken, so the upload fails before it has sent anything.
# Seen: without store_url the upload is created; with it "I/O operation on closed file", and the caller's stream is closed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tuspy==1.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import io
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from threading import Thread

from tusclient.client import TusClient
from tusclient.storage.filestorage import FileStorage

asked = []


class Tus(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.headers["Upload-Length"])
        self.send_response(201)
        self.send_header("Location", "/files/1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Tus)
Thread(target=server.serve_forever, daemon=True).start()
client = TusClient(f"http://127.0.0.1:{server.server_port}/files/")


def created(**options):
    stream = io.BytesIO(b"x" * 1000)
    try:
        client.uploader(file_stream=stream, **options).create_url()
        client.uploader(file_stream=stream, **options).get_file_size()
    except ValueError as exc:
        return str(exc), stream.closed
    return "created", stream.closed


print("tuspy", version("tuspy"))
plain, stored = created(), created(store_url=True, url_storage=FileStorage("urls.json"))
print("a stream:", plain, "- with store_url:", stored, "- the server was asked for", asked)
assert plain == ("created", False) and asked == ["1000"], "it has changed"
assert stored == ("I/O operation on closed file.", True), "it has changed"
PYTHON
