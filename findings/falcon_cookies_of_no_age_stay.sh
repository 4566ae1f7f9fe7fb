#!/usr/bin/env bash
# falcon 4.4.0: `Response.set_cookie` with `max_age=0`, which has a browser forget a cookie (RFC 6265, section 5.2.2), sends
# no Max-Age at all: the cookie becomes one of the browser's session. `unset_cookie` is never Secure, so that a browser
# passes it over for a cookie whose name begins with `__Host-` or `__Secure-`.
# Seen: `a=""`, without Max-Age; no Secure.
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
        response.set_cookie("a", "", max_age=0)
        response.unset_cookie("__Host-b")

app = falcon.App()
app.add_route("/", Page())
answer = falcon.testing.TestClient(app).simulate_get("/")
print("falcon", falcon.__version__)
first, second = answer.cookies["a"], answer.cookies["__Host-b"]
for cookie in (first, second):
    print(cookie.name, "max-age", cookie.max_age, "expires", cookie.expires, "secure", cookie.secure)
assert first.max_age is None and first.expires is None, "it has changed"
assert not second.secure, "it has changed"
PYTHON
