#!/usr/bin/env bash
# hypothesis-jsonschema 0.23.1 asks for any newer hypothesis and uses its internals: under hypothesis 6.170.17 every schema of
# an object ends with an AttributeError while a value is made. Strings and whole numbers go on, so a suite may seem to work.
# Seen: "'many' object has no attribute 'more'" for {"type": "object"} with one property.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hypothesis-jsonschema==0.23.1 hypothesis==6.170.17
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from hypothesis import given, settings
from hypothesis_jsonschema import from_schema


def made(schema):
    values = []

    @settings(max_examples=10, database=None)
    @given(from_schema(schema))
    def look(value):
        values.append(value)

    try:
        look()
    except AttributeError as exc:
        return str(exc)
    return f"{len(values)} values"


print("hypothesis-jsonschema", version("hypothesis-jsonschema"), "hypothesis", version("hypothesis"))
integer = {"type": "integer", "minimum": 0, "maximum": 100}
text = {"type": "object", "properties": {"a": integer}}
print("a whole number:", made(integer), "- an object:", made(text))
assert made(integer).endswith("values"), "it has changed"
assert made(text) == "'many' object has no attribute 'more'", "it has changed"
PYTHON
