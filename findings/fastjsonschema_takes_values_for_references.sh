#!/usr/bin/env bash
# fastjsonschema 2.22.3: `$ref` is taken for a reference within `const` and `enum` too, where it is a value like any
# other (JSON Schema draft-07, 6.1), so that a schema for schemas does not compile. And compiling a schema changes it:
# references in the caller's own object become absolute.
# Seen: JsonSchemaDefinitionException for const and enum; "$ref": "text" is "http://schemas.example/text" afterwards.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fastjsonschema==2.22.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import fastjsonschema

print("fastjsonschema", version("fastjsonschema"))
value = {"$ref": "#/definitions/text"}
seen = []
for schema in ({"const": {"ref": "a"}}, {"const": value}, {"enum": [value]}):
    try:
        seen.append(fastjsonschema.compile(schema)(next(iter(schema.get("enum", [schema.get("const")])))))
    except fastjsonschema.JsonSchemaDefinitionException as exc:
        seen.append(str(exc))
    print(schema, "->", seen[-1])
schema = {
    "$id": "http://schemas.example/root",
    "definitions": {"text": {"$id": "text", "type": "string"}},
    "properties": {"name": {"$ref": "text"}},
}
fastjsonschema.compile(schema)
print("compiled:", schema["properties"])
assert seen[0] == {"ref": "a"} and all(each.startswith("Unresolvable ref") for each in seen[1:]), "it has changed"
assert schema["properties"] == {"name": {"$ref": "http://schemas.example/text"}}, "it has changed"
PYTHON
