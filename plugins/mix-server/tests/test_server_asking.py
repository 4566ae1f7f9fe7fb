"""A run whose agent asks its caller something, over plain HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mix_server.detached import Detached
from mix_server.server import Server
from wasmtime import wat2wasm

from mixkit import Kernel
from mixkit.errors import FFIError
from mixkit.package import Package, WorkspaceStore
from mixkit.testing.guests import CALLING

Make = Callable[..., Server]
Connect = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

_CALL = """
  (func (export "mix_entry_{name}") (param $p i32) (param $n i32) (result i64)
    {before} (call $call (i32.const {at}) (i32.const {length}) (local.get $p) (local.get $n)))
"""
_ASK = "(call $call (i32.const 64) (i32.const 9) (local.get $p) (local.get $n))"
GUEST = f"""
(module
  (import "mix" "ffi" (func $ffi (param i32 i32 i32 i32) (result i32)))
  (import "mix" "take" (func $take (param i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 16384))
  (data (i32.const 64) "$core_ask")
  (data (i32.const 80) "$core_agent_call")
  {CALLING}
  {_CALL.format(name="ask", before="", at=64, length=9)}
  {_CALL.format(name="twice", before=f"(drop {_ASK})", at=64, length=9)}
  {_CALL.format(name="late", before=f"(drop {_ASK})", at=80, length=16)}
  {_CALL.format(name="delegate", before="", at=80, length=16)}
  (func (export "mix_entry_echo") (param $p i32) (param $n i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $n))))
)
"""
"""`ask` `[schema, message]`; `twice`, which asks the same again and answers the second answer; `late`, which fails
then; `delegate` `[agent, params]`."""
ENTRIES = "ask twice late delegate echo"

FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ASKED = [FORM, "Who are you?"]
AGENT = "/v1/ws/w/app/demo/agent/"
ADA = {"name": "Ada"}
TOKEN = "a-token-for-tests-0123456789"


@pytest.fixture
def make(make_server: Make, make_package: Callable[..., bytes]) -> Make:
    """Makes a server with the agents that ask; keywords are settings, `grants` those of the package."""

    def make(grants: str = "$core_*", **settings: Any) -> Server:
        return make_server(package=package_of(make_package, grants), **settings)

    return make


def package_of(make_package: Callable[..., bytes], grants: str = "$core_*") -> bytes:
    """The agents that ask."""
    agents = {name: {"code": "code/demo/guest.wasm"} for name in ENTRIES.split()}
    code = bytes(wat2wasm(GUEST))
    return make_package(code=code, apps={"demo": {"agents": agents}}, grants={"ffis": [grants]})


async def ask(client: httpx.AsyncClient, agent: str = "ask", **options: Any) -> dict[str, Any]:
    """Run an agent that asks; the answer to that."""
    answer = await client.post(AGENT + agent, json=ASKED, **options)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == answer.json()["url"]
    found: dict[str, Any] = answer.json()
    return found


async def state(client: httpx.AsyncClient, url: str, seconds: float = 50) -> dict[str, Any]:
    answer = await client.get(url, params={"timeout": seconds})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return {name: value for name, value in found.items() if name not in ("id", "until")}


async def ends(server: Server) -> None:
    """Wait until no run goes on."""
    async with asyncio.timeout(30):
        while server.admission.active or server.admission.paused or len(server.postponed):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_an_agent_asks_is_the_answer_and_is_answered(make: Make, connect: Connect) -> None:
    server = make()
    async with connect(server) as client:
        for path in ("ask", "delegate"):
            params = ASKED if path == "ask" else ["ask", ASKED]
            answer = await client.post(AGENT + path, json=params)
            assert answer.status_code == 202 and "preference-applied" not in answer.headers
            asked = answer.json()
            question = asked.pop("question")
            assert asked == {"id": asked["id"], "url": f"/v1/signals/{asked['id']}"}
            assert (question["message"], question["schema"]) == ("Who are you?", FORM)
            assert (await state(client, asked["url"], 0))["state"] == "pending"
            # What is no answer leaves the question as it is.
            for wrong in ({}, {"name": 1}, [1], "Ada"):
                refused = await client.post(question["url"], json=wrong)
                assert refused.status_code == 400 and "expected" in refused.text, refused.text
            assert (await state(client, asked["url"], 0))["state"] == "pending"
            assert (await client.post(question["url"], json=ADA)).status_code == 204
            assert (await client.post(question["url"], json=ADA)).status_code == 409
            found = await state(client, asked["url"])
            assert found["state"] == "ok" and "Ada" in str(found["value"])
        await ends(server)


async def test_who_does_not_want_to_answer(make: Make, connect: Connect) -> None:
    server = make()
    async with connect(server) as client:
        asked = await ask(client)
        null: Any = {"content": b"null", "headers": {"Content-Type": "application/json"}}
        assert (await client.post(asked["question"]["url"], **null)).status_code == 204
        assert "declined" in str(await state(client, asked["url"]))
        asked = await ask(client)
        assert (await client.delete(asked["question"]["url"])).status_code == 204
        assert "canceled" in str(await state(client, asked["url"]))
        # The signal of the run ends it, and its question.
        asked = await ask(client)
        assert (await client.delete(asked["url"])).status_code == 204
        await ends(server)
        assert (await client.post(asked["question"]["url"], json=ADA)).status_code == 409


async def test_the_next_question_is_where_the_run_is_awaited(make: Make, connect: Connect) -> None:
    server, other = make(), make()
    async with connect(server) as client, connect(other) as there:
        for headers in ({}, {"Prefer": "respond-async"}):
            first = await ask(client, "twice", headers=headers)
            url = first["url"]
            if headers:
                found = await state(there, url)
                assert found["state"] == "question" and "question" not in first
                first, url = found, found["next"]
            waiting = asyncio.create_task(state(there, url))
            await asyncio.sleep(0.05)
            # Whichever worker is answered.
            assert (await there.post(first["question"]["url"], json={"name": 1})).status_code == 400
            assert (await there.post(first["question"]["url"], json={"name": "Bob"})).status_code == 204
            found = await waiting
            assert found["state"] == "question" and found["question"]["message"] == "Who are you?"
            assert (await client.delete(url)).status_code == 409
            assert (await state(there, found["next"], 0))["state"] == "pending"
            assert (await client.post(found["question"]["url"], json=ADA)).status_code == 204
            last = await state(there, found["next"])
            assert last["state"] == "ok" and "Ada" in str(last["value"]) and "Bob" not in str(last)
        second = await ask(client, "twice")
        await there.post(second["question"]["url"], json=ADA)
        found = await state(there, second["url"])
        # The run is stopped by the signal that it settles now.
        assert (await there.delete(found["next"])).status_code == 204
        await ends(server)


async def test_a_run_that_fails_behind_its_question_says_so(make: Make, connect: Connect) -> None:
    server = make()
    async with connect(server) as client:
        asked = await ask(client, "late")
        assert (await client.post(asked["question"]["url"], json=ADA)).status_code == 204
        found = await state(client, asked["url"])
        assert (found["state"], found["error"]["kind"]) == ("error", "run_error")


async def test_a_question_ends_with_its_run(make: Make, connect: Connect) -> None:
    server = make()
    async with connect(server) as client:
        asked = await ask(client, params={"timeout": 0.5})
        found = await state(client, asked["url"])
        assert "timeout" in str(found) or "wall_time" in str(found)
        await ends(server)
        assert (await client.post(asked["question"]["url"], json=ADA)).status_code == 409
    server, other = make(grace_period=0.1), make()
    async with connect(other) as there:
        async with connect(server) as client:
            asked = await ask(client)
        # The server has ended.
        assert (await state(there, asked["url"]))["state"] == "error"
        assert (await there.post(asked["question"]["url"], json=ADA)).status_code == 409


async def test_who_cannot_be_asked(make: Make, connect: Connect) -> None:
    server = make()
    server.grants.add("w", "anonymous", "runner", "workspace", None)
    async with connect(server, None) as client:
        answer = await client.post(AGENT + "ask", json=ASKED)
        assert answer.status_code == 200 and "nobody to ask" in answer.text
    async with connect(make()) as client:
        for wrong in ({}, {"properties": {"name": "string"}}):
            answer = await client.post(AGENT + "ask", json=[wrong, "?"])
            assert answer.status_code == 200 and "JSON Schema" in answer.text


async def test_without_the_grant_nobody_is_asked(make: Make, connect: Connect) -> None:
    async with connect(make("$core_now")) as client:
        answer = await client.post(AGENT + "ask", json=ASKED)
        assert answer.json()["kind"] == "run_error" and "$core_ask" in answer.text
        assert (await client.post(AGENT + "echo", json=ADA)).json() == ADA


async def test_too_many_signals_are_said_to_the_agent(
    make: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make()
    async with connect(server) as client:
        signals = server.kernel.signals
        create, made = signals.create, 0

        async def few(*args: Any) -> str:
            nonlocal made
            made += 1
            if made > 1:
                raise FFIError("you have 1 signals, which is the limit; cancel some")
            return await create(*args)

        monkeypatch.setattr(signals, "create", few)
        # There is one for the question, and none for the run, which is stopped.
        answer = await client.post(AGENT + "ask", json=ASKED)
        assert answer.status_code == 429, answer.text
        await ends(server)
        # There is none for the question.
        answer = await client.post(AGENT + "ask", json=ASKED)
        assert answer.status_code == 200 and "which is the limit" in answer.text


async def test_what_is_left_goes_on_in_another_task() -> None:
    async def work(wait: Callable[[], Awaitable[None]]) -> tuple[str, asyncio.Task[Any] | None]:
        await wait()
        return "done", asyncio.current_task()

    async def nothing() -> None:
        pass

    assert await Detached(work(nothing)).begin() == ("done", asyncio.current_task())
    woken = []

    async def stubborn() -> None:
        # As a run waits: it may be woken for nothing.
        while not woken or woken[-1] != "end":
            future = asyncio.get_running_loop().create_future()
            futures.append(future)
            await future
            woken.append("end" if ended else "nothing")

    futures: list[asyncio.Future[None]] = []
    ended = False
    run = Detached(work(stubborn))
    asyncio.get_running_loop().call_soon(run.leave)
    assert await run.begin() is None and woken == ["nothing"]
    task = run.go_on()
    await asyncio.sleep(0)
    ended = True
    futures[-1].set_result(None)
    assert await task == ("done", task)


async def test_what_is_left_is_canceled_like_any_task() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(asyncio.current_task())
            raise
        return ""

    # What is left is cancelled before or after its task has begun.
    for leaves, steps in ((False, 1), (True, 1), (True, 0)):
        ended: list[Any] = []
        run = Detached(work())
        if leaves:
            run.leave()
            assert await run.begin() is None
            task: asyncio.Task[Any] = run.go_on()
        else:
            begun = run.begin()

            async def main(begun: Any = begun) -> Any:
                return await begun

            task = asyncio.create_task(main())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [task]


@pytest.fixture
def workers(make_package: Callable[..., bytes], ws_dir: Path) -> Iterator[str]:
    """The address of two workers that have the agents that ask."""
    with Kernel("agent_server", environ={}) as kernel:
        store = WorkspaceStore(ws_dir, kernel.databases)
        store.create("w").install(Package.open(package_of(make_package)))
    command = [sys.executable, "-m", "mixkit", "serve", "--port", "0", "--workers", "2"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
    env = clean | {"MIXKIT_SERVER_WS_DIR": str(ws_dir), "MIXKIT_SERVER_TOKEN": TOKEN}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        lines = iter(child.stderr.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"listening on (http://\S+)", line)))
        reader = threading.Thread(target=lambda: list(lines), daemon=True)
        reader.start()
        try:
            yield address
        finally:
            child.terminate()
            child.wait(60)
            reader.join(60)


@pytest.mark.slow
def test_any_worker_takes_the_answer(workers: str) -> None:
    def call(method: str, path: str, **options: Any) -> httpx.Response:
        # A connection each, so that the kernel deals them out.
        return httpx.request(
            method, f"{workers}{path}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60, **options
        )

    for _ in range(6):
        asked = call("POST", AGENT + "ask", json=ASKED).json()
        assert call("POST", asked["question"]["url"], json={"name": 1}).status_code == 400
        assert call("POST", asked["question"]["url"], json=ADA).status_code == 204
        found = call("GET", asked["url"], params={"timeout": 50}).json()
        assert found["state"] == "ok" and "Ada" in str(found)
    # A client that has gone leaves nothing that goes on for longer than it may.
    host, _, port = workers.rpartition("/")[2].rpartition(":")
    body = json.dumps(ASKED)
    head = (
        f"POST {AGENT}ask?timeout=0.5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as gone:
        gone.sendall((head + body).encode())
    until = time.monotonic() + 60
    while True:
        listed = call("GET", "/v1/ws/w/activities").json()["activities"]
        if sum(each.get("agent") == "ask" for each in listed) == 7:
            break
        assert time.monotonic() < until
        time.sleep(0.05)
