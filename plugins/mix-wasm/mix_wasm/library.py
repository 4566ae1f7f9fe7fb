"""A module that an agent has loaded: called by entry with a value, or by export with numbers."""

from __future__ import annotations

import time
from typing import Any, Final

from mix_wasm.leash import Leash, opened, restore
from mixkit import codec
from mixkit.contracts import Compiled, FuncType
from mixkit.converter import Converter, converter
from mixkit.errors import CodecError, FFIError, GuestError
from mixkit.limits import Limits
from mixkit.near import meant
from mixkit.schema import Mismatch
from mixkit.state import State
from mixkit.value import kind_of
from mixkit.vm.guest import HOST_IMPORTS, GuestMachine
from mixkit.vm.interface import import_problems, problems, refuse
from mixkit.vm.machine import Idle, Panic
from mixkit.vm.manifest import Entry, read_manifest
from mixkit.vm.snapshot import SnapshotCache, snapshot_key

__all__ = ["WasmModule"]

_INTEGERS: Final = frozenset({"i32", "i64"})
_FLOATS: Final = frozenset({"f32", "f64"})
_NO_ENVIRONMENT: Final = codec.encode({})
_LONG: Final = 0.001
"""Seconds of initialising from which on its outcome is kept."""
_snapshots: Final = SnapshotCache(64, 64 * 1024 * 1024)
"""Of modules as they are initialised, without anything of a run; for this process."""


class WasmModule:
    """An instance that lives until it is shut down, the run ends, or a call of it fails.

    Attributes:
        entries: what takes and answers a value, by name, if the module speaks the guest interface.
        functions: what takes and answers numbers: all other exported functions whose signature allows it.

    Raises:
        EngineError: it imports what modules are not given.
        FFIError: its start fails, or needs more than it may have.
    """

    def __init__(self, state: State, code: Compiled, limits: Limits) -> None:
        module = code.module
        refuse("the module cannot be loaded", import_problems(module))
        is_guest = not problems(module)
        manifest = read_manifest(module) if is_guest else None
        self.entries: dict[str, Entry] = dict(manifest.entries) if manifest else {}
        # A guest without a manifest may dispatch names by itself.
        self._any_entry = is_guest and not self.entries
        self._params: dict[str, Converter] = {
            name: converter(entry.params) for name, entry in self.entries.items()
        }
        self.functions = {
            name: kind for name, kind in module.exports.items() if _is_numeric(name, kind, is_guest)
        }
        budget = state.budget
        most = min(budget.limits.result_size, budget.limits.call_size)
        instance = opened(state, code, limits, HOST_IMPORTS, max_result=most)
        self._state = state
        self._instance = instance
        self._leash = Leash(state, instance)
        try:
            self._start(code, limits)
            if is_guest and "mix_resume" in module.exports:
                with self._leash.running():
                    self._machine.resume()
        except BaseException:
            self.close()
            raise

    def _start(self, code: Compiled, limits: Limits) -> None:
        """Have it initialised: by its own code, or as that left it for somebody else, if it took its time."""
        # With other limits it may come out different, when something is refused to it.
        given = f"{limits.memory} {limits.table} {limits.stack}"
        key = snapshot_key(code.module.hash, code.engine, given, _NO_ENVIRONMENT)
        known, snapshot = _snapshots.get(key, code.engine)
        if snapshot is not None:
            restore(self._instance, snapshot)
        self._machine = _Machine(self._instance, _Host(self._state, self._leash), direct=True)
        if snapshot is not None:
            return
        began = time.thread_time()
        with self._leash.running():
            self._machine.initialize(_NO_ENVIRONMENT)
        # Where the run had no more memory, it may have made do with less than others have.
        if not known and not self._state.budget.purse[1] and time.thread_time() - began > _LONG:
            # Random numbers and times that it has drawn would be the same for all.
            _snapshots.put(key, None if self._machine.unique else self._instance.freeze())

    def call(self, name: str, args: Any, timeout_ms: float | None) -> Any:
        """Call an entry with a value, or a function with an array of numbers.

        Raises:
            FFIError: there is none of that name, the arguments do not fit, or the call failed.
        """
        if name in self.entries or (self._any_entry and name not in self.functions):
            return self._call_entry(name, args, timeout_ms)
        kind = self.functions.get(name)
        if kind is None:
            known = [*self.entries, *self.functions]
            raise FFIError(
                f"the module has no function {name!r:.80}; there is {', '.join(known[:50]) or 'none'}"
                f"{meant(name, known)}"
            )
        numbers = _numbers(name, kind, args)
        with self._leash.running(timeout_ms):
            return self._machine.compute(name, numbers)

    def _call_entry(self, name: str, args: Any, timeout_ms: float | None) -> Any:
        entry = self.entries.get(name)
        try:
            if entry is not None:
                args = self._params[name](args)
        except Mismatch as exc:
            raise FFIError(f"args of {name}: {exc}") from None
        state = self._state
        # Without handles: a token stays the agent's own.
        words = codec.encode(args)
        with self._leash.running(timeout_ms):
            answer = self._machine.enter_and_step(name, words, direct=entry is not None and entry.direct)
        state.budget.check_values(answer, "call_values")
        try:
            return codec.decode(answer)
        except CodecError as exc:
            raise FFIError(f"{name} answered no value: {exc}") from None

    def close(self) -> None:
        """Shut it down; a call that runs is stopped. Idempotent, from any thread."""
        self._leash.close()


