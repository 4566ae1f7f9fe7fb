"""`$ws_send` and `$ws_receive` from a guest in C beside websockets and aiohttp in Python: round trips of 1 KB over TLS
on loopback, to an echo server in a process of its own.

    python benchmarks/bench_ws.py [--json] [--repeats N]

The contenders take turns, all of one table comes from one run. `ratio` is over websockets without compression.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
from loopback import medians, serving
from mix_wasm.build import build
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from mixkit import Kernel
from mixkit.grants import ALL

TEXT = "x" * 1000
TRIPS = 2_000
GUEST = """
#include "mix.h"

static mix_value echo(mix_value params) {
    mix_out request = {0};
    mix_put_map(&request);
    mix_key(&request, "url"), mix_put_value(&request, mix_get(params, "url"));
    mix_end(&request);
    mix_value socket = mix_get(mix_case_arg(mix_ffi("$ws_connect", mix_done(&request))), "socket");
    mix_value text = mix_get(params, "text");
    int64_t left = mix_as_int(mix_get(params, "trips"), 0);
    size_t size = 0;
    while (left-- > 0) {
        mix_ffi("$ws_send", socket, text);
        size += mix_as_text(mix_case_arg(mix_ffi("$ws_receive", socket))).size;
    }
    mix_ffi("$ws_close", socket);
    mix_out out = {0};
    mix_put_int(&out, (int64_t)size);
    return mix_done(&out);
}
MIX_ENTRY("echo", echo)
"""


def server(folder: str, ready: Connection) -> None:
    """The server process: tells its port, and ends when its parent does."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/server.pem")
        async with serve(echo, "127.0.0.1", 0, ssl=context, compression=None) as listening:
            ready.send(listening.sockets[0].getsockname()[1])
            await asyncio.to_thread(ready.poll, None)

    asyncio.run(main())


async def measure(folder: str, port: int, repeats: int) -> dict[str, float]:
    url = f"wss://127.0.0.1:{port}/"
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    (Path(folder) / "echo.c").write_text(GUEST)
    code = build(Path(folder) / "echo.c", Path(folder) / "echo.wasm")
    overrides = {
        "settings.ws.ca_file": f"{folder}/ca.pem",
        "settings.ws.allow_private": [f"127.0.0.1:{port}"],
        "limits.host_calls": 1_000_000,
        "limits.outgoing_bytes": 1 << 30,
    }
    with Kernel("all", overrides=overrides) as kernel:
        program = kernel.load(code)

        async def ours() -> None:
            done = await kernel.run(program, "echo", {"url": url, "text": TEXT, "trips": TRIPS}, grants=ALL)
            assert done.value == TRIPS * len(TEXT)

        async def websockets() -> None:
            async with connect(url, ssl=context, compression=None, proxy=None) as socket:
                for _ in range(TRIPS):
                    await socket.send(TEXT)
                    assert await socket.recv() == TEXT

        async def by_aiohttp() -> None:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(url, ssl=context, compress=0) as socket,
            ):
                for _ in range(TRIPS):
                    await socket.send_str(TEXT)
                    assert await socket.receive_str() == TEXT

        contenders: dict[str, Callable[[], Awaitable[None]]] = {
            "websockets": websockets,
            "aiohttp": by_aiohttp,
            "a guest": ours,
        }
        taken = await medians(contenders, repeats)
    return {name: TRIPS / seconds for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with serving(server) as (folder, port):
        result = asyncio.run(measure(folder, port, options.repeats))
    if options.json:
        print(json.dumps(result))
        return
    print(f"round trips of {len(TEXT)} characters a second")
    for name, value in result.items():
        print(f"  {name:10} {value:8.0f}   ratio {value / result['websockets']:.2f}")


if __name__ == "__main__":
    main()
