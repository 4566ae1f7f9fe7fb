"""The load that contenders over HTTP get, all of them the same: requests on connections that are kept, from one loop.

It takes about 20 µs a request of its own processor, so that on two of them what is measured is the server.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

__all__ = ["measure", "processor_time"]

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class _Client(asyncio.Protocol):
    """One connection that sends the same request again as soon as it is answered."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head)
        if length is None or not head.startswith(b"HTTP/1.1 200"):
            self._load.fail(self._buffer)
        elif len(body) >= int(length[1]):
            self._buffer = b""
            if self._load.answered(time.perf_counter() - self._sent):
                self._send()
            else:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.left()


class _Load:
    """A bounded number of requests, in a bounded time, over some connections.

    Attributes:
        times: seconds of each answer.
    """

    def __init__(self, request: bytes, count: int, seconds: float, connections: int) -> None:
        self.request = request
        self.times: list[float] = []
        self._left, self._open = count, connections
        self._deadline = time.perf_counter() + seconds
        self._done = asyncio.get_running_loop().create_future()

    def answered(self, seconds: float) -> bool:
        """Note an answer; whether to send another request."""
        self.times.append(seconds)
        self._left -= 1
        return self._left >= self._open and time.perf_counter() < self._deadline

    def fail(self, answer: bytes) -> None:
        """Something else than an answer came."""
        if not self._done.done():
            self._done.set_exception(RuntimeError(f"expected 200, found {answer[:500]!r}"))

    def left(self) -> None:
        """A connection has ended."""
        self._open -= 1
        if self._open == 0 and not self._done.done():
            self._done.set_result(None)

    async def run(self, port: int) -> float:
        """Requests per second."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        for _ in range(self._open):
            await loop.create_connection(lambda: _Client(self), "127.0.0.1", port)
        await self._done
        return len(self.times) / (time.perf_counter() - started)


def measure(
    port: int, request: bytes, count: int, seconds: float, connections: int
) -> tuple[float, list[float]]:
    """Requests per second, and the sorted seconds of all.

    Args:
        request: head and body, sent again and again.
        count, seconds: at most so many, in so long.
        connections: that are kept, each with one request at a time.
    """
    import uvloop

    async def main() -> tuple[float, list[float]]:
        load = _Load(request, count, seconds, connections)
        return await load.run(port), sorted(load.times)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def processor_time(pid: int) -> float:
    """Seconds of processor that a process has used; less than the rest disturbed by what else the machine does.

    By its own clock (Linux, include/linux/posix-timers_types.h: CPUCLOCK_SCHED), which is exact where the ticks of
    /proc are hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | 2)
