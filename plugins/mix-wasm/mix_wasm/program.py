"""A WASI program: each call runs it from its beginning to its end, in an instance of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from mix_wasm.leash import Leash, opened
from mixkit.contracts import Compiled, FuncType, Module
from mixkit.errors import FFIError, GuestError
from mixkit.limits import Limits
from mixkit.state import State
from mixkit.vm.interface import import_problems, refuse
from mixkit.vm.wasi import WASI

__all__ = ["Ended", "WasiProgram"]

_STDERR: Final = 2
_LAST: Final = 500
"""Characters of its stderr that an error quotes."""


class Ended:
    """How a program ended by itself: its status, and what it wrote."""

    def __init__(self, status: int, stdout: bytes, stderr: bytes) -> None:
        self.status = status
        self.stdout = stdout
        self.stderr = stderr


class WasiProgram:
    """A compiled WASI command, checked. It holds no instance between its calls.

    Raises:
        EngineError: it imports what programs are not given, or is no command.
    """

    def __init__(self, code: Compiled) -> None:
        refuse("no WASI program", [*import_problems(code.module, WASI), *_export_problems(code.module)])
        self._code: Compiled | None = code
        self._leash: Leash | None = None

    def run(
        self,
        state: State,
        limits: Limits,
        arguments: list[str],
        variables: dict[str, str],
        stdin: bytes,
        output: int,
        timeout_ms: float | None,
    ) -> Ended:
        """Run it under what is left of the run's budget.

        Args:
            limits: of its instance.
            output: bytes that it may write.

        Raises:
            FFIError: it trapped, wrote too much, or took longer than `timeout_ms`.
        """
        code = self._code
        if code is None:
            raise FFIError("the program was shut down; load it again")
        instance = opened(state, code, limits, WASI)
        leash = self._leash = Leash(state, instance)
        process = _Process(state, leash, arguments, variables, stdin, output)
        try:
            instance.owner = process
            with leash.running(timeout_ms):
                try:
                    instance.call("_start")
                except GuestError as exc:
                    if exc.trap != "exit":
                        raise process.explained(exc) from None
            return Ended(process.status, bytes(process.written[1]), bytes(process.written[2]))
        finally:
            leash.close()
            self._leash = None
            state.budget.release("memory", process.held)

    def close(self) -> None:
        """Forget the module; a call that runs is stopped. Idempotent, from any thread."""
        self._code = None
        leash = self._leash
        if leash is not None:
            leash.close()


class _Process:
    """What a program sees of its host; see `mixkit.vm.wasi.Owner`."""

    terminal: Final = False

    def __init__(
        self,
        state: State,
        leash: Leash,
        arguments: list[str],
        variables: dict[str, str],
        stdin: bytes,
        most: int,
    ) -> None:
        self.unique = False
        self.arguments = [text.encode() for text in arguments]
        self.variables = [f"{name}={value}".encode() for name, value in variables.items()]
        self.written = {1: bytearray(), _STDERR: bytearray()}
        self.held = 0
        self.status = 0
        self._state = state
        self._leash = leash
        self._stdin = stdin
        self._read = 0
        self._most = most

    @property
    def waiting(self) -> int:
        return len(self._stdin) - self._read

    def input(self, size: int) -> bytes:
        data = self._stdin[self._read : self._read + size]
        self._read += len(data)
        return data

    def output(self, fd: int, data: bytes) -> None:
        if self.held + len(data) > self._most:
            raise FFIError(
                f"the program wrote more than {self._most} bytes to stdout and stderr and was stopped; the setting "
                "wasm.output_bytes raises that"
            )
        self._state.budget.spend("memory", len(data))
        self.held += len(data)
        self.written[fd] += data

    def sleep(self, seconds: float, then: Callable[[], int]) -> int:
        self._leash.sleep(seconds)
        return then()

    def exit(self, status: int) -> NoReturn:
        self.status = status & 0xFFFFFFFF
        raise GuestError("the program has ended", trap="exit")

    def explained(self, error: GuestError) -> GuestError:
        """The error, with the end of stderr, on which runtimes say why they give up."""
        said = bytes(self.written[_STDERR][-4 * _LAST :]).decode("utf-8", "replace").strip()[-_LAST:]
        if not said or error.trap == "interrupt":
            return error
        text = f"{error}; last on stderr: {' | '.join(said.splitlines())}"
        return GuestError(text, trap=error.trap, backtrace=error.backtrace)


def _export_problems(module: Module) -> list[str]:
    found = []
    start, memory = module.exports.get("_start"), module.exports.get("memory")
    if start != FuncType((), ()):
        found.append(f"export _start: expected () -> (), found {start or 'nothing'}")
    if memory != "memory":
        found.append(f"export memory: expected a memory, found {memory or 'nothing'}")
    if start is None and "_initialize" in module.exports:
        found.append("it is a library (a WASI reactor): $wasm_load loads those")
    return found
