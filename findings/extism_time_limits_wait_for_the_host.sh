#!/usr/bin/env bash
# extism 1.1.1 (extism-sys 1.41.0): `timeout_ms` ends a guest that computes, and not one that waits in a host function: the
# call goes on when the function returns, however much later that is, and succeeds if little is left to do.
# Seen: an endless loop ends after 0.3 s of 0.3, a guest that waits in a host function for 2 s succeeds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check extism==1.1.1 extism-sys==1.41.0 wasmtime==50.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import time
from importlib.metadata import version

import extism, wasmtime

print("extism", version("extism"), "extism-sys", version("extism-sys"))
code = wasmtime.wat2wasm("""(module
  (import "extism:host/user" "rest" (func $rest (param i64) (result i64)))
  (import "extism:host/env" "input_offset" (func $input (result i64)))
  (memory (export "memory") 1)
  (func (export "compute") (result i32) (loop (br 0)) (unreachable))
  (func (export "wait") (result i32) (drop (call $rest (call $input))) (i32.const 0)))""")


@extism.host_fn(name="rest", namespace="extism:host/user")
def rest(text: str) -> str:
    time.sleep(2)
    return text


plugin = extism.Plugin({"wasm": [{"data": bytes(code)}], "timeout_ms": 300}, functions=[rest])
took = {}
for name in ("compute", "wait"):
    began = time.monotonic()
    try:
        plugin.call(name, "x")
        how = "succeeded"
    except extism.Error as exc:
        how = str(exc)
    took[name] = how, time.monotonic() - began
    print(f"{name}: {how} after {took[name][1]:.1f} s")
assert took["compute"][0] == "timeout" and took["compute"][1] < 1.5, "it has changed"
assert took["wait"][0] == "succeeded" and took["wait"][1] >= 1.9, "it has changed"
PYTHON
