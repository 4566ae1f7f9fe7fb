#!/usr/bin/env bash
# obstore 0.12.1: an endpoint that is given to S3Store is passed over in silence where the environment has
# AWS_ENDPOINT_URL_S3; with AWS_ENDPOINT_URL it is heeded.
# Seen: a request to the port of the variable, and one to the port of the argument.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os, re

import obstore
from obstore.store import S3Store

print("obstore", obstore.__version__)


def asked() -> str:
    """The port that a store of the port 7 asks; nothing listens at either."""
    store = S3Store(
        "shelf", endpoint="http://127.0.0.1:7", access_key_id="a", secret_access_key="b", region="us-east-1",
        client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )
    try:
        obstore.head(store, "x")
    except Exception as exc:
        return re.search(r"http://127\.0\.0\.1:(\d+)/", str(exc))[1]
    raise SystemExit("it has changed: somebody answered")


seen = {}
for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
    os.environ[name] = "http://127.0.0.1:9"
    seen[name] = asked()
    del os.environ[name]
    print(f"endpoint=…:7 and {name}=…:9: asks port", seen[name])
assert seen == {"AWS_ENDPOINT_URL_S3": "9", "AWS_ENDPOINT_URL": "7"}, "it has changed"
PYTHON
