#!/usr/bin/env bash
# joserfc 1.8.0 signs with `Ed25519`, the name that RFC 9864 gives, and warns of the older `EdDSA`; PyJWT 2.15.1, which the
# MCP SDK brings, does not know the new name: neither a token nor a key with it is taken, though the key and the
# signature are the same.
# Seen: PyJWKError for Ed25519, the claims for EdDSA.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check joserfc==1.8.0 PyJWT[crypto]==2.15.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from importlib.metadata import version
import jwt as pyjwt
from joserfc import jwt
from joserfc.jwk import OKPKey

warnings.simplefilter("ignore")
print("joserfc", version("joserfc"), "PyJWT", pyjwt.__version__)
key = OKPKey.generate_key("Ed25519")
seen = {}
for name in ("EdDSA", "Ed25519"):
    token = jwt.encode({"alg": name}, {"sub": "a"}, key, algorithms=[name])
    try:
        public = pyjwt.PyJWK(key.as_dict(private=False) | {"alg": name})
        seen[name] = pyjwt.decode(token, public, algorithms=[name])
    except pyjwt.exceptions.PyJWTError as exc:
        seen[name] = type(exc).__name__
    print(name, "->", seen[name])
assert seen == {"EdDSA": {"sub": "a"}, "Ed25519": "PyJWKError"}, "it has changed"
PYTHON
