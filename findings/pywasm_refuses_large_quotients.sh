#!/usr/bin/env bash
# pywasm 2.2.3: i64.div_u fails where the quotient has 64 bits, that is when a number of 2^63 or more is divided
# by one; i32.div_u and i64.rem_u do not.
# Seen: an OverflowError where the quotient is the number itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pywasm==2.2.3 wasmtime==50.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import pywasm
import wasmtime

TEXT = """(module
  (func (export "i64") (param i64 i64) (result i64) (i64.div_u (local.get 0) (local.get 1)))
  (func (export "i32") (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1))))"""
code = wasmtime.wat2wasm(TEXT)
store = wasmtime.Store()
exports = wasmtime.Instance(store, wasmtime.Module(store.engine, code), []).exports(store)
with open("module.wasm", "wb") as file:
    file.write(code)

print("pywasm", version("pywasm"))
seen = {}
for name in ("i32", "i64"):
    runtime = pywasm.core.Runtime()
    module = runtime.instance_from_file("module.wasm")
    try:
        seen[name] = runtime.invocate(module, name, [-1, 1])[0]
    except OverflowError as exc:
        seen[name] = type(exc).__name__
    print(f"the largest {name} / 1: wasmtime {exports[name](store, -1, 1)}, pywasm {seen[name]}")
assert seen == {"i32": -1, "i64": "OverflowError"}, "it has changed"
PYTHON
