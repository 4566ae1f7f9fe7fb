#!/usr/bin/env bash
# msgpackr 2.1.4 (Node.js) and msgspec 0.22.0 (Python): a whole number of JavaScript from 2^32 on, a time in
# milliseconds say, is written as a float of MessagePack, though the format has whole numbers of 64 bits and JavaScript
# holds these exactly to 2^53. So it is another kind of value to whoever reads it. `undefined` becomes extension 0, of
# which the format says that it is the application's. @msgpack/msgpack 3.1.3 writes a whole number, and nil.
# Seen: 2^32 - 1 is read as an int, 2^32 and Date.now() as floats; {a: undefined} has an extension in it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts msgpackr@2.1.4 @msgpack/msgpack@3.1.3
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0
node - >packed <<'JAVASCRIPT'
const libraries = { msgpackr: require("msgpackr").pack, "@msgpack/msgpack": require("@msgpack/msgpack").encode };
for (const [name, pack] of Object.entries(libraries))
  for (const value of [2 ** 32 - 1, 2 ** 32, 1764288000000, { a: undefined }])
    console.log(name, Buffer.from(pack(value)).toString("hex"));
JAVASCRIPT
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import msgspec

print("msgpackr 2.1.4, @msgpack/msgpack 3.1.3, msgspec", version("msgspec"))
seen = {}
for line in open("packed"):
    name, data = line.split()
    value = msgspec.msgpack.decode(bytes.fromhex(data))
    kind = type(value["a"] if isinstance(value, dict) else value).__name__
    seen.setdefault(name, []).append(kind)
    print(name, data, "is", kind, value)
assert seen["msgpackr"] == ["int", "float", "float", "Ext"], "it has changed"
assert seen["@msgpack/msgpack"] == ["int", "int", "int", "NoneType"], "it has changed"
PYTHON
