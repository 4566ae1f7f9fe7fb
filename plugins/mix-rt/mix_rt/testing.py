"""Running QCode to its end in tests: of the machine, and of what makes QCode."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from mix_rt.errors import QCodeError
from mix_rt.qcode import Assembly
from mix_rt.random_code import random_code
from mix_rt.vm import Call, Event, Failed, Gave, Result, Virtual, Waits
from mixkit import codec

__all__ = ["SLICE", "Later", "Panicked", "execute", "finish", "run_random"]

SLICE: Final = 20_000
"""A budget that many tests use up."""


class Panicked(Exception):
    """The machine's panic, with its event."""

    def __init__(self, event: Failed) -> None:
        super().__init__(f"{event.code}: {codec.decode(event.words)!s}")
        self.event = event


class Later(Exception):
    """Raised by an FFI that answers null after so many milliseconds."""

    def __init__(self, ms: float) -> None:
        super().__init__(ms)
        self.ms = ms


def finish(virtual: Virtual, event: Event, ffi: Callable[..., Any] | None = None, budget: int = SLICE) -> Any:
    """Step until the entry ends; its result. FFIs are answered by `ffi(index, *arguments)` at once.

    If that raises `Later`, the answer is null, and comes when nothing else can run: what is due first before the rest.
    """
    now, pending = 0.0, list[tuple[float, int]]()
    for _ in range(1_000_000):
        if isinstance(event, Result):
            return codec.decode(event.words)
        if isinstance(event, Failed):
            raise Panicked(event)
        if isinstance(event, Gave):
            event = virtual.step(budget)
        elif isinstance(event, Call) and ffi is not None:
            arguments: list[Any] = codec.decode(event.words)  # type: ignore[assignment]
            try:
                answer = ffi(event.ffi, *arguments)
            except Later as later:
                pending.append((now + later.ms, event.id))
                event = virtual.step(budget)
                continue
            event = virtual.answer(event.id, codec.encode(answer), budget)
        elif isinstance(event, Waits) and pending:
            first = min(range(len(pending)), key=lambda index: pending[index][0])
            now, due = pending.pop(first)
            event = virtual.answer(due, codec.encode(None), budget)
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


def run_random(virtual: Virtual, random: Random, *, loaded: bool = False) -> str:
    """Load random code unless some is, and enter it a few times with random budgets, answers and failures.

    Answers in one word how it ended. Whatever the machine says is right, as long as it says something.
    """
    try:
        if not loaded:
            virtual.limits(8 << 20, 4000)
            fail_from = random.choice((0, 0, random.randrange(1, 300)))
            fail_until = random.choice((0, 2**31))
            virtual.test(stress=random.random() < 0.3, fail_from=fail_from, fail_until=fail_until)
            virtual.load(random_code(random).to_bytes())
        for _ in range(3):
            arguments = [random.choice((1, "a", [1], {"a": 2}, None)), 2]
            event = virtual.enter(0, codec.encode(arguments), 2000)
            for _ in range(25):
                if isinstance(event, Failed):
                    return event.code
                if isinstance(event, Gave):
                    event = virtual.step(random.randrange(2000))
                elif isinstance(event, Call):
                    answer = codec.encode(random.choice((1, "z", [3])))
                    event = virtual.answer(event.id, answer, 2000, raises=random.random() < 0.3)
                else:
                    break
            if not isinstance(event, Result):
                return type(event).__name__
    except QCodeError:
        return "refused"
    return "ended"
