#!/usr/bin/env bash
# RFC 7519 lets times of a token have fractions of a second. joserfc 1.8.0 compares them with the whole second that it is
# in, so a token that was issued in this second, with its fraction, is "issued in the future"; PyJWT 2.15.1 cuts them, so a
# token ends up to a second before its time.
# Seen: InvalidClaimError for an `iat` half a second ago, ExpiredSignatureError for an `exp` half a second ahead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check joserfc==1.8.0 PyJWT==2.15.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import time
from importlib.metadata import version
import jwt as pyjwt
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry

print("joserfc", version("joserfc"), "PyJWT", pyjwt.__version__)
# The next second's beginning, and a little more than half of it.
time.sleep(1 - time.time() % 1 + 0.6)
second = int(time.time())
try:
    JWTClaimsRegistry().validate({"iat": second + 0.1})
    seen = "taken"
except JoseError as exc:
    seen = type(exc).__name__
print("joserfc, issued half a second ago:", seen)
assert seen == "InvalidClaimError", "it has changed"
time.sleep(1 - time.time() % 1 + 0.1)
token = pyjwt.encode({"exp": int(time.time()) + 0.7}, "k" * 32)
try:
    seen = pyjwt.decode(token, "k" * 32, algorithms=["HS256"])
except pyjwt.PyJWTError as exc:
    seen = type(exc).__name__
print("PyJWT, half a second before its end:", seen)
assert seen == "ExpiredSignatureError", "it has changed"
PYTHON
