"""Signals: promises that live in the kernel's process, for runs that wait for one another or for a caller.

Whoever knows a signal's id may send to it: the id is the right to answer, and may be given to others. Only
its owner, the user in the app in the workspace that created it, may await or cancel it; to all others it does
not exist. A signal is sent once, may be awaited any number of times, and is forgotten some time after its
creation. What is sent is kept as codec words, so that runs share no object and no Token leaves its run.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

from mixkit.codec import decode, encode
from mixkit.errors import FFIError, NotFound, ValueKindError
from mixkit.value import Value

__all__ = ["Signals"]


@dataclass(slots=True)
class _Signal:
    owner: Hashable
    expires: float
    words: bytes | None = None
    waiters: set[Future[bytes]] = field(default_factory=set)


class Signals:
    """All signals of a kernel. Thread-safe: those who wait may be on different event loops.

    Args:
        max_signals: signals of all owners together.
        max_owned: signals of one owner, so that no one takes them all.
        max_waiters: calls that await one signal at the same time.
        max_size: bytes of the encoded value that is sent.
        max_bytes: bytes of all values that are kept.
        max_owned_bytes: bytes of the values that are kept for one owner.
        max_age: seconds after its creation when a signal is forgotten, sent or not.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        *,
        max_signals: int = 10_000,
        max_owned: int = 1_000,
        max_waiters: int = 100,
        max_size: int = 1024 * 1024,
        max_bytes: int = 64 * 1024 * 1024,
        max_owned_bytes: int = 16 * 1024 * 1024,
        max_age: float = 24 * 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_signals = max_signals
        self.max_owned = max_owned
        self.max_waiters = max_waiters
        self.max_size = max_size
        self.max_bytes = max_bytes
        self.max_owned_bytes = max_owned_bytes
        self.max_age = max_age
        self._clock = clock
        self._signals: dict[str, _Signal] = {}
        self._owned: Counter[Hashable] = Counter()
        self._bytes: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._signals)

    def create(self, owner: Hashable) -> str:
        """The id of a new signal: 32 random hex digits.

        Raises:
            FFIError: there are too many, or too many of this owner.
        """
        id = secrets.token_hex(16)
        with self._lock:
            forgotten = self._sweep()
            if self._owned[owner] >= self.max_owned:
                problem = f"you have {self.max_owned} signals, which is the limit; cancel some"
            elif len(self._signals) >= self.max_signals:
                problem = f"there are {self.max_signals} signals, which is the limit"
            else:
                problem = ""
                self._signals[id] = _Signal(owner, self._clock() + self.max_age)
                self._owned[owner] += 1
        _fail(forgotten, "the signal is too old")
        if problem:
            raise FFIError(problem)
        return id

    async def wait(self, id: str, owner: Hashable, seconds: float) -> Value:
        """What is, or will be, sent to the signal.

        Args:
            seconds: how long to wait at most.

        Raises:
            NotFound: no such signal of this owner.
            FFIError: it was cancelled, is forgotten, or too many await it.
            TimeoutError: nothing was sent in time.
        """
        import asyncio

        with self._lock:
            signal = self._owned_signal(id, owner)
            if signal.words is not None:
                return decode(signal.words)
            if len(signal.waiters) >= self.max_waiters:
                raise FFIError(f"{self.max_waiters} calls await this signal already, which is the limit")
            waiter: Future[bytes] = Future()
            signal.waiters.add(waiter)
            age_left = signal.expires - self._clock()
        try:
            async with asyncio.timeout(min(seconds, age_left)):
                words: bytes = await asyncio.wrap_future(waiter)
            return decode(words)
        finally:
            with self._lock:
                signal.waiters.discard(waiter)

    def send(self, id: str, value: Value) -> None:
        """Send the value, once, to all who await the signal now or later.

        Raises:
            NotFound: no such signal.
            FFIError: something was sent before; the value is too large or contains a Token; or what is kept already is
                as much as may be kept, of all or of the signal's owner.
        """
        try:
            words = encode(value)
        except ValueKindError as exc:
            raise FFIError(f"cannot send the value: {exc}") from None
        if len(words) > self.max_size:
            raise FFIError(f"a signal carries at most {self.max_size} bytes, found {len(words)}")
        with self._lock:
            signal = self._signal(id)
            if signal.words is not None:
                raise FFIError("something was sent to this signal before; a signal is sent once")
            if self._bytes[signal.owner] + len(words) > self.max_owned_bytes:
                raise FFIError(
                    f"the signals of this one's owner would keep more than {self.max_owned_bytes} bytes, the limit; "
                    "it must cancel some"
                )
            if self._bytes.total() + len(words) > self.max_bytes:
                raise FFIError(f"what signals keep would be above {self.max_bytes} bytes, which is the limit")
            self._bytes[signal.owner] += len(words)
            signal.words = words
            waiters, signal.waiters = signal.waiters, set()
        for waiter in waiters:
            if waiter.set_running_or_notify_cancel():
                waiter.set_result(words)

    def cancel(self, id: str, owner: Hashable) -> None:
        """Forget the signal; those who await it get an error.

        Raises:
            NotFound: no such signal of this owner.
        """
        with self._lock:
            self._owned_signal(id, owner)
            waiters = self._forget(id)
        _fail(waiters, "the signal was cancelled")

    def _signal(self, id: str) -> _Signal:
        signal = self._signals.get(id)
        if signal is None or signal.expires <= self._clock():
            raise NotFound("no such signal: it was never created, was cancelled, or is too old")
        return signal

    def _owned_signal(self, id: str, owner: Hashable) -> _Signal:
        signal = self._signal(id)
        if signal.owner != owner:
            return self._signal("")  # The same error as for one that does not exist.
        return signal

    def _forget(self, id: str) -> set[Future[bytes]]:
        signal = self._signals.pop(id)
        self._owned[signal.owner] -= 1
        self._bytes[signal.owner] -= len(signal.words or b"")
        if not self._owned[signal.owner]:
            del self._owned[signal.owner], self._bytes[signal.owner]
        # The caller goes through them without the lock, while they go away.
        waiters, signal.waiters = signal.waiters, set()
        return waiters

    def _sweep(self) -> set[Future[bytes]]:
        """Forget what is too old. All live equally long, so the oldest stand in front."""
        now = self._clock()
        waiters: set[Future[bytes]] = set()
        while self._signals:
            id, signal = next(iter(self._signals.items()))
            if signal.expires > now:
                break
            waiters |= self._forget(id)
        return waiters


def _fail(waiters: set[Future[bytes]], message: str) -> None:
    for waiter in waiters:
        if waiter.set_running_or_notify_cancel():
            waiter.set_exception(FFIError(message))
