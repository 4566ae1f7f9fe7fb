"""Runs an agent from first to last: instance, output, actions; and errors as the user sees them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Final

from mix_lang.diagnostic import Diagnostic
from mix_lang.evaluator.instance import Instance, instantiate, invoked, settle
from mix_lang.evaluator.machine import Machine
from mix_lang.evaluator.values import ActionValue, Panic, kind
from mix_lang.program import Program
from mixkit.value import UNDEF, Case

__all__ = ["Agent", "panic_diagnostic"]

_FRAMES: Final = 30_000


class Agent:
    """An instance of a module with a cell `output`, and what happens to it.

    Args:
        ffi: answers foreign functions: `ffi(name, args)`.
    """

    def __init__(
        self, program: Program, module: str, params: Any, ffi: Callable[..., Any] | None = None
    ) -> None:
        self.machine = Machine(program, ffi)
        unit = program.units[module]
        args = (params,) if unit.module.params else ()
        with self._room():
            self.instance: Instance = instantiate(self.machine, module, args)
            settle(self.machine)
            self._run_next()

    def output(self) -> Any:
        """The value of the cell `output` as a value of the model; actions in it as maps.

        Raises:
            Panic: it holds what cannot leave the program.
        """
        cell = self.instance.cells["output"]
        with _room():
            return outside(self.machine.unwatched(self.instance.contents, self.machine, cell))

    def raw(self) -> Any:
        """The same with its actions as such."""
        return self.machine.unwatched(self.instance.contents, self.machine, self.instance.cells["output"])

    def invoke(self, action: ActionValue, *args: Any) -> None:
        """Run an action, and the next ones that it asks for."""
        with self._room():
            invoked(self.machine, action, args)
            self._run_next()

    def idle(self) -> None:
        """Run what was put off until the answer is sent."""
        with self._room():
            while self.machine.idle_actions:
                following = self.machine.idle_actions.pop(0)
                if type(following) is ActionValue:
                    invoked(self.machine, following, ())
                    self._run_next()

    @contextmanager
    def _room(self) -> Any:
        """An interaction: the coroutines that it leaves behind end with it."""
        with _room():
            try:
                yield
            finally:
                self.machine.coroutines.close()

    def _run_next(self) -> None:
        while self.machine.next_actions:
            following = self.machine.next_actions.pop(0)
            if type(following) is ActionValue:
                invoked(self.machine, following, ())


def outside(value: Any) -> Any:
    """A value as others get it."""
    if type(value) is list:
        return [outside(item) for item in value]
    if type(value) is dict:
        return {key: outside(item) for key, item in value.items()}
    if type(value) is Case:
        return value if value.arg is UNDEF else Case(value.name, outside(value.arg))
    if type(value) is ActionValue:
        return {"_rmx_type": "msg_view_invoke", "name": value.name, "env": "…"}
    if kind(value) in ("function", "stream", "link", "module", "token"):
        raise Panic(f"expected data, found a {kind(value)}, which cannot leave the program")
    return value


def panic_diagnostic(panic: Panic) -> Diagnostic:
    """A runtime error in the form of the compiler's."""
    source = panic.source
    assert source is not None
    place = source.location(panic.span)
    return Diagnostic(panic.code, "error", panic.message, place, {}, "", source, panic.span)


@contextmanager
def _room() -> Any:
    """Python frames for programs that recurse: one call of theirs takes a dozen."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
