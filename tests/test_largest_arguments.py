"""Every FFI of every plugin, given the largest arguments that it takes: the event loop goes on, and the run ends.

Arguments are made from the declared types, so that an FFI that is added is tried without being named here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mixkit import Kernel, codec
from mixkit.errors import CodecError, LimitExceeded, MixError, RunError
from mixkit.ffi import FFI
from mixkit.grants import ALL
from mixkit.limits import Limits
from mixkit.schema import ANY, ArrayType, LiteralType, MapType, RecordType, ScalarType, Type, UnionType
from mixkit.storage import Place

HELD = 1.5
"""Seconds for which the event loop may stand still: tens of times what it is on a machine with nothing else to do."""
WALL_TIME = 0.5
LATE = 5.0
"""Seconds after which a run must have ended whose time was over: likewise."""

VALUES = Limits().call_values - 1_000
TEXT = Limits().call_size // 4
URL = "https://host.invalid/"

# The codec words of the arguments are the content of the parameter, which is one Binary.
GUEST = """
(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 64) "{name}")
  (func (export "mix_alloc") (param i32) (result i32)
    (if (i32.eq (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 0) (i32.const 16)))) (i32.const -1))
      (then (unreachable)))
    (i32.const 131072))
  (func (export "mix_entry_go") (param $p i32) (param $n i32) (result i64)
    (drop (call $ffi (i32.const 64) (i32.const {length})
      (i32.add (local.get $p) (i32.const {header})) (i32.sub (local.get $n) (i32.const {header}))))
    (i64.const 0x2000000004))
  (data (i32.const 32) "\\01\\00\\00\\00"))"""


def plain(type: Type) -> Any:
    """Some small value of a type."""
    match type:
        case ScalarType(name):
            return {"string": "x", "binary": b"x" * 32, "int": 1, "number": 1.0, "bool": True}.get(name)
        case ArrayType():
            return []
        case MapType():
            return {}
        case LiteralType(values):
            return values[0]
        case RecordType(fields):
            found = {name: plain(field.type) for name, field in fields.items() if not field.optional}
            return found | ({"url": URL} if "url" in fields else {})
        case UnionType(options):
            return plain(options[0])


def largest(type: Type) -> Iterator[tuple[str, Any]]:
    """Values of a type that are as large as a call may carry: in number, or in bytes."""
    match type:
        case ScalarType("data"):
            yield "many empty lists", [[] for _ in range(VALUES)]
        case ScalarType("string"):
            yield "long text", "\u20ac" * (TEXT // 3)
        case ScalarType("binary"):
            yield "many bytes", bytes(TEXT)
        case ArrayType(item):
            small = small_of(item)
            yield f"an array of {small!r:.20}", [small] * (VALUES // count(small))
        case MapType(item):
            small = small_of(item)
            yield f"a map of {small!r:.20}", {f"k{n:05}": small for n in range(VALUES // (1 + count(small)))}
            if item == ANY:
                yield "a map of one large list", {"k": [[] for _ in range(VALUES - 10)]}
        case UnionType(options):
            for option in options:
                yield from largest(option)
        case RecordType(fields):
            for name, field in fields.items():
                for label, value in largest(field.type):
                    yield f"{name}: {label}", {**plain(type), name: value}


def small_of(type: Type) -> Any:
    match type:
        case ScalarType("data"):
            return []
        case UnionType(options):
            # The last one, as arrays of fields beside single ones, or maps beside ids.
            return small_of([option for option in options if option != ScalarType("token")][-1])
        case ArrayType(item):
            return [small_of(item)] * 3
    return plain(type)


def count(value: Any) -> int:
    if type(value) is list:
        return 1 + sum(map(count, value))
    return 1 + sum(1 + count(item) for item in value.values()) if type(value) is dict else 1


def calls_of(ffi: FFI) -> Iterator[tuple[str, list[Any]]]:
    """Arguments of which one is as large as it may be."""
    seen = set()
    for index, param in enumerate(ffi.params):
        for label, value in largest(param.type):
            args = [None if param.name == "db" else plain(param.type) for param in ffi.params]
            args[index] = value
            # Long texts are all read alike.
            if (kind := label.rpartition(": ")[2]) in ("long text", "many bytes") and kind in seen:
                continue
            seen.add(kind)
            yield f"{ffi.name} {param.name}: {label}", args


class Heart:
    """Beats on the event loop, and remembers the longest time that it could not."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def beat(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.longest = max(self.longest, now - last - 0.005)
            last = now


@asynccontextmanager
async def beating() -> AsyncIterator[Heart]:
    heart = Heart()
    task = asyncio.create_task(heart.beat())
    try:
        yield heart
    finally:
        task.cancel()


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """All plugins of ours; databases in memory, and no network."""
    overrides = {"limits.params_size": 64 << 20, "storage": "memory"}
    with Kernel("all", environ={}, overrides=overrides) as kernel:
        yield kernel


async def test_no_argument_holds_the_event_loop_or_outlasts_the_run(
    everything: Kernel, tmp_path: Path
) -> None:
    from wasmtime import wat2wasm

    limits = Limits(wall_time=WALL_TIME, params_size=64 << 20)
    place = Place("w", "a", tmp_path)
    tried = 0
    for ffi in everything.ffis:
        for label, args in calls_of(ffi):
            try:
                words = codec.encode(args)
            except MixError:
                continue
            header = len(codec.encode(words)) - len(words)
            text = GUEST.format(name=ffi.name, length=len(ffi.name), header=header)
            program = everything.load(bytes(wat2wasm(text)))
            tried += 1
            async with beating() as heart:
                began = time.monotonic()
                try:
                    await everything.run(program, "go", words, grants=ALL, limits=limits, place=place)
                except RunError as exc:
                    assert exc.panic_code != "internal", label
                    cause = exc.__cause__
                    assert not isinstance(cause, CodecError), label
                    if isinstance(cause, LimitExceeded):
                        assert cause.limit not in ("call_values", "call_size"), (
                            f"{label} is more than it takes"
                        )
                took = time.monotonic() - began
                await asyncio.sleep(0.01)
            assert heart.longest < HELD, f"{label}: the event loop stood still for {heart.longest:.1f} s"
            assert took < WALL_TIME + LATE, f"{label}: ended after {took:.1f} s"
    assert tried > len(everything.ffis)
