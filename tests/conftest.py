"""What the kernel's tests share: small guests written as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mixkit import Kernel

PRELUDE = """
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (import "mix" "log" (func $log (param i32 i32 i32)))
  (import "mix" "now" (func $now (result f64)))
  (import "mix" "random" (func $random (param i32 i32)))
  (import "mix" "panic" (func $panic (param i32 i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (func $alloc (export "mix_alloc") (param $size i32) (result i32)
    (local $at i32) (local $end i32)
    (local.set $at (global.get $heap))
    (local.set $end (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16)))
      (then (if (i32.eq (memory.grow (i32.shr_u (i32.add (local.get $size) (i32.const 131072)) (i32.const 16)))
                        (i32.const -1)) (then (unreachable)))))
    (global.set $heap (local.get $end))
    (local.get $at))
  (func $pair (param $ptr i32) (param $len i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len))))
  (func $call (param $name i32) (param $name_len i32) (param $args i32) (param $len i32) (result i64)
    (local $size i32) (local $at i32)
    (local.set $size (call $ffi (local.get $name) (local.get $name_len) (local.get $args) (local.get $len)))
    (local.set $at (call $alloc (local.get $size)))
    (call $take (local.get $at))
    (call $pair (local.get $at) (local.get $size)))
  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64)
    (call $pair (local.get $p) (local.get $n)))
"""
"""Imports, memory, an allocator, `$pair`, `$call` (an FFI and its answer), and the entry `echo`."""


def entry(name: str, body: str) -> str:
    """The text of an entry with the parameters' words at `$p`, of `$n` bytes."""
    return f'(func (export "mix_entry_{name}") (param $p i32) (param $n i32) (result i64) {body})'


@pytest.fixture(scope="session")
def guest() -> Callable[..., bytes]:
    """Makes a guest from the text of its functions, more imports, and entries given as `name=body`."""
    from wasmtime import wat2wasm

    def make(text: str = "", *, imports: str = "", **entries: str) -> bytes:
        bodies = "\n".join(entry(name, body) for name, body in entries.items())
        return bytes(wat2wasm(f"(module {imports} {PRELUDE} {text} {bodies})"))

    return make


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """A kernel with the profile `test`, whatever the environment says."""
    with Kernel("test", environ={}) as kernel:
        yield kernel
