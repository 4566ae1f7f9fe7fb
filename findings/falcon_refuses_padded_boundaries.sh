#!/usr/bin/env bash
# falcon 4.4.0: a multipart form with white space after a boundary is refused, though the grammar has it there (transport
# padding, RFC 2046, section 5.1.1); a preamble and an epilogue are read over.
# Seen: 200, 200, 400.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check falcon==4.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import falcon
import falcon.testing

class Form:
    def on_post(self, request, response):
        response.media = [part.name for part in request.get_media()]

app = falcon.App()
app.add_route("/", Form())
client = falcon.testing.TestClient(app)
print("falcon", falcon.__version__)
part = b'Content-Disposition: form-data; name="a"\r\n\r\n1\r\n'
seen = []
for body in (b"--B\r\n" + part + b"--B--\r\n", b"before\r\n--B\r\n" + part + b"--B--\r\nafter", b"--B  \r\n" + part + b"--B--\r\n"):
    answer = client.simulate_post("/", body=body, headers={"Content-Type": "multipart/form-data; boundary=B"})
    print(body[:12], "->", answer.status_code, answer.text)
    seen.append(answer.status_code)
assert seen == [200, 200, 400], "it has changed"
PYTHON
