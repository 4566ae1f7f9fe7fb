"""Conditions of requests: heeded or refused on every route, never passed over."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from mix_server.app import create_app
from mix_server.match import CONDITIONS

APP = "/v1/ws/w/app/demo"
FILES = f"{APP}/file-manager"
ID = "B" * 32
STALE = '"0000000000009999-0"'

OF = ("/v1/ws/w", APP, f"{APP}/agent/echo")
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/v1/ws", {"name": "other"}),
    ("POST", "/mcp/w", {"jsonrpc": "2.0", "id": 1, "method": "ping"}),
    ("DELETE", "/v1/ws/w", None),
    ("POST", "/v1/ws/w/install", b"no package"),
    ("PUT", "/v1/ws/w/app/new", None),
    ("DELETE", APP, None),
    ("POST", f"{APP}/agent/echo", {"a": 1}),
    ("POST", f"{APP}/documents", {"_rmx_id": ID, "n": 2}),
    ("PUT", f"{APP}/documents/{ID}", {"n": 2}),
    ("PATCH", f"{APP}/documents/{ID}", {"n": 2}),
    ("DELETE", f"{APP}/documents/{ID}", None),
    ("POST", f"{APP}/save", [{"_rmx_id": ID, "n": 2}]),
    ("POST", f"{APP}/query", {"query": "true"}),
    ("POST", f"{APP}/query/parse", {"query": "true"}),
    ("POST", f"{APP}/query/q", {}),
    ("POST", f"{APP}/sql", {"sql": "select 1"}),
    ("PUT", f"{APP}/query/q", {"query": "n == 2"}),
    ("DELETE", f"{APP}/query/q", None),
    ("PUT", f"{APP}/files/a", b"other"),
    ("PUT", f"{FILES}/content?path=/a", b"other"),
    ("POST", f"{FILES}/content?path=/b", b"no form"),
    ("DELETE", f"{FILES}/content?path=/a", None),
    ("PATCH", f"{FILES}/props?path=/a", {"properties": {"a": "b"}}),
    ("POST", f"{FILES}/copy", {"source": "/a", "target": "/b"}),
    ("POST", f"{FILES}/register", {"path": "/b", "url": "https://192.0.2.1/"}),
    ("POST", f"{FILES}/uploads", None),
    ("PATCH", f"{FILES}/uploads/{ID}", b"x"),
    ("DELETE", f"{FILES}/uploads/{ID}", None),
    ("POST", f"{FILES}/sign", {"path": "/b", "seconds": 60}),
    *(("POST", f"{of}/permissions", {"subject": "all-users", "role": "runner"}) for of in OF),
    *(("DELETE", f"{of}/permissions/{ID}", None) for of in OF),
    ("POST", "/grant-permission/w", {"subject": "all-users", "role": "runner"}),
    ("POST", "/v1/ws/w/tokens", {"name": "ci", "rights": [{"role": "runner"}]}),
    ("DELETE", f"/v1/ws/w/tokens/{ID}", None),
    ("PUT", "/v1/ws/w/auth-configs/q", {"kind": "oidc", "client_id": "x"}),
    ("DELETE", "/v1/ws/w/auth-configs/q", None),
    ("DELETE", "/v1/ws/w/accounts/q", None),
    ("POST", "/v1/signals", {"ws": "w"}),
    ("POST", f"/v1/signals/{ID}", 1),
    ("DELETE", f"/v1/signals/{ID}", None),
    ("POST", "/v1/auth/token", None),
    ("POST", "/v1/auth/spcs", None),
    ("POST", "/v1/compile", {"sources": {"a.mix": ""}}),
    ("POST", "/v1/auth/session", None),
    ("DELETE", "/v1/auth/session", None),
    ("POST", "/ws", {"name": "other"}),
    ("POST", "/ws/", {"name": "other"}),
    ("DELETE", "/ws/w", None),
    ("DELETE", "/ws/w/demo", None),
    ("POST", "/run-agent/w/demo/echo", {"a": 1}),
    ("POST", "/install-remix-file/w", b"no package"),
    ("POST", "/query/w/demo", {"query": "true"}),
    *(("POST", f"{of}/export", {"url": "https://example.org/"}) for of in OF[:2]),
    *(("POST", path, b"no export") for path in ("/v1/ws/w/import", "/v1/ws-import", "/ws-import")),
    ("POST", "/ws-clone/q", None),
    *(("POST", path, {"query": "true"}) for path in (f"{APP}/remixgen", "/remixgen/w/demo")),
    ("POST", "/v1/ws/w/powers/q", {"all": True}),
    ("DELETE", "/query/w/demo/q", None),
    ("POST", "/count-activities/w", {}),
]


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client of a server with one record, one stored query and one file."""
    assert (await client.put(f"{APP}/documents/{ID}", json={"n": 1})).status_code == 201
    assert (await client.put(f"{APP}/query/q", json={"query": "n == 1"})).status_code == 201
    assert (await client.put(f"{APP}/files/a", content=b"a")).status_code == 201
    return client


