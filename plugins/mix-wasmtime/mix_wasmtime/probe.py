"""Whether guests can be suspended here: one is, in each of the ways that the kernel uses."""

from __future__ import annotations

import logging

from mixkit.contracts import (
    DONE,
    GAVE_WAY,
    LATER,
    WAITS,
    FuncType,
    HostFunction,
    HostImports,
    Instance,
    WasmEngine,
)
from mixkit.errors import EngineError, MixError
from mixkit.limits import Limits

__all__ = ["suspends"]

_log = logging.getLogger("mixkit.wasmtime")

# (module (import "m" "f" (func (result i32)))
#   (func (export "f") (result i32) call 0)
#   (func (export "g") (param i32) (result i32) (loop (br_if 0 (local.get 0))) (i32.const 7)))
_GUEST = bytes.fromhex(
    "0061736d01000000010a026000017f60017f017f020701016d01660000030302000107090201660001016700020a1202"
    "040010000b0b00034020000d000b41070b"
)


def suspends(engine: WasmEngine) -> bool:
    """Whether a guest waits, gives way and is dropped as it should. What does not work is logged."""
    try:
        from mix_wasmtime.backend import HAS_FIBERS

        if not HAS_FIBERS:
            raise EngineError("this build of Wasmtime has no calls on fibers")
        _try(engine)
    except (MixError, ImportError, MemoryError) as exc:
        _log.warning("guests that wait hold their thread: %s", exc)
        return False
    return True


def _try(engine: WasmEngine) -> None:
    module = engine.compile(_GUEST)
    imports: HostImports = {("m", "f"): HostFunction(FuncType((), ("i32",)), lambda _: LATER)}

    def made() -> Instance:
        return engine.instantiate(module, Limits(), imports, suspends=True)

    instance = made()
    call = instance.begin("f")
    _expect("a guest that waits", call.step(), WAITS)
    call.resume(42)
    _expect("a guest that was answered", call.step(), DONE)
    _expect("its result", call.result, 42)
    call = instance.begin("g", 1)
    instance.give_way()
    _expect("a guest that is to give way", call.step(), GAVE_WAY)
    call.drop()
    instance.close()


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise EngineError(f"a probe failed: {what}: expected {expected!r}, found {found!r}")