class _Machine(GuestMachine):
    """A guest that is also called with numbers."""

    __slots__ = ()

    def compute(self, name: str, numbers: list[int | float]) -> int | float | None:
        """Call an exported function."""
        try:
            answer = self.instance.call(name, *numbers)
        except Exception as exc:
            raise self._explained(exc) from None
        self._flush()
        return answer

    def enter_and_step(self, name: str, words: bytes, *, direct: bool) -> bytes:
        """Call an entry."""
        self._direct = direct
        self.enter(name, words)
        match self.step(0):
            case Idle(answer) if answer is not None:
                return answer
            case Panic(error):
                raise error
        raise GuestError("stopped", trap="interrupt")


class _Host:
    """What a loaded module may do: log, and wait. It calls no FFIs: its powers are those of nobody."""

    def __init__(self, state: State, leash: Leash) -> None:
        self._state = state
        self._leash = leash

    def call(self, name: bytes, words: bytes) -> bytes:
        raise GuestError(
            f"{name.decode('utf-8', 'replace')} was called by a loaded module, which can call no FFIs; "
            "call it in the agent, and give its answer to the module",
            trap="interface",
        )

    def call_quick(self, name: bytes, words: bytes) -> bytes:
        return self.call(name, words)

    def log(self, level: int, message: str) -> None:
        self._state.log(level, message)

    def sleep(self, seconds: float) -> None:
        self._leash.sleep(seconds)


def _is_numeric(name: str, kind: FuncType | str, is_guest: bool) -> bool:
    if not isinstance(kind, FuncType) or name == "_initialize" or (is_guest and name.startswith("mix_")):
        return False
    numeric = _INTEGERS | _FLOATS
    return len(kind.results) <= 1 and all(item in numeric for item in (*kind.params, *kind.results))


def _numbers(name: str, kind: FuncType | str, args: Any) -> list[int | float]:
    """The arguments, checked against the signature."""
    assert isinstance(kind, FuncType)
    args = [] if args is None else args
    if not isinstance(args, list) or len(args) != len(kind.params):
        found = f"{len(args)} of them" if isinstance(args, list) else kind_of(args)
        raise FFIError(f"{name} takes an array of {len(kind.params)} numbers, {kind}; found {found}")
    return [
        _number(f"{name}: args[{index}]", wanted, value)
        for index, (wanted, value) in enumerate(zip(kind.params, args, strict=True))
    ]


def _number(where: str, wanted: str, value: Any) -> int | float:
    if wanted in _FLOATS and type(value) in (int, float):
        return float(value)
    if wanted in _INTEGERS and type(value) is int:
        # Wasm has no signs, so unsigned numbers of 32 bits are taken too; no int has more than 64.
        if wanted == "i64" or -(1 << 31) <= value < 1 << 32:
            return value
        raise FFIError(f"{where}: expected an i32, {-(1 << 31)} to {(1 << 32) - 1}, found {value}")
    raise FFIError(f"{where}: expected a number for {wanted}, found {kind_of(value)}")
