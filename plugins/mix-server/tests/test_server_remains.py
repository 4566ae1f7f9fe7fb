"""Nothing of a request outlives it: afterwards, what it brought is searched for among all objects of the process."""

from __future__ import annotations

import asyncio
import gc
import json
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import httpx
from mix_server.server import Server

Make = Callable[..., Server]
Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

MARK = "mark-of-this-request"
DEMO = "/v1/ws/w/app/demo/agent/"
APP = "/v1/ws/w/app/demo"

_MARKED = re.compile(f"{MARK}-([0-9]+)")
_MARKED_BYTES = re.compile(_MARKED.pattern.encode())

ENDS: dict[str, tuple[str, Any]] = {
    "a result": (f"{DEMO}echo", {"s": "@"}),
    "a wait": (f"{DEMO}sleep", [5]),
    "another agent": (f"{DEMO}delegate", ["echo", {"s": "@"}]),
    "another agent that fails": (f"{DEMO}delegate", ["trap", {"s": "@"}]),
    "actions": (f"{DEMO}act", [[{"type": "@"}]]),
    "a trap": (f"{DEMO}trap", {"s": "@"}),
    "a panic": (f"{DEMO}panic", {"s": "@"}),
    "no value": (f"{DEMO}lie", {"s": "@"}),
    "the time limit while it waits": (f"{DEMO}sleep", [60_000]),
    "the memory limit": (f"{DEMO}bomb", {"s": "@"}),
    "a client that goes away": (f"{DEMO}spin", {"s": "@"}),
    "wrong parameters": (f"{DEMO}typed", {"n": "@"}),
    "no such agent": (f"{DEMO}nobody", {"s": "@"}),
    "rows": (f"{APP}/query", {"query": "s == $s", "params": {"s": "@"}}),
    "no query": (f"{APP}/query", {"query": "@ =="}),
    "no record": (f"{APP}/documents", ["@"]),
    "the time limit": (f"{DEMO}spin", {"s": "@"}),
}
"""How requests end: path and body, in which `@` stands for the mark."""


def _holders() -> list[str]:
    """What has a text or bytes with a mark in it."""
    found = []
    for holder in gc.get_objects():
        for held in gc.get_referents(holder):
            if type(held) is str:
                marked = _MARKED.search(held)
            else:
                marked = type(held) in (bytes, bytearray) and _MARKED_BYTES.search(held)
            if marked:
                # Without the mark, so that this is not found itself.
                found.append(f"{type(holder).__name__} has that of number {marked[1]!r}")
    return found


async def test_nothing_of_a_request_remains(make_server: Make, served: Serve) -> None:
    async with served(make_server(limits_wall_time=0.5)) as client:

        async def ask(number: int, path: str, body: Any, seconds: float = 30) -> None:
            # Another mark for each, so that what remains says of which.
            mark = f"{MARK}-{number}"
            content = json.dumps(body).replace("@", mark)
            headers = {"X-Mark": mark, "Cookie": f"a={mark}", "Content-Type": "application/json"}
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await client.post(path, content=content, headers=headers)

        for number, (end, (path, body)) in enumerate(ENDS.items()):
            await ask(number, path, body, 0.1 if end == "a client that goes away" else 30)
        # What the connection knows of the request before goes with the next.
        assert (await client.get("/healthz")).status_code == 200
        await asyncio.sleep(0.7)
        gc.collect()
        found = _holders()
        # The search finds what there is.
        kept = [f"{MARK}-{len(ENDS)}"]
        assert len(_holders()) == len(found) + len(kept)
    assert not found, "\n".join(found)
