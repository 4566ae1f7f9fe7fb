#!/usr/bin/env bash
# json-schema-to-pydantic 0.5.0 (pydantic 2.14.4): an array with `uniqueItems` becomes a set, which has no order and
# takes no objects, though JSON Schema's arrays are ordered and their items of any kind. What `additionalProperties`
# describes beside `properties` is dropped from the value, and a property called `model_config` is none.
# Seen: [3, 1, 2] comes back as {1, 2, 3}, unique objects are refused, and of {"b": 1, "c": "x"} there is b alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check json-schema-to-pydantic==0.5.0 pydantic==2.14.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

from json_schema_to_pydantic import create_model
from pydantic import ValidationError

print(*(f"{name} {version(name)}" for name in ("json-schema-to-pydantic", "pydantic")))


def read(name, schema, value):
    model = create_model({"title": "Probe", "type": "object", "properties": {name: schema}})
    try:
        found = model.model_validate({name: value}).model_dump(exclude_unset=True)
    except ValidationError as exc:
        found = exc.errors()[0]["type"]
    print(schema, value, "->", found)
    return found


number = {"type": "integer"}
unique = {"type": "array", "uniqueItems": True}
thing = {"type": "object", "properties": {"b": number}}
assert read("a", {"type": "array", "items": number}, [3, 1, 2]) == {"a": [3, 1, 2]}
assert read("a", {**unique, "items": number}, [3, 1, 2]) == {"a": {1, 2, 3}}, "it has changed"
assert read("a", {**unique, "items": thing}, [{"b": 1}]) == "set_item_not_hashable", "it has changed"
assert read("a", {**thing, "additionalProperties": {"type": "string"}}, {"b": 1, "c": "x"}) == {"a": {"b": 1}}
assert read("model_config", number, 1) == {}, "it has changed"
PYTHON
