"""Running QCode to its end in tests: of the machine, and of what makes QCode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mix_rt.qcode import Assembly
from mix_rt.vm import Call, Event, Failed, Gave, Result, Virtual
from mixkit import codec

__all__ = ["SLICE", "Panicked", "execute", "finish"]

SLICE: Final = 20_000
"""A budget that many tests use up."""


class Panicked(Exception):
    """The machine's panic, with its event."""

    def __init__(self, event: Failed) -> None:
        super().__init__(f"{event.code}: {codec.decode(event.words)!s}")
        self.event = event


def finish(virtual: Virtual, event: Event, ffi: Callable[..., Any] | None = None, budget: int = SLICE) -> Any:
    """Step until the entry ends; its result. FFIs are answered by `ffi(index, *arguments)` at once."""
    for _ in range(1_000_000):
        if isinstance(event, Result):
            return codec.decode(event.words)
        if isinstance(event, Failed):
            raise Panicked(event)
        if isinstance(event, Gave):
            event = virtual.step(budget)
        elif isinstance(event, Call) and ffi is not None:
            arguments: list[Any] = codec.decode(event.words)  # type: ignore[assignment]
            answer = ffi(event.ffi, *arguments)
            event = virtual.answer(event.id, codec.encode(answer), budget)
        else:
            raise AssertionError(f"expected the entry to go on, found {event}")
    raise AssertionError("no end in a million steps")


def execute(virtual: Virtual, assembly: Assembly, name: str, *arguments: Any, **options: Any) -> Any:
    """Load code, run its init and the function of that name."""
    code = assembly.code()
    virtual.load(code.to_bytes())
    if code.init is not None:
        finish(virtual, virtual.init(SLICE), **options)
    event = virtual.enter(code.exports[name], codec.encode(list(arguments)), options.get("budget", SLICE))
    return finish(virtual, event, **options)