async def state(client: httpx.AsyncClient) -> list[Any]:
    paths = ("/v1/ws", "/v1/ws/w", APP, f"{APP}/documents", f"{APP}/query/q", FILES)
    return [(await client.get(path)).json() for path in paths]


def send(client: httpx.AsyncClient, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
    if isinstance(body, bytes):
        return client.request(method, path, content=body, headers=headers)
    return client.request(method, path, json=body, headers=headers)


NEW_APP = ("PUT", "/v1/ws/{ws}/app/{app}")


def test_the_list_of_writes_is_whole(make_server: Any) -> None:
    app = create_app(make_server())
    routes = [
        (method, route.uri_template) for route in _routes(app._router._roots) for method in _writes(route)
    ]
    known = {(method, path.partition("?")[0]) for method, path, _ in WRITES}
    filled_in = {
        (method, template.replace(":path}", "}").format(
            ws="w", app="new" if (method, template) == NEW_APP else "demo", agent="echo", id=ID, name="q", path="a"))
        for method, template in routes
    }  # fmt: skip
    assert filled_in == known


def _routes(nodes: Any) -> Any:
    for node in nodes:
        if node.method_map:
            yield node
        yield from _routes(node.children)


def _writes(route: Any) -> list[str]:
    own = (method for method in ("POST", "PUT", "PATCH", "DELETE") if method in route.method_map)
    return [method for method in own if "responder" not in route.method_map[method].__qualname__]


@pytest.mark.parametrize("name", CONDITIONS)
async def test_a_write_whose_condition_does_not_hold_changes_nothing(
    filled: httpx.AsyncClient, name: str
) -> None:
    before = await state(filled)
    value = {"If-Match": STALE, "If-None-Match": "*", "If-Unmodified-Since": "Fri, 01 Jan 2021 00:00:00 GMT"}[
        name
    ]
    for method, path, body in WRITES:
        answer = await send(filled, method, path, body, {name: value})
        assert answer.status_code == 412, (method, path)
        assert name in answer.json()["message"]
    assert await state(filled) == before


@pytest.mark.parametrize("value", ["x", "", '"x', '"x" "y"', "*, *", '*, "x"'])
@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
async def test_what_is_no_condition_is_refused(filled: httpx.AsyncClient, name: str, value: str) -> None:
    before = await state(filled)
    for method, path, body in WRITES:
        answer = await send(filled, method, path, body, {name: value})
        assert answer.status_code == 412, (method, path)
        assert name in answer.json()["message"]
    assert await state(filled) == before


async def test_a_stored_query_has_an_etag_that_conditions_heed(filled: httpx.AsyncClient) -> None:
    path = f"{APP}/query/q"
    old = (await filled.get(path)).headers["ETag"]
    assert (await filled.get(path, headers={"If-None-Match": old})).status_code == 304
    changed = await filled.put(path, json={"query": "n == 2"}, headers={"If-Match": old})
    assert changed.status_code == 200
    new = changed.headers["ETag"]
    assert new == (await filled.get(path)).headers["ETag"] != old
    assert (await filled.put(path, json={"query": "n == 3"}, headers={"If-Match": old})).status_code == 412
    assert (await filled.delete(path, headers={"If-Match": old})).status_code == 412
    assert (await filled.get(path)).json()["query"] == "n == 2"
    assert (await filled.delete(path, headers={"If-Match": new})).status_code == 204
    assert (await filled.put(path, json={"query": "n == 3"}, headers={"If-Match": "*"})).status_code == 412
    absent = {"If-None-Match": "*"}
    assert (await filled.put(f"{path}2", json={"query": "n == 4"}, headers=absent)).status_code == 201
    assert (await filled.put(f"{path}2", json={"query": "n == 5"}, headers=absent)).status_code == 412


async def test_a_reader_may_say_which_version_it_wants(filled: httpx.AsyncClient) -> None:
    for path in (f"{APP}/documents/{ID}", f"{APP}/query/q"):
        etag = (await filled.get(path)).headers["ETag"]
        assert (await filled.get(path, headers={"If-Match": etag})).status_code == 200
        assert (await filled.get(path, headers={"If-Match": STALE})).status_code == 412
