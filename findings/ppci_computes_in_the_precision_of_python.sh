#!/usr/bin/env bash
# ppci 0.5.8, whose Wasm modules run as Python: f32 arithmetic is done in double precision and not rounded, a
# conversion to i32 of a float that does not fit gives a number of more than 32 bits instead of trapping, min and
# max pass over a NaN.
# Seen: all three, beside wasmtime's results.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ppci==0.5.8 wasmtime==50.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
import io
import math

from ppci.wasm import Module, instantiate
import wasmtime

TEXT = """(module
  (func (export "add") (param f32 f32) (result f32) (f32.add (local.get 0) (local.get 1)))
  (func (export "whole") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func (export "min") (param f64 f64) (result f64) (f64.min (local.get 0) (local.get 1))))"""
code = wasmtime.wat2wasm(TEXT)
store = wasmtime.Store()
exports = wasmtime.Instance(store, wasmtime.Module(store.engine, code), []).exports(store)
ppci = instantiate(Module(io.BytesIO(code).read()), {}, target="python").exports


def both(name, *args):
    try:
        ours = exports[name](store, *args)
    except wasmtime.Trap:
        ours = "trap"
    theirs = getattr(ppci, name)(*args)
    print(f"{name}{args}: wasmtime {ours!r}, ppci {theirs!r}")
    return ours, theirs


print("ppci", version("ppci"))
assert both("add", 16777216.0, 1.0) == (16777216.0, 16777217.0), "it has changed"
assert both("whole", 1e10) == ("trap", 10_000_000_000), "it has changed"
ours, theirs = both("min", 0.0, math.nan)
assert math.isnan(ours) and theirs == 0.0, "it has changed"
PYTHON
