"""Signals that live in the process, and end with it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from mixkit.errors import FFIError
from mixkit.signals import (
    DEFAULT_LIMITS,
    TIMEOUT,
    Found,
    Owner,
    Settled,
    SignalLimits,
    check_outcome,
    deadline_of,
    form_words,
    new_id,
    opened,
    sealed,
    unknown,
)
from mixkit.value import Case

__all__ = ["LocalSignals"]

_LATE: Final = sealed(DEFAULT_LIMITS, TIMEOUT)


@dataclass(slots=True)
class _Signal:
    owner: Owner
    deadline: float
    until: float
    form: bytes | None = None
    words: bytes | None = None
    waiters: set[Future[None]] = field(default_factory=set)


class LocalSignals:
    """Implements `mixkit.signals.Signals`.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, limits: SignalLimits = DEFAULT_LIMITS, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._clock = clock
        self._signals: dict[str, _Signal] = {}
        # By owner: those that are not settled, and bytes.
        self._open: Counter[Owner] = Counter()
        self._total = 0
        self._swept = 0.0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._signals)

    async def create(
        self, owner: Owner, seconds: float | None = None, form: Mapping[str, Any] | None = None
    ) -> str:
        limits = self._limits
        asked = None if form is None else form_words(limits, form)
        deadline = self._clock() + deadline_of(limits, seconds)
        id = new_id()
        with self._lock:
            self._sweep(always=len(self._signals) >= limits.signals or self._open[owner] >= limits.owned)
            if self._open[owner] >= limits.owned:
                raise FFIError(f"you have {limits.owned} signals, which is the limit; cancel some")
            if len(self._signals) >= limits.signals:
                raise FFIError(f"there are {limits.signals} signals, which is the limit")
            self._signals[id] = _Signal(owner, deadline, deadline + limits.kept, asked)
            self._open[owner] += 1
        return id

    async def wait(self, ids: Sequence[str], owner: Owner, seconds: float) -> tuple[str, Case]:
        import asyncio

        waiter: Future[None] = Future()
        until = self._clock() + seconds
        with self._lock:
            signals = {id: self._found(id) for id in dict.fromkeys(ids)}
            if any(signal.owner != owner for signal in signals.values()):
                raise unknown()
            if any(len(signal.waiters) >= self._limits.waiters for signal in signals.values()):
                raise FFIError(f"{self._limits.waiters} calls await this signal already, which is the limit")
            for signal in signals.values():
                signal.waiters.add(waiter)
        first = min((signal.deadline for signal in signals.values()), default=until)
        try:
            if not self._settled(signals):
                try:
                    async with asyncio.timeout(max(0.0, min(until, first) - self._clock())):
                        await asyncio.wrap_future(waiter)
                except TimeoutError:
                    if self._clock() < first and not self._settled(signals):
                        raise
            found = self._settled(signals)
            if not found:
                raise TimeoutError
            return found[0]
        finally:
            with self._lock:
                for signal in signals.values():
                    signal.waiters.discard(waiter)

    async def settle(self, id: str, outcome: Case) -> None:
        words = sealed(self._limits, outcome)
        with self._lock:
            signal = self._found(id)
            if signal.words is not None:
                raise Settled("something was sent to this signal before, or it was canceled or is too late")
            check_outcome(signal.form, outcome)
            if self._total + len(words) > self._limits.total:
                raise FFIError(
                    f"what signals keep would be above {self._limits.total} bytes, which is the limit"
                )
            waiters = self._settle(signal, words, self._clock())
        _wake(waiters)

    async def find(self, id: str) -> Found:
        with self._lock:
            signal = self._found(id)
            return Found(
                signal.owner, signal.deadline, None if signal.words is None else opened(signal.words)
            )

    def _settled(self, signals: dict[str, _Signal]) -> list[tuple[str, Case]]:
        with self._lock:
            for signal in signals.values():
                self._expire(signal)
            return [(id, opened(signal.words)) for id, signal in signals.items() if signal.words is not None]

    def _found(self, id: str) -> _Signal:
        signal = self._signals.get(id)
        if signal is None or signal.until <= self._clock():
            raise unknown()
        self._expire(signal)
        return signal

    def _expire(self, signal: _Signal) -> None:
        if signal.words is None and signal.deadline <= self._clock():
            _wake(self._settle(signal, _LATE, signal.deadline))

    def _settle(self, signal: _Signal, words: bytes, at: float) -> set[Future[None]]:
        signal.words = words
        signal.until = at + self._limits.kept
        self._total += len(words)
        self._open[signal.owner] -= 1
        if not self._open[signal.owner]:
            del self._open[signal.owner]
        waiters, signal.waiters = signal.waiters, set()
        return waiters

    def _sweep(self, *, always: bool) -> None:
        """Forget what is too old."""
        now = self._clock()
        if not always and now < self._swept + 60:
            return
        self._swept = now
        for id, signal in list(self._signals.items()):
            self._expire(signal)
            if signal.until <= now:
                del self._signals[id]
                self._total -= len(signal.words or b"")


def _wake(waiters: set[Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done() and waiter.set_running_or_notify_cancel():
            waiter.set_result(None)
