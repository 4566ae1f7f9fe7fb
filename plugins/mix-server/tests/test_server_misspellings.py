"""Every option and key of a request that is read anywhere, misspelt: 400, with the name that was meant."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from mix_server.question import Question
from mix_server.resources.documents import Batch
from mix_server.resources.workspaces import NewWorkspace
from mix_server.stored_queries import Definition, Parameter

APP = "/v1/ws/w/app/demo"
RECORD = f"{APP}/documents/{'a' * 32}"


def fields(struct: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def misspelt(name: str) -> str:
    """The name with its first two letters in the other order."""
    return name[1] + name[0] + name[2:]


def is_told(name: str, answer: httpx.Response) -> None:
    assert answer.status_code == 400, f"{name}: {answer.status_code} {answer.text}"
    message = answer.json()["message"]
    assert misspelt(name) in message
    if len(name) > 3:
        assert f"did you mean '{name}'?" in message


@pytest.mark.parametrize(
    ("method", "path", "option"),
    [
        ("POST", f"{APP}/agent/echo", "timeout"),
        ("POST", "/run-agent/w/demo/echo", "timeout"),
        ("POST", "/v1/ws/w/install", "force"),
        ("POST", f"{APP}/save", "return"),
        ("GET", RECORD, "as_of"),
        ("GET", f"{RECORD}/history", "as_of"),
        *(("GET", f"{APP}/query", option) for option in fields(Question)),
        *(
            ("GET", f"{APP}/documents", option)
            for option in fields(Question)
            if option not in ("query", "ast", "params")
        ),
    ],
)
async def test_options_of_a_query_string(
    client: httpx.AsyncClient, method: str, path: str, option: str
) -> None:
    is_told(option, await client.request(method, path, params={misspelt(option): "1"}))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/ws"),
        ("DELETE", "/v1/ws/w"),
        ("PUT", APP),
        ("DELETE", APP),
        ("POST", f"{APP}/documents"),
        *((method, RECORD) for method in ("PUT", "PATCH", "DELETE")),
        ("POST", f"{APP}/query"),
        *((method, f"{APP}/query/q") for method in ("POST", "PUT", "DELETE")),
        ("DELETE", "/ws/w"),
        ("POST", "/query/w/demo"),
    ],
)
async def test_what_changes_something_passes_over_no_option(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path, params={"upsert": "true"})
    assert answer.status_code == 400
    assert answer.json()["message"] == "expected nothing in the query string, found 'upsert'"


@pytest.mark.parametrize(
    ("method", "path", "body", "keys"),
    [
        ("POST", "/v1/ws", {}, fields(NewWorkspace)),
        ("POST", f"{APP}/query", {"query": "true"}, fields(Question)),
        ("POST", f"{APP}/save", {"records": []}, fields(Batch)),
        ("PUT", f"{APP}/query/q", {"query": "true"}, fields(Definition)),
    ],
)
async def test_keys_of_a_body(
    client: httpx.AsyncClient, method: str, path: str, body: Any, keys: list[str]
) -> None:
    for key in keys:
        is_told(key, await client.request(method, path, json=body | {misspelt(key): 1}))


async def test_keys_of_the_parameters_of_a_stored_query(client: httpx.AsyncClient) -> None:
    for key in fields(Parameter):
        body = {"query": "n == $n", "params": {"n": {misspelt(key): "x"}}}
        is_told(key, await client.put(f"{APP}/query/q", json=body))


async def test_parameters_of_a_stored_query(client: httpx.AsyncClient) -> None:
    body = {"query": "n == $name", "params": {"name": "int"}}
    assert (await client.put(f"{APP}/query/q", json=body)).status_code == 201
    is_told("name", await client.get(f"{APP}/query/q", params={"name": 1, misspelt("name"): 1}))
    is_told("name", await client.post(f"{APP}/query/q", json={"params": {"name": 1, misspelt("name"): 1}}))
