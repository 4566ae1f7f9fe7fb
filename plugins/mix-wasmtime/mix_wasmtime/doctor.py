"""Checks for `mixkit doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mixkit.contracts import Check, FuncType, HostFunction
from mixkit.errors import MixError
from mixkit.limits import Limits

if TYPE_CHECKING:
    from mix_wasmtime.engine import WasmtimeEngine

__all__ = ["checks"]

# (module (import "m" "f" (func (result i32))) (func (export "f") (result i32) call 0))
_PROBE = bytes.fromhex(
    "0061736d010000000105016000017f020701016d0166000003020100070501016600010a0601040010000b"
)


def checks(kernel: Any) -> list[Check]:
    """Whether Wasmtime fits, runs, and can keep compiled code on disk."""
    from mix_wasmtime.engine import WasmtimeEngine

    engine = WasmtimeEngine(kernel.settings("wasmtime"))
    return [_runs(engine), _keeps(engine)]


def _runs(engine: WasmtimeEngine) -> Check:
    try:
        from mix_wasmtime.backend import check_version

        version = check_version()
        imports = {("m", "f"): HostFunction(FuncType((), ("i32",)), lambda _: 42)}
        instance = engine.instantiate(engine.compile(_PROBE), Limits(), imports)
        answer = instance.call("f")
        instance.close()
    except (MixError, ImportError) as exc:
        return Check(
            "wasmtime", "error", str(exc), "pip install --force-reinstall mix-wasmtime, and read the message"
        )
    if answer != 42:
        return Check("wasmtime", "error", f"a probe answered {answer!r}, expected 42", "report this")
    if not engine.suspends:
        why = "the log says why" if engine.settings.fibers else "settings.wasmtime.fibers is off"
        return Check(
            "wasmtime",
            "warning",
            f"wasmtime {version} runs a probe, but a guest that waits holds its thread: {why}",
            "set settings.wasmtime.fibers to true, and read the log of the start",
        )
    return Check("wasmtime", "ok", f"wasmtime {version} compiles, runs and suspends a probe")


def _keeps(engine: WasmtimeEngine) -> Check:
    if engine.cache is None:
        return Check("wasmtime.cache", "ok", "compiled code is not kept on disk (cache_dir = off)")
    try:
        engine.cache.check()
    except (MixError, OSError) as exc:
        return Check(
            "wasmtime.cache",
            "warning",
            f"compiled code is not kept, every start compiles again: {exc}",
            "set settings.wasmtime.cache_dir to a directory that only this user can write, or to off",
        )
    return Check("wasmtime.cache", "ok", f"compiled code is kept in {engine.cache.directory}")
