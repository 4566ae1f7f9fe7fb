"""Checks for `mixkit doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import structs

from mixkit.contracts import Check, FuncType, HostFunction
from mixkit.errors import MixError
from mixkit.limits import Limits

if TYPE_CHECKING:
    from mix_wasm2c.engine import Wasm2cEngine

__all__ = ["checks"]

# (module (import "m" "f" (func (result i32))) (func (export "f") (result i32) call 0))
_PROBE = bytes.fromhex(
    "0061736d010000000105016000017f020701016d0166000003020100070501016600010a0601040010000b"
)


def checks(kernel: Any) -> list[Check]:
    """Whether modules can be translated and compiled here, and which the engine takes."""
    from mix_wasm2c.engine import Wasm2cEngine

    settings = kernel.settings("wasm2c")
    engine = Wasm2cEngine(settings)
    probing = Wasm2cEngine(structs.replace(settings, trust_all=True, code_bytes=len(_PROBE)))
    return [_runs(probing), _keeps(engine), _takes(engine)]


def _runs(engine: Wasm2cEngine) -> Check:
    from mix_wasm2c.toolchain import Toolchain

    try:
        tools = Toolchain(engine.settings)
        imports = {("m", "f"): HostFunction(FuncType((), ("i32",)), lambda _: 42)}
        instance = engine.instantiate(engine.compile(_PROBE), Limits(), imports)
        answer = instance.call("f")
        instance.close()
    except (MixError, OSError) as exc:
        return Check(
            "wasm2c",
            "warning",
            f"nothing can be compiled here, so the next engine of the profile runs everything: {exc}",
            "install a C compiler, or take wasm2c out of the profile",
        )
    if answer != 42:
        return Check("wasm2c", "error", f"a probe answered {answer!r}, expected 42", "report this")
    return Check(
        "wasm2c", "ok", f"{engine.version} and {' '.join(tools.compiler)} compile a probe, and it runs"
    )


def _keeps(engine: Wasm2cEngine) -> Check:
    if engine.cache is None:
        return Check("wasm2c.cache", "ok", "compiled code is not kept on disk (cache_dir = off)")
    try:
        engine.cache.check()
    except (MixError, OSError) as exc:
        return Check(
            "wasm2c.cache",
            "warning",
            f"compiled code is not kept, every start compiles again: {exc}",
            "set settings.wasm2c.cache_dir to a directory that only this user can write, or to off",
        )
    return Check("wasm2c.cache", "ok", f"compiled code is kept in {engine.cache.directory}")


def _takes(engine: Wasm2cEngine) -> Check:
    settings = engine.settings
    which = (
        "every module that it can translate (trust_all)"
        if settings.trust_all
        else f"the {len(settings.trusted)} modules of settings.wasm2c.trusted"
    )
    return Check(
        "wasm2c.modules", "ok", f"it runs {which}, up to {settings.code_bytes} bytes; the others go on"
    )
