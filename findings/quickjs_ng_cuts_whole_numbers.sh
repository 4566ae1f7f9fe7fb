#!/usr/bin/env bash
# quickjs-ng 0.17.0.2 (the Python package): a whole number of Python becomes a number of JavaScript of 32 bits, its upper
# bits cut off, where it fits into a C long; what does not fit becomes a float and is right again. JavaScript holds whole
# numbers up to 2**53 exactly, and what it answers is read back right.
# Seen: 2**31 is -2147483648, 2**53 is 0, a time in milliseconds is some other number; 2**64 is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check quickjs-ng==0.17.0.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import quickjs

context = quickjs.Context()
same = context.eval("(function(value) { return value })")
text = context.eval("String")
print("quickjs-ng", version("quickjs-ng"))
seen = {}
for value in (2**31 - 1, 2**31, 1_764_288_000_000, 2**53, 2**63 - 1, 2**64):
    context.set("value", value)
    seen[value] = context.eval("value")
    print(value, "set:", seen[value], "- as an argument:", same(value), "- its text there:", text(value))
    assert seen[value] == same(value)
print("2**53 of JavaScript:", context.eval("2 ** 53"))
assert seen[2**31 - 1] == 2**31 - 1 and seen[2**64] == 2**64, "it has changed"
assert seen[2**31] == -(2**31) and seen[2**53] == 0 and seen[2**63 - 1] == -1, "it has changed"
assert context.eval("2 ** 53") == 2**53, "it has changed"
PYTHON
