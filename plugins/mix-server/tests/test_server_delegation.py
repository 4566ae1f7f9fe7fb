"""Agents that call each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
from mix_server.server import Server

DELEGATE = "/v1/ws/w/app/demo/agent/delegate"
Make = Callable[..., Server]
Connect = Callable[[Server], AbstractAsyncContextManager[httpx.AsyncClient]]


def ok(value: Any) -> dict[str, Any]:
    return {"_rmx_type": "{tag}case:ok", "_rmx_value": value}


def error(answer: httpx.Response) -> str:
    """The message of the result `error(message)`."""
    assert answer.status_code == 200
    assert answer.json()["_rmx_type"] == "{tag}case:error"
    text: str = answer.json()["_rmx_value"]
    return text


async def test_an_agent_calls_another_of_its_app(client: httpx.AsyncClient) -> None:
    answer = await client.post(DELEGATE, json=["echo", {"a": 1}])
    assert answer.json() == ok({"a": 1})
    seen = (await client.post(DELEGATE, json=["env", {}])).json()["_rmx_value"]
    assert seen["app"] == "demo" and "requestHeaders" not in seen


async def test_a_failure_of_the_other_is_a_result(client: httpx.AsyncClient) -> None:
    assert error(await client.post(DELEGATE, json=["panic", {}])) == "it is broken"


async def test_what_the_other_takes_is_checked(client: httpx.AsyncClient) -> None:
    assert (await client.post(DELEGATE, json=["typed", {"n": 1}])).json() == ok({"n": 1})
    said = error(await client.post(DELEGATE, json=["typed", {"n": 1, "flags": True}]))
    assert said.endswith("found key 'flags'; did you mean 'flag'?")


async def test_there_are_no_others_than_those_of_the_app(client: httpx.AsyncClient) -> None:
    for name in ("nobody", "../demo/echo", "other/echo", ""):
        assert name in error(await client.post(DELEGATE, json=[name, {}]))


async def test_only_so_many_may_be_inside_each_other(client: httpx.AsyncClient) -> None:
    params: Any = ["echo", 1]
    for _ in range(40):
        params = ["delegate", params]
    answer = await client.post(DELEGATE, json=params)
    assert answer.status_code == 200
    assert "limit depth of 16 calls exceeded" in answer.text


async def test_a_loop_in_the_other_ends_at_the_deadline_of_the_first(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{DELEGATE}?timeout=0.3", json=["spin", {}])
    assert answer.status_code == 504
    assert (await client.post(DELEGATE, json=["echo", 2])).json() == ok(2)


async def test_many_delegations_at_once_do_not_wait_for_each_other(
    make_server: Make, connect: Connect
) -> None:
    async with connect(make_server()) as client:
        nested = ["delegate", ["delegate", ["sleep", [20]]]]
        answers = await asyncio.gather(*(client.post(DELEGATE, json=nested) for _ in range(40)))
        assert {answer.status_code for answer in answers} == {200}
