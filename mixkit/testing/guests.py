"""Pieces of guests in the text format, for tests whose guests call FFIs."""

from __future__ import annotations

from typing import Final

__all__ = ["CALLING"]

CALLING: Final = """(func $alloc (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func $call (param $name i32) (param $name_len i32) (param $args i32) (param $len i32) (result i64)
    (local $size i32) (local $at i32)
    (local.set $size (call $ffi (local.get $name) (local.get $name_len) (local.get $args) (local.get $len)))
    (local.set $at (call $alloc (local.get $size)))
    (call $take (local.get $at))
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size))))"""
"""`$alloc`, which frees nothing, and `$call`, an FFI by its name and the words of its arguments: `(i64)` of the answer.

The module has the imports `mix.ffi` as `$ffi` and `mix.take` as `$take`, a memory and a global `$heap`."""
