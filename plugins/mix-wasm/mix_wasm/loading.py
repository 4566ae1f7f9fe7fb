"""From what an agent names to a compiled module: what may be loaded, and that not everybody compiles at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from mix_wasm.gate import Gate
from mix_wasm.grants import check_granted
from mix_wasm.settings import WasmSettings
from mixkit.contracts import Compiled
from mixkit.databases import Apps
from mixkit.errors import FFIError, GrantError, NotFound
from mixkit.paths import check_folder
from mixkit.state import State
from mixkit.vm.threads import in_own_thread

__all__ = ["loaded"]

T = TypeVar("T")
_READ: Final = "files.read"
_gate: Final = Gate()


class _Loads:
    """How many modules a run has loaded."""

    def __init__(self) -> None:
        self.count = 0


async def loaded(state: State, source: bytes | str, make: Callable[[Compiled], T]) -> T:
    """What `make` makes of the module that the agent names, once that is compiled.

    It happens in a thread that nobody waits for longer than the run may take. Compiling cannot be stopped, and a run
    that has ended leaves it behind; so only a few may be at it.

    Args:
        make: may run code of the module, under a leash, and puts what it makes into the state's care.

    Raises:
        FFIError: it is too large, or the run has loaded too many.
        NotFound, FileError: its package, or its app, has no such file.
        GrantError: it may not be loaded.
        EngineError: it is not valid, or too much to compile.
    """
    import asyncio

    settings: WasmSettings = state.services.settings("wasm")
    loads = state.get(_Loads) or state.put(_Loads())
    if loads.count >= settings.loads:
        raise FFIError(f"this run has loaded {loads.count} modules; the setting wasm.loads raises that")
    loads.count += 1
    await _gate.enter(settings.compiling)
    try:
        origin, read = await _found(state, source, settings.module_bytes)
        pending = in_own_thread(_load, state, origin, read, settings.module_bytes, make)
    except BaseException:
        _gate.leave()
        raise
    try:
        async with asyncio.timeout(state.budget.remaining()):
            return await asyncio.wrap_future(pending)
    except TimeoutError:
        raise state.budget.exceeded("wall_time", "a module was still being loaded") from None


def _load(
    state: State, origin: str, read: Callable[[], bytes], most: int, make: Callable[[Compiled], T]
) -> T:
    try:
        code = read()
        if len(code) > most:
            raise FFIError(
                f"the module has more than {most} bytes; the setting wasm.module_bytes says how many are loaded"
            )
        check_granted(state, code, origin)
        compiled = state.services.compile(code)
    finally:
        _gate.leave()
    return make(compiled)


async def _found(state: State, source: bytes | str, most: int) -> tuple[str, Callable[[], bytes]]:
    """Where the module is from, as grants name it, and what reads it, in a thread."""
    if isinstance(source, bytes):
        return "bytes", lambda: source
    if source.startswith("/"):
        code = await _stored(state, source, most + 1)
        return "files", lambda: code
    apps = state.get(Apps)
    if apps is None:
        raise NotFound(f"no file {source!r:.80} of a package: this run was started without one")
    return "package", partial(apps.file, source)


async def _stored(state: State, path: str, most: int) -> bytes:
    """The beginning of one of the app's files, if the run may read there."""
    if state.place is None:
        raise NotFound(f"no file {path!r:.80}: this run was started without an app")
    for layer in state.grants.option(_READ):
        # As $file_read has it, whose option this is.
        if not any(path.startswith(check_folder(folder)) for folder in layer):
            raise GrantError(
                f"{path!r:.200} is outside of the folders that {_READ} grants to {state.code or 'this code'}"
            )
    reading = await state.services.files.open(state.place).read(path, stop=most)
    try:
        content = bytearray()
        while piece := await reading.read():
            content += piece
        return bytes(content)
    finally:
        await reading.close()
