"""Running and describing agents."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import msgpack  # type: ignore[import-untyped]
import pytest
from mix_server.server import Server

from mixkit import msgpack_values

DEMO = "/v1/ws/w/app/demo/agent/"
Make = Callable[..., Server]
Connect = Callable[[Server], AbstractAsyncContextManager[httpx.AsyncClient]]


async def test_post_runs_with_tagged_json_in_and_out(client: httpx.AsyncClient) -> None:
    value = {"a": [1, 2.5, None, True, "ü"], "r": {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "id"}}
    answer = await client.post(f"{DEMO}echo", json=value)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == value


async def test_a_body_is_optional_and_may_lack_a_type(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{DEMO}echo")).json() == {}
    assert (await client.post(f"{DEMO}echo", content=b"[1]")).json() == [1]


async def test_message_pack_where_asked_for(client: httpx.AsyncClient) -> None:
    value = {"a": 1, "r": {"_rmx_type": "{tag}case:db.ref", "_rmx_value": "id"}}
    for accept in (
        "application/msgpack",
        "application/x-msgpack",
        "application/json;q=0.5, application/msgpack",
    ):
        answer = await client.post(f"{DEMO}echo", json=value, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/msgpack"
        assert msgpack.unpackb(answer.content) == {"a": 1, "r": msgpack.ExtType(1, b"id")}
    for accept in (
        "*/*",
        "application/json",
        "application/json, application/msgpack;q=0.1",
        "text/html",
        "a;;",
    ):
        answer = await client.post(f"{DEMO}echo", json=value, headers={"Accept": accept})
        assert answer.json() == value, accept


async def test_a_large_answer_is_written_in_a_thread(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    pack = msgpack_values.pack

    def spy(value: Any) -> bytes:
        seen.append(threading.get_ident())
        return pack(value)

    monkeypatch.setattr(msgpack_values, "pack", spy)
    for count in (1, 5_000):
        value = [1] * count
        answer = await client.post(f"{DEMO}echo", json=value, headers={"Accept": "application/msgpack"})
        assert msgpack.unpackb(answer.content) == value
    assert seen[0] != seen[1]


async def test_undefined_has_no_message_pack(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{DEMO}undefined")
    assert answer.json() == {"_rmx_type": "{tag}undefined"}
    answer = await client.post(f"{DEMO}undefined", headers={"Accept": "application/msgpack"})
    assert answer.status_code == 406
    assert "undefined" in answer.json()["message"]


async def test_get_runs_with_texts_as_the_agent_wants_them(client: httpx.AsyncClient) -> None:
    query = "n=3&x=1.5&flag=true&tags=a&tags=b&mode=b"
    answer = await client.get(f"{DEMO}typed", params=query)
    assert answer.json() == {
        "n": 3, "x": 1.5, "flag": True, "tags": ["a", "b"], "mode": "b",
    }  # fmt: skip
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await client.post(f"{DEMO}typed", content=query, headers=form)).json() == answer.json()
    for bad in ("n=x", "n=", "n=1.5", "n=1_0", "n=1&n=2", "n=1&flag=yes", "n=1&mode=c", "x=1", "n=1&x=nan"):
        answer = await client.get(f"{DEMO}typed", params=bad)
        assert (answer.status_code, answer.json()["kind"]) == (400, "message"), bad


async def test_what_the_package_declares_is_checked(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{DEMO}typed", json={"n": "3"})
    assert (answer.status_code, answer.json()["ok"]) == (400, False)
    assert ".n" in answer.json()["message"]


async def test_a_parameter_that_the_agent_does_not_take_is_refused(client: httpx.AsyncClient) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for answer in (
        await client.post(f"{DEMO}typed", json={"n": 1, "tagz": []}),
        await client.post(f"{DEMO}typed", content="n=1&tagz=a", headers=form),
        await client.get(f"{DEMO}typed", params="n=1&tagz=a"),
        await client.get("/run-agent/w/demo/typed", params="n=1&tagz=a"),
    ):
        assert answer.status_code == 400
        assert answer.json()["message"].endswith("found key 'tagz'; did you mean 'tags'?")
    answer = await client.post(f"{DEMO}typed?timeuot=1", json={"n": 1})
    assert answer.status_code == 400
    assert "did you mean 'timeout'?" in answer.json()["message"]


async def test_an_agent_may_say_that_it_takes_more(
    make_package: Callable[..., bytes], make_server: Make, connect: Connect
) -> None:
    agent = {"code": "code/demo/guest.wasm", "entry": "echo", "inParams": {"n": "int", "...": "data"}}
    package = make_package(apps={"demo": {"agents": {"more": agent}}})
    async with connect(make_server()) as client:
        headers = {"Content-Type": "application/octet-stream"}
        answer = await client.post("/v1/ws/w/install?force=true", content=package, headers=headers)
        assert answer.status_code < 300, answer.text
        assert (await client.get(f"{DEMO}more", params="n=1&x=2")).json() == {"n": 1, "x": "2"}
        assert (await client.get(f"{DEMO}more")).json()["inParams"]["additionalProperties"] is True


async def test_what_an_agent_answers_is_what_its_package_declares(
    make_package: Callable[..., bytes], make_server: Make, connect: Connect
) -> None:
    agents = {name: {"code": "code/demo/guest.wasm"} for name in ("echo", "delegate")}
    agents["typed"] = {"code": "code/demo/guest.wasm", "entry": "echo", "outParams": "{n: int}"}
    package = make_package(apps={"demo": {"agents": agents}})
    async with connect(make_server()) as client:
        headers = {"Content-Type": "application/octet-stream"}
        await client.post("/v1/ws/w/install?force=true", content=package, headers=headers)
        assert (await client.post(f"{DEMO}typed", json={"n": 1})).json() == {"n": 1}
        answer = await client.post(f"{DEMO}typed", json={"n": "1"})
        assert answer.status_code == 422
        error = answer.json()["run_error"]
        assert (error["code"], error["agent"]) == ("answer", "w/demo/typed")
        assert error["message"].endswith("expected int, found string at .n")
        nested = (await client.post(f"{DEMO}delegate", json=["typed", {}])).json()
        assert nested["_rmx_type"] == "{tag}case:error"
        assert nested["_rmx_value"].endswith("expected int, found nothing at .n")


async def test_get_without_a_query_describes(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{DEMO}typed")
    assert answer.json()["name"] == "typed"
    assert answer.json()["description"] == "Answers what it is given"
    assert answer.json()["inParams"]["required"] == ["n"]
    assert answer.json()["inParams"]["properties"]["n"] == {"type": "integer"}
    assert answer.json()["outParams"] == {"type": "object", "additionalProperties": {}}
    head = await client.head(f"{DEMO}typed")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


async def test_head_never_runs(client: httpx.AsyncClient) -> None:
    for path in (f"{DEMO}spin", "/run-agent/w/demo/spin"):
        assert (await client.head(path, params="a=1")).status_code == 200


async def test_the_first_interface_runs_and_says_that_it_will_go(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.post("/run-agent/w/demo/echo", json={"a": 1}),
        await client.get("/run-agent/w/demo/echo", params="a=1"),
        await client.get("/run-agent/w/demo/echo"),
    ):
        assert answer.status_code == 200
        assert answer.headers["deprecation"].startswith("@")
        assert 'rel="successor-version"' in answer.headers["link"]
    answer = await client.post(f"{DEMO}echo", json={"a": 1})
    assert "deprecation" not in answer.headers


@pytest.mark.parametrize(
    ("agent", "code", "says"),
    [
        ("bomb", "guest", ""),
        ("deep", "limit", "stack"),
        ("trap", "guest", ""),
        ("panic", "guest", "it is broken"),
        ("chatter", "limit", "log_size"),
        ("lie", "guest", ""),
        ("hoard", "limit", "host_calls"),
    ],
)
async def test_an_agent_that_fails_is_a_named_error_and_the_server_goes_on(
    make_server: Make, connect: Connect, agent: str, code: str, says: str
) -> None:
    async with connect(make_server(limits_memory=32 << 20, limits_host_calls=500)) as client:
        answer = await client.post(f"{DEMO}{agent}")
        assert answer.status_code == 422
        assert answer.json()["kind"] == "run_error"
        error = answer.json()["run_error"]
        assert error.keys() == {"message", "code", "backtrace", "agent"}
        assert error["agent"] == f"w/demo/{agent}"
        assert says in error["message"]
        assert error["code"] in (code, "limit")
        assert (await client.post(f"{DEMO}echo", json=1)).json() == 1


async def test_loading_an_agent_counts_against_its_time(
    make_server: Make, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server()
    load = server.kernel.load

    def slowly(code: Any, name: str = "") -> Any:
        time.sleep(0.8)
        return load(code, name)

    monkeypatch.setattr(server.kernel, "load", slowly)
    async with connect(server) as client:
        began = time.monotonic()
        answer = await client.post(f"{DEMO}spin", params="timeout=0.2")
        assert answer.status_code == 504 and "still being loaded" in answer.json()["message"]
        assert time.monotonic() - began < 0.8
        # It is loaded all the same, once, for whoever comes next.
        answer = await client.get(f"{DEMO}echo", params="timeout=5&a=1")
        assert answer.status_code == 200


async def test_a_timeout_is_504_and_the_server_goes_on(make_server: Make, connect: Connect) -> None:
    async with connect(make_server(limits_wall_time=0.3)) as client:
        for agent, params in (("spin", {}), ("sleep", [5000])):
            answer = await client.post(f"{DEMO}{agent}", json=params)
            assert (answer.status_code, answer.json()["kind"]) == (504, "message")
            assert "wall_time" in answer.json()["message"]
        assert (await client.post(f"{DEMO}echo", json=1)).json() == 1


async def test_the_caller_may_shorten_the_timeout_and_not_prolong_it(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{DEMO}spin", params="timeout=0.2")
    assert answer.status_code == 504
    answer = await client.get(f"{DEMO}echo", params="timeout=5&a=1")
    assert answer.json() == {"a": "1"}
    for bad in ("0", "-1", "nan", "inf", "301", "soon", "", "1e999"):
        answer = await client.post(f"{DEMO}echo", params=f"timeout={bad}")
        assert answer.status_code == 400, bad


async def test_what_an_agent_sees_of_the_request(
    make_server: Make, connect: Connect, make_package: Any, token: str
) -> None:
    package = make_package(settings={"color": "red"})
    async with connect(make_server(package=package, env={"color": "blue", "region": "eu"})) as client:
        answer = await client.post(
            f"{DEMO}env", json={"a": 1}, headers={"X-Mine": "1", "Cookie": "secret", "Accept": "*/*"}
        )
        seen = answer.json()
        assert (seen["user"], seen["workspace"], seen["app"]) == ("local", "w", "demo")
        assert seen["hostEnvironment"] == "AgentServer"
        assert (seen["color"], seen["region"]) == ("red", "eu")
        assert seen["requestHeaders"]["x-mine"] == "1"
        assert token not in answer.text
        assert not {"authorization", "cookie"} & seen["requestHeaders"].keys()


async def test_client_actions_where_preferred(client: httpx.AsyncClient) -> None:
    actions = [[{"_rmx_type": "msg_view_open_link", "url": "https://example.com/"}]]
    answer = await client.post(f"{DEMO}act", json=actions, headers={"Prefer": "actions"})
    assert answer.json() == {"result": None, "actions": actions[0]}
    assert answer.headers["preference-applied"] == "actions"
    answer = await client.post(f"{DEMO}act", json=actions)
    assert answer.json() is None


async def test_runs_do_not_wait_for_each_other(client: httpx.AsyncClient) -> None:
    slow = asyncio.create_task(client.post(f"{DEMO}sleep?timeout=2", json=[30_000]))
    await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(client.post(f"{DEMO}echo", json=n) for n in range(20)))
    assert [answer.json() for answer in answers] == list(range(20))
    assert not slow.done()
    assert (await slow).status_code == 504
