#!/usr/bin/env bash
# json-merge-patch 0.3.0: `create_patch` compares as Python does, for which True is 1 and False is 0. A value that
# changes between number and boolean is no change to it, whatever it is in, though RFC 7396 is about JSON, where they
# differ. jsonpatch 1.48 tells them apart.
# Seen: {"a": 1, "b": [0], "c": 1} to {"a": true, "b": [false], "c": 2} is the patch {"c": 2}.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check json-merge-patch==0.3.0 jsonpatch==1.48
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version

import json_merge_patch
import jsonpatch

print("json-merge-patch", version("json-merge-patch"), "jsonpatch", version("jsonpatch"))
old, new = {"a": 1, "b": [0], "c": 1}, {"a": True, "b": [False], "c": 2}
patch = json_merge_patch.create_patch(old, new)
other = jsonpatch.make_patch(old, new)
print("patch:", patch, "other:", other)
assert patch == {"c": 2}, "it has changed"
assert json.dumps(json_merge_patch.merge(dict(old), patch)) == '{"a": 1, "b": [0], "c": 2}', "it has changed"
assert json.dumps(other.apply(old)) == json.dumps(new), "it has changed"
PYTHON
