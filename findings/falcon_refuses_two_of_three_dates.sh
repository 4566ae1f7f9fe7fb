#!/usr/bin/env bash
# falcon 4.4.0: `Request.if_modified_since` (and if_unmodified_since, date) raises, which the client sees as 400, for two of
# the three forms of a date that a recipient must accept: RFC 9110, section 5.6.7. A condition that is not understood is to
# be ignored: section 13.1.3.
# Seen: 200, 400, 400.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check falcon==4.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import falcon
import falcon.testing

class Page:
    def on_get(self, request, response):
        response.text = str(request.if_modified_since)

app = falcon.App()
app.add_route("/", Page())
client = falcon.testing.TestClient(app)
print("falcon", falcon.__version__)
seen = []
for date in ("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"):
    answer = client.simulate_get("/", headers={"If-Modified-Since": date})
    print(date, "->", answer.status_code, answer.text[:80])
    seen.append(answer.status_code)
assert seen == [200, 400, 400], "it has changed"
PYTHON
