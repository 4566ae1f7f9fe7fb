"""Coroutines: each a thread of Python, of which one runs at a time, in the order that the machine has.

One runs until it waits; then the first in line does. Time does not pass: when all wait, the one that sleeps for the
shortest time goes on.
"""

from __future__ import annotations

import threading
from collections import deque
from heapq import heappop, heappush
from typing import Any, Final

from mix_lang.evaluator.running import Running
from mix_lang.evaluator.values import Function, Native, Panic, Partial, kind

__all__ = ["Coroutine", "Coroutines"]

_STACK: Final = 32 << 20
"""Bytes of stack for calls that are nested as deep as those of the main thread."""


class _EndedError(BaseException):
    """Unwinds a coroutine that has ended where it waits."""


class Coroutine:
    """`state`: ready, running, parked, sleeping or ended. `locals`: what the program keeps in it."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.state = "ready"
        self.answer: Any = None
        self.locals: list[Any] = [None, None]
        self.reading: list[Any] = []
        self.depth = 0
        self.turn = threading.Semaphore(0)
        self.thread: threading.Thread | None = None


class Coroutines:
    """Those of one run. The entry's is `main`."""

    def __init__(self, machine: Running) -> None:
        self._machine = machine
        self.main = self.running = Coroutine(None)
        self._line: deque[Coroutine] = deque()
        self._sleeping: list[tuple[float, int, Coroutine]] = []
        self._all: list[Coroutine] = []
        self._now, self._count = 0.0, 0
        self._failure: BaseException | None = None

    def spawn(self, function: Any) -> Coroutine:
        """A new one, which starts when the running one waits."""
        if not isinstance(function, Function | Native | Partial) or function.arity:
            message = f"expected a function without parameters to run as a coroutine, found {kind(function)}"
            raise Panic(message)
        made = Coroutine(function)
        self._all.append(made)
        self._line.append(made)
        return made

    def pause(self) -> None:
        """Let the others run that can."""
        if self._line:
            self.running.state = "ready"
            self._line.append(self.running)
            self._leave()

    def park(self) -> Any:
        """Wait for `wake`, and answer what it gives."""
        self.running.state = "parked"
        return self._leave()

    def sleep(self, ms: float) -> None:
        """Wait so many milliseconds."""
        self.running.state = "sleeping"
        self._count += 1
        heappush(self._sleeping, (self._now + ms, self._count, self.running))
        self._leave()

    def wake(self, which: Any, value: Any) -> None:
        """Let a parked one go on."""
        self._expect("wake", which)
        if which.state == "parked":
            which.answer, which.state = value, "ready"
            self._line.append(which)

    def cancel(self, which: Any) -> None:
        """End one wherever it waits."""
        self._expect("cancel", which)
        if which is self.running:
            raise _EndedError
        if which.state == "ended":
            return
        which.state = "ended"
        if which.thread is None:
            return
        # What it undoes on its way out is its own.
        before = self._saved()
        self._restore(which)
        which.turn.release()
        which.thread.join()
        self._restore(before)

    def close(self) -> None:
        """End all but the entry's."""
        for each in self._all:
            if each is not self.running:
                self.cancel(each)
        self._all.clear()
        self._line.clear()
        self._sleeping.clear()

    @staticmethod
    def _expect(what: str, which: Any) -> None:
        if type(which) is not Coroutine:
            raise Panic(f"expected a coroutine to {what}, found {kind(which)}")

    def _saved(self) -> Coroutine:
        me = self.running
        me.reading, me.depth = self._machine.reading, self._machine.depth
        return me

    def _restore(self, which: Coroutine) -> None:
        self.running = which
        self._machine.reading, self._machine.depth = which.reading, which.depth

    def _leave(self) -> Any:
        me = self._saved()
        self._hand(self._next())
        me.turn.acquire()
        if me.state == "ended":
            raise _EndedError
        self._restore(me)
        if self._failure is not None and me is self.main:
            failure, self._failure = self._failure, None
            raise failure
        me.state = "running"
        answer, me.answer = me.answer, None
        return answer

    def _next(self) -> Coroutine:
        """The first in line, or else who sleeps for the shortest time. If nobody can go on, the entry has an error."""
        while self._line:
            found = self._line.popleft()
            if found.state == "ready":
                return found
        while self._sleeping:
            self._now, _, found = heappop(self._sleeping)
            if found.state == "sleeping":
                return found
        self._fail(Panic("the entry waits for ever: nothing is left that could wake it", "M0904"))
        return self.main

    def _fail(self, failure: BaseException) -> None:
        self._failure = failure

    def _hand(self, which: Coroutine) -> None:
        if which.thread is None and which is not self.main:
            which.thread = threading.Thread(target=self._body, args=(which,), daemon=True)
            before = threading.stack_size(_STACK)
            try:
                which.thread.start()
            finally:
                threading.stack_size(before)
        else:
            which.turn.release()

    def _body(self, me: Coroutine) -> None:
        self._restore(me)
        me.state = "running"
        try:
            self._machine.apply(me.function, ())
        except _EndedError:
            if me.state == "ended":
                return
        except Panic as panic:
            panic.fatal = True
            self._fail(panic)
        except BaseException as exc:
            self._fail(exc)
        me.state = "ended"
        self._hand(self.main if self._failure is not None else self._next())
