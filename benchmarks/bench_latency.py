"""How long a quick agent takes over HTTP, while others wait and two do something without end.

    python benchmarks/bench_latency.py [--json] [--waiting N] [--seconds S] [KIND ...]

The kinds are those of `soak_dropped.py` that never end: `spin` computes, `grow` takes memory and writes to it, `ask`
calls FFIs; `none` is the same without them. Milliseconds, on one connection that is kept. With fewer processors than it
takes, and with others at work on the machine, it is their figure too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from typing import Any

from soak_dropped import TOKEN, ask, installed, served

KINDS = ("none", "spin", "grow", "ask")
SETTLE = 3.0
PAUSE = 0.004
LASTS = 60
REQUEST = (
    "POST /v1/ws/w/app/soak/agent/echo HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n7"
).encode()


async def answered(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is None or not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"expected 200, found {head!r}")
    await reader.readexactly(int(length[1]))


async def measure(port: int, kind: str, waiting: int, seconds: float) -> dict[str, Any]:
    others = [asyncio.ensure_future(ask(port, "sleep", [1000 * LASTS], None)) for _ in range(waiting)]
    if kind != "none":
        others += [asyncio.ensure_future(ask(port, kind, None, None)) for _ in range(2)]
    await asyncio.sleep(SETTLE)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        writer.write(REQUEST)
        await answered(reader)
        times.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(PAUSE)
    ended = sum(other.done() for other in others)
    if ended:
        raise RuntimeError(f"{ended} of the others have ended, which were to wait or to go on all the while")
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    times.sort()
    figures = {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100], "worst": times[-1]}
    return {"beside": kind, "requests": len(times), **{name: round(ms, 2) for name, ms in figures.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all if none is named"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--waiting", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    variables = {
        "MIXKIT_LIMITS_WALL_TIME": str(LASTS + 30),
        "MIXKIT_LIMITS_HOST_CALLS": str(1 << 40),
        "MIXKIT_SERVER_GRACE_PERIOD": "0.2",
    }
    rows = []
    with installed() as directory:
        for kind in args.kinds or KINDS:
            with served(directory, **variables) as (_, port):
                rows.append(asyncio.run(measure(port, kind, args.waiting, args.seconds)))
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{'beside':8}{'requests':>10}{'p50 ms':>10}{'p99 ms':>10}{'worst ms':>10}")
    for row in rows:
        print(f"{row['beside']:8}{row['requests']:>10}{row['p50']:>10}{row['p99']:>10}{row['worst']:>10}")


if __name__ == "__main__":
    main()
