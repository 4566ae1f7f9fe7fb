"""`$http_do` beside bare aiohttp: GETs of 1 KB over TLS on loopback, from a server in a process of its own.

    python benchmarks/bench_http.py [--json] [--repeats N]

The contenders take turns, all of one table comes from one run. `ratio` is the median over that of aiohttp: what
the checks, bounds, codec and dispatch cost. `egress` is one check of a URL with a
familiar host name, without its resolution.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import ssl
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
from loopback import medians, serving
from mix_http.ffis import group
from mix_http.settings import HttpSettings

from mixkit import codec, egress
from mixkit.ffi import FFITable
from mixkit.state import NoServices, State
from mixkit.target import parse_url

BODY = json.dumps({"text": "x" * 1000}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
TOGETHER = 20
EACH = 10


def serve(folder: str, ready: Connection) -> None:
    """The server process: tells its port, and ends when its parent does."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/server.pem")
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        ready.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(ready.poll, None)

    asyncio.run(main())


class Services(NoServices):
    def __init__(self, settings: HttpSettings) -> None:
        super().__init__()
        self._settings = settings

    def settings(self, plugin: str) -> HttpSettings:
        return self._settings


async def times(contenders: dict[str, Callable[[], Awaitable[Any]]], repeats: int) -> dict[str, float]:
    """Median microseconds of each, taking turns."""
    return {name: taken * 1e6 for name, taken in (await medians(contenders, repeats)).items()}


async def measure(folder: str, port: int, repeats: int) -> dict[str, dict[str, float]]:
    settings = HttpSettings(ca_file=f"{folder}/ca.pem", allow_private=(f"127.0.0.1:{port}",))
    table = FFITable([group])
    state = State(services=Services(settings))
    url = f"https://127.0.0.1:{port}/"
    words = codec.encode([{"url": url}])
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    policy = settings.policy()

    async def public(host: str) -> list[str]:
        return ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]

    async def egress_check() -> None:
        for _ in range(100):
            await egress.check(parse_url("https://www.example.com/a/b?c=d"), policy, public)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:

        async def bare() -> None:
            async with session.get(url) as response:
                assert await response.text()

        async def ours() -> None:
            _, pending = table.dispatch(state, b"$http_do", words)
            answer: Any = codec.decode(await pending)
            assert answer["status"] == 200

        def together(call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[Any]]:
            async def several() -> None:
                for _ in range(EACH):
                    await call()

            return lambda: asyncio.gather(*(several() for _ in range(TOGETHER)))

        alone = await times({"aiohttp": bare, "$http_do": ours}, repeats)
        crowd = await times({"aiohttp": together(bare), "$http_do": together(ours)}, max(3, repeats // 50))
        check = await times({"egress": egress_check}, max(3, repeats // 50))
    return {
        "one at a time, µs": alone,
        f"{TOGETHER} at a time, µs a call": {name: value / TOGETHER / EACH for name, value in crowd.items()},
        "egress check, µs": {name: value / 100 for name, value in check.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=500)
    options = parser.parse_args()
    # As a worker of the server does at its start.
    gc.collect()
    gc.freeze()
    with serving(serve) as (folder, port):
        result = asyncio.run(measure(folder, port, options.repeats))
    if options.json:
        print(json.dumps(result))
        return
    for title, row in result.items():
        print(title)
        for name, value in row.items():
            ratio = f"   ratio {value / row['aiohttp']:.2f}" if "aiohttp" in row else ""
            print(f"  {name:10} {value:8.1f}{ratio}")


if __name__ == "__main__":
    main()
