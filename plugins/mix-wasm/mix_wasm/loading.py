"""From what an agent names to a compiled module: what may be loaded, and that not everybody compiles at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from mix_wasm.gate import Gate
from mix_wasm.settings import WasmSettings
from mixkit.contracts import Module
from mixkit.errors import FFIError, GrantError
from mixkit.job import in_own_thread
from mixkit.state import State

__all__ = ["OPTION", "check_option", "loaded"]

OPTION: Final = "wasm.modules"
"""Grant option: which modules may be loaded."""

T = TypeVar("T")
_ORIGINS: Final = frozenset({"bytes"})
_gate: Final = Gate()


class _Loads:
    """How many modules a run has loaded."""

    def __init__(self) -> None:
        self.count = 0


def check_option(value: Any) -> list[str]:
    """The value of the grant option. Raises `GrantError` for what it cannot be."""
    if isinstance(value, list) and all(_is_allowed(item) for item in value):
        return value
    raise GrantError(
        f'grant option {OPTION}: expected a list of "bytes", or "sha256:" and 64 hex digits, '
        f"found {value!r:.100}"
    )


async def loaded(state: State, source: bytes, make: Callable[[Module], T]) -> T:
    """What `make` makes of the module that the agent names, once that is compiled.

    It happens in a thread that nobody waits for longer than the run may take. Compiling cannot be stopped, and a run
    that has ended leaves it behind; so only a few may be at it.

    Args:
        make: may run code of the module, under a leash, and puts what it makes into the state's care.

    Raises:
        FFIError: it is too large, or the run has loaded too many.
        GrantError: it may not be loaded.
        EngineError: it is not valid, or too much to compile.
    """
    import asyncio

    settings: WasmSettings = state.services.settings("wasm")
    loads = state.get(_Loads) or state.put(_Loads())
    if loads.count >= settings.loads:
        raise FFIError(f"this run has loaded {loads.count} modules; the setting wasm.loads raises that")
    loads.count += 1
    code, origin = source, "bytes"
    _check_granted(state, code, origin)
    if len(code) > settings.module_bytes:
        raise FFIError(
            f"the module has {len(code)} bytes, at most {settings.module_bytes} are loaded; the setting "
            "wasm.module_bytes raises that"
        )
    await _gate.enter(settings.compiling)
    try:
        pending = in_own_thread(_compile, state, code, make)
    except BaseException:
        _gate.leave()
        raise
    try:
        async with asyncio.timeout(state.budget.remaining()):
            return await asyncio.wrap_future(pending)
    except TimeoutError:
        raise state.budget.exceeded("wall_time", "a module was still being loaded") from None


def _compile(state: State, code: bytes, make: Callable[[Module], T]) -> T:
    try:
        module = state.services.compile(code)
    finally:
        _gate.leave()
    return make(module)


def _check_granted(state: State, code: bytes, origin: str) -> None:
    for allowed in state.grants.option(OPTION):
        if origin in check_option(allowed):
            continue
        digest = f"sha256:{hashlib.sha256(code).hexdigest()}"
        if digest not in allowed:
            raise GrantError(
                f"the module {digest} from {origin} is not granted to {state.code or 'this code'}; its manifest must "
                f"name {origin!r} or the digest in the option {OPTION}, and the installation must grant it"
            )


def _is_allowed(item: Any) -> bool:
    if not isinstance(item, str):
        return False
    kind, colon, digest = item.partition(":")
    if not colon:
        return item in _ORIGINS
    return kind == "sha256" and len(digest) == 64 and not digest.strip("0123456789abcdef")
