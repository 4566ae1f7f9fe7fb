#!/usr/bin/env bash
# pywasm 2.2.3: ceil, floor, trunc and nearest make 0 of -0 and of what is rounded to it, min(0, -0) is 0 and
# max(-0, 0) is -0. The specification of WebAssembly says -0, -0 and 0; a guest that divides by the result gets
# the other infinity.
# Seen: the opposite of wasmtime's results, six times.
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

ONE = {"ceil": -0.5, "floor": -0.0, "trunc": -0.5, "nearest": -0.5}
TWO = {"min": (0.0, -0.0), "max": (-0.0, 0.0)}
TEXT = "(module {} {})".format(
    " ".join(f'(func (export "{n}") (param f64) (result f64) (f64.{n} (local.get 0)))' for n in ONE),
    " ".join(f'(func (export "{n}") (param f64 f64) (result f64) (f64.{n} (local.get 0) (local.get 1)))' for n in TWO),
)
code = wasmtime.wat2wasm(TEXT)
store = wasmtime.Store()
exports = wasmtime.Instance(store, wasmtime.Module(store.engine, code), []).exports(store)
with open("module.wasm", "wb") as file:
    file.write(code)
runtime = pywasm.core.Runtime()
module = runtime.instance_from_file("module.wasm")

print("pywasm", version("pywasm"))
for name, args in {**{name: (x,) for name, x in ONE.items()}, **TWO}.items():
    ours, theirs = exports[name](store, *args), runtime.invocate(module, name, list(args))[0]
    print(f"{name}{args}: wasmtime {ours!r}, pywasm {theirs!r}")
    assert ours == theirs == 0 and str(ours) != str(theirs), "it has changed"
PYTHON
