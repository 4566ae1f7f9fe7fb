#!/usr/bin/env bash
# extism 1.1.1 (extism-sys 1.41.0): an exception in a host function that is written in Python does not reach the guest or
# the caller: it is printed, the guest goes on with an empty answer, and the call succeeds.
# Seen: b'' and no exception, where the guest gives back what the host function answered.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check extism==1.1.1 extism-sys==1.41.0 wasmtime==50.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib, io
from importlib.metadata import version

import extism, wasmtime

print("extism", version("extism"), "extism-sys", version("extism-sys"))
code = wasmtime.wat2wasm("""(module
  (import "extism:host/user" "lookup" (func $lookup (param i64) (result i64)))
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "output_set" (func $output (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "ask") (result i32) (local $answer i64)
    (local.set $answer (call $lookup (call $input)))
    (call $output (local.get $answer) (call $length (local.get $answer)))
    (i32.const 0)))""")
shelf = {"tea": "green"}


@extism.host_fn(name="lookup", namespace="extism:host/user")
def lookup(name: str) -> str:
    return shelf[name]


plugin = extism.Plugin({"wasm": [{"data": bytes(code)}]}, functions=[lookup])
known = plugin.call("ask", "tea")
with contextlib.redirect_stderr(io.StringIO()) as printed:
    unknown = plugin.call("ask", "coffee")
print("known:", known, "unknown:", unknown, "printed:", "KeyError" in printed.getvalue())
assert known == b"green" and unknown == b"" and "KeyError: 'coffee'" in printed.getvalue(), "it has changed"
PYTHON
