#!/usr/bin/env bash
# python-jsonpath 2.2.2: RFC 9535, 2.3.5.2.2, orders numbers and texts alone; `<` between anything else is false, and
# `<=` and `>=` then are what `==` is. Its environment with strict=True, which is to keep to the standard, compares
# booleans as Python does: true is less than 2, and false less than true. jsonpath-rfc9535 1.0.1, by the same author,
# does not.
# Seen: $[?@.a < 2] finds true beside 1, $[?@.a <= true] finds false beside true.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check python-jsonpath==2.2.2 jsonpath-rfc9535==1.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import jsonpath
import jsonpath_rfc9535

print("python-jsonpath", version("python-jsonpath"), "jsonpath-rfc9535", version("jsonpath-rfc9535"))
strict = jsonpath.JSONPathEnvironment(strict=True)
seen = []
for query, values in (("$[?@.a < 2]", [1, "1", True, None]), ("$[?@.a <= true]", [True, False, 1])):
    document = [{"a": value} for value in values]
    found = [item["a"] for item in strict.findall(query, document)]
    other = [node.value["a"] for node in jsonpath_rfc9535.find(query, document)]
    print(query, "of", values, "python-jsonpath:", found, "jsonpath-rfc9535:", other)
    seen += [found, other]
assert repr(seen) == "[[1, True], [1], [True, False], [True]]", "it has changed"
PYTHON
