"""`$wasm_load`, `$wasm_call`, `$wasm_shutdown`, `$wasm_wasi_load`, `$wasm_wasi_call`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from mix_wasm.grants import OPTION, check_option
from mix_wasm.settings import WasmSettings
from mixkit.errors import FFIError
from mixkit.ffi import FFIGroup
from mixkit.limits import Limits
from mixkit.state import State
from mixkit.value import Result, Token

if TYPE_CHECKING:
    from mixkit.contracts import Compiled

__all__ = ["group"]

group = FFIGroup(
    "wasm",
    options={
        OPTION: 'which modules may be loaded: all of "package", "files" or "bytes", or one as "sha256:…"'
    },
    checks={OPTION: check_option},
)


class LoadOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bytes of memory and of stack that the module may have; no more than the run's own limits."""

    memory: int | None = None
    stack: int | None = None


class ProgramOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program is started with."""

    args: list[str] = []
    env: dict[str, str] = {}
    stdin: str | bytes = b""
    memory: int | None = None
    stack: int | None = None
    timeout_ms: float | None = None


@group.register("$wasm_load")
async def wasm_load(
    state: State,
    source: Annotated[
        bytes | str, "the module, the path of a file, or the name of one beside the app's code"
    ],
    options: LoadOptions = LoadOptions(),  # noqa: B008 - immutable
) -> Result[dict[str, Any]]:
    """Load a Wasm module and start an instance of it, which lives until `$wasm_shutdown` or the end of the run.

    The source is the module itself; or the name of a file that the app's package has beside its code, in `code/APP`, as
    `"adder.wasm"`; or the path of one of the app's files, as `"/lib/adder.wasm"`.
    Answers `{module, entries, functions}`: the handle for the other calls; the names of what takes and answers a value,
    if it speaks the guest interface; and what takes and answers numbers, by name with its signature. The module sees a
    clock and random bytes, may write to the log, and calls no FFIs. Its memory counts as the run's own.

    `$wasm_load("adder.wasm")` → `ok({module: token, entries: [], functions: {add: "(i32, i32) -> (i32)"}})`
    """
    from mix_wasm.library import WasmModule
    from mix_wasm.loading import loaded

    limits = _limits(state, options.memory, options.stack)

    def make(code: Compiled) -> dict[str, Any]:
        module = WasmModule(state, code, limits)
        try:
            handle = state.hold(module, WasmModule.close)
        except BaseException:
            module.close()
            raise
        functions = {name: str(kind) for name, kind in module.functions.items()}
        return {"module": handle, "entries": list(module.entries), "functions": functions}

    return await loaded(state, source, make)


@group.register("$wasm_call")
def wasm_call(
    state: State,
    module: Token,
    function: str,
    args: Any = None,
    timeout_ms: Annotated[float | None, "none gives it as long as the run may take"] = None,
) -> Result[Any]:
    """Call a loaded module: an entry with any value, or a function with an array of numbers.

    An int is passed for i32 and i64, any number for f32 and f64; what comes back is signed. What fails, takes more than
    `timeout_ms`, or asks for more memory or stack than there is, answers an error, and the module is shut down.

    `$wasm_call(module, "add", [2, 3])` → `ok(5)`; `$wasm_call(module, "greet", {name: "Ada"})` → `ok("Hello, Ada")`
    """
    from mix_wasm.library import WasmModule

    return state.held(module, WasmModule).call(function, args, timeout_ms)


@group.register("$wasm_shutdown")
def wasm_shutdown(state: State, module: Token) -> None:
    """Free a loaded module or program. Freeing it twice is harmless.

    `$wasm_shutdown(module)` → `null`
    """
    from mix_wasm.library import WasmModule
    from mix_wasm.program import WasiProgram

    for kind in (WasmModule, WasiProgram):
        try:
            state.held(module, kind)
        except FFIError:
            continue
        state.release(module)


@group.register("$wasm_wasi_load")
async def wasm_wasi_load(
    state: State,
    source: Annotated[
        bytes | str, "the module, the path of a file, or the name of one beside the app's code"
    ],
) -> Result[dict[str, Any]]:
    """Load a WASI program (preview 1, a command with `_start`), to be run any number of times by `$wasm_wasi_call`.

    The source is as that of `$wasm_load`.

    `$wasm_wasi_load("wc.wasm")` → `ok({module: token})`
    """
    from mix_wasm.loading import loaded
    from mix_wasm.program import WasiProgram

    def make(code: Compiled) -> dict[str, Any]:
        return {"module": state.hold(WasiProgram(code), WasiProgram.close)}

    return await loaded(state, source, make)


@group.register("$wasm_wasi_call")
def wasm_wasi_call(
    state: State,
    module: Token,
    options: ProgramOptions = ProgramOptions(),  # noqa: B008 - immutable
) -> Result[dict[str, Any]]:
    """Run a WASI program to its end, in an instance of its own.

    It gets `args` (the first is by custom its name), `env`, and `stdin` (a string or binary); also a clock and random
    bytes, and no files and no network. Answers `{exit_code, stdout, stderr}`, the output as binary. A trap, too much
    output, or more than `timeout_ms`, `memory` or `stack` answers an error.

    `$wasm_wasi_call(module, {args: ["wc", "-w"], stdin: "two words"})` →
    `ok({exit_code: 0, stdout: 0x32 0x0a, stderr: binary of no bytes})`
    """
    from mix_wasm.program import WasiProgram

    for text in (*options.args, *options.env, *options.env.values()):
        if "\0" in text:
            raise FFIError(f"args and env: expected texts without zero characters, found {text!r:.80}")
    for name in options.env:
        if not name or "=" in name:
            raise FFIError(f"env: expected names of variables without '=', found {name!r:.80}")
    settings: WasmSettings = state.services.settings("wasm")
    stdin = options.stdin.encode() if isinstance(options.stdin, str) else options.stdin
    ended = state.held(module, WasiProgram).run(
        state,
        _limits(state, options.memory, options.stack),
        options.args,
        options.env,
        stdin,
        settings.output_bytes,
        options.timeout_ms,
    )
    return {"exit_code": ended.status, "stdout": ended.stdout, "stderr": ended.stderr}


def _limits(state: State, memory: int | None, stack: int | None) -> Limits:
    """Those of the run, as far as the agent does not want less."""
    limits = state.budget.limits
    wanted = {"memory": memory, "stack": stack}
    try:
        given = msgspec.convert({key: value for key, value in wanted.items() if value is not None}, Limits)
    except msgspec.ValidationError as exc:
        raise FFIError(f"options: {exc}") from None
    lower = {
        key: min(getattr(given, key), getattr(limits, key))
        for key, value in wanted.items()
        if value is not None
    }
    return msgspec.structs.replace(limits, **lower) if lower else limits
