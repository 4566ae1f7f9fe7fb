#!/usr/bin/env bash
# pywasm 2.2.3: after a call that trapped, every other call of the same runtime fails with an AssertionError that
# says nothing, whatever it calls. A trap is to end the one call.
# Seen: a division by zero, then the failure of a function that gives a constant.
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
  (func (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "two") (result i32) (i32.const 2)))"""
with open("module.wasm", "wb") as file:
    file.write(wasmtime.wat2wasm(TEXT))
runtime = pywasm.core.Runtime()
module = runtime.instance_from_file("module.wasm")


def call(name, *args):
    try:
        return runtime.invocate(module, name, list(args))
    except Exception as exc:
        return type(exc).__name__


print("pywasm", version("pywasm"))
seen = [call("two"), call("div", 6, 0), call("two")]
print("two(), div(6, 0), two():", seen)
assert seen == [[2], "ZeroDivisionError", "AssertionError"], "it has changed"
PYTHON
