#!/usr/bin/env bash
# oidc-provider-mock 0.3.4 (on Authlib 1.9.10): where the user says no, the browser comes back without the `state` that the
# client has sent, which is required then (RFC 6749, section 4.1.2.1); where the user says yes, it is there.
# Seen: yes with state, no without.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check oidc-provider-mock==0.3.4 authlib==1.9.10
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata
import os

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
import oidc_provider_mock

client = oidc_provider_mock.app().test_client()
asked = {"response_type": "code", "client_id": "c", "redirect_uri": "http://localhost/back", "scope": "openid", "state": "s"}
print("oidc-provider-mock", importlib.metadata.version("oidc-provider-mock"))
seen = []
for form in ({"sub": "ada"}, {"action": "deny"}):
    answer = client.post("/oauth2/authorize", query_string=asked, data=form)
    print(form, "->", answer.location)
    seen.append("state=s" in answer.location)
assert seen == [True, False], "it has changed"
PYTHON
