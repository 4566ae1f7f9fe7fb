#!/usr/bin/env bash
# wasmtime 50.0.1 (Python): a parameter of type f64 or f32 refuses a Python int, in core modules and in components, so a
# JSON argument 2 fails where 2.0 is taken; a bool is taken for an i32, and an int of any size, cut to 32 bits.
# Seen: TypeError for 2, 2.0 for 2.0; 0 for 4294967296 as i32.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
from importlib.metadata import version
import wasmtime
import wasmtime.component

print("wasmtime", version("wasmtime"))
CORE = """(module (func (export "f") (param f64) (result f64) local.get 0)
                  (func (export "i") (param i32) (result i32) local.get 0))"""
COMPONENT = """(component (core module $m (func (export "f") (param f64) (result f64) local.get 0))
  (core instance $i (instantiate $m))
  (func (export "f") (param "a" f64) (result f64) (canon lift (core func $i "f"))))"""
engine = wasmtime.Engine()
store = wasmtime.Store(engine)
exports = wasmtime.Instance(store, wasmtime.Module(engine, CORE), []).exports(store)
linker = wasmtime.component.Linker(engine)
lifted = linker.instantiate(store, wasmtime.component.Component(engine, COMPONENT)).get_func(store, "f")

def call(function, value):
    try:
        result = function(store, value)
    except TypeError as exc:
        return type(exc).__name__
    if function is lifted:
        function.post_return(store)
    return result

seen = {text: [call(exports["f"], json.loads(text)), call(lifted, json.loads(text))] for text in ("2", "2.0")}
print(seen, "i32 of 2**32:", exports["i"](store, 2**32))
assert seen == {"2": ["TypeError"] * 2, "2.0": [2.0, 2.0]} and exports["i"](store, 2**32) == 0, "it has changed"
PYTHON
