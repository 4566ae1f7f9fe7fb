#!/usr/bin/env bash
# jsonpath-ng 1.16.0 (`jsonpath_ng.ext`): paths that RFC 9535 knows are taken without an error and find nothing,
# where they are written with an escape (2.3.1.1), or a filter has its constant on the left or a comparison of two
# constants (2.3.5.1). The same paths written otherwise find what they should.
# Seen: [] for $['\u0061'], $[?1==@] and $[?@>0 && true==true], which jsonpath-rfc9535 finds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jsonpath-ng==1.16.0 jsonpath-rfc9535==1.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import jsonpath_ng.ext
import jsonpath_rfc9535

print("jsonpath-ng", version("jsonpath-ng"), "jsonpath-rfc9535", version("jsonpath-rfc9535"))
seen = []
for path, document in (
    (r"$['a']", {"a": 1}),
    (r"$['\u0061']", {"a": 1}),
    ("$[?@==1]", [1, 2]),
    ("$[?1==@]", [1, 2]),
    ("$[?@>0 && true==true]", [1]),
):
    found = [match.value for match in jsonpath_ng.ext.parse(path).find(document)]
    other = [node.value for node in jsonpath_rfc9535.find(path, document)]
    print(path, "jsonpath-ng:", found, "jsonpath-rfc9535:", other)
    seen.append(found)
    assert other == [1], "it has changed"
assert seen == [[1], [], [1], [], []], "it has changed"
PYTHON
