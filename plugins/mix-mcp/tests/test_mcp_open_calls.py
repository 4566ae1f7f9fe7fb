"""Calls of sessions over HTTP, which their clients cancel by a message that any process may get."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from mix_mcp.open_calls import OpenCalls

from mixkit.local_bus import LocalBus

if TYPE_CHECKING:
    from conftest import Site

PATH = "/mcp/conf"


def test_a_call_is_cancelled_from_another_process() -> None:
    async def run() -> list[bool]:
        bus = LocalBus()
        one, other = OpenCalls(lambda: bus), OpenCalls(lambda: bus)
        begun = asyncio.Event()

        async def work(calls: OpenCalls, session: str, id: Any) -> None:
            with calls.working(session, id):
                begun.set()
                await asyncio.sleep(60)

        tasks = [
            asyncio.create_task(work(one, session, id)) for session, id in (("a", 1), ("a", "1"), ("b", 1))
        ]
        await begun.wait()
        # Until it listens.
        for _ in range(10):
            await asyncio.sleep(0)
        for session, id in (("a", 1), ("a", [1]), ("a", None), ("c", 1)):
            await other.cancel(session, id)
        await asyncio.wait(tasks, timeout=0.2)
        done = [task.done() for task in tasks]
        await one.cancel("a", "1")
        await asyncio.wait(tasks, timeout=0.05)
        done.append(tasks[1].done())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await one.close()
        await other.close()
        await bus.close()
        return done

    assert asyncio.run(run()) == [True, False, False, True]


@pytest.mark.slow
@pytest.mark.xdist_group("mcp")
def test_a_client_of_a_session_cancels(site: Site) -> None:
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}}
    call = {"name": "slow_compute", "arguments": {"seconds": 25}}

    def message(method: str, params: dict[str, Any], **about: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "method": method, "params": params, **about}

    with site.client() as client, site.client() as other:
        opened = client.post(PATH, json=message("initialize", params, id=0))
        headers["Mcp-Session-Id"] = opened.headers["Mcp-Session-Id"]
        with client.stream("POST", PATH, json=message("tools/call", call, id=1), headers=headers) as stream:
            told = message("notifications/cancelled", {"requestId": 1})
            assert other.post(PATH, json=told, headers=headers).status_code == 202
            # It ends at once, without the answer that it would have had at its end.
            assert [line for line in stream.iter_lines() if line.startswith("data")] == []
