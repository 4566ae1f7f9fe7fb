"""Errors and log lines have a largest size, whatever a client sends, on every route."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mix_server.app import create_app
from mix_server.catalog import Catalog

from mixkit.cli.logs import JSONFormatter, PrettyFormatter

PLACES = {
    "ws": "w", "app": "demo", "agent": "typed", "id": "B" * 32, "name": "q", "path": "public/a.txt", "topic": "$app/x",
}  # fmt: skip
LONG = "x\u2028" * 2_500
MOST = 8_192
"""Bytes of an error or of a line of the log; the texts of all attacks are longer."""

QUERIES = (f"{LONG}=1", f"query={LONG}", f"as_of={LONG}", f"limit={LONG}", f"return={LONG}", f"force={LONG}",
           f"timeout={LONG}", f"mode={LONG}", f'ast=["{LONG}"]', f"query=n+%3D%3D+%24{'x' * 30_000}",
           "params=" + json.dumps({"x" * 30_000: 1}) + "&query=true")  # fmt: skip
BODIES: tuple[Any, ...] = (
    {"sql": LONG}, {"sql": "select 1", "params": {LONG: 1}},
    {LONG: 1}, {"name": LONG}, {"mode": LONG}, {"_rmx_id": LONG}, {"_rmx_type": LONG}, [{"_rmx_id": LONG}],
    {"query": "true", "params": {LONG: 1}}, {"ast": [LONG]}, {"records": [], "options": {LONG: 1}},
    {"query": "n == 1", "params": {LONG: LONG}}, {"query": "n == 1", "params": {"a": LONG}}, {"as_of": LONG},
)  # fmt: skip
HEADERS = (
    {"Content-Type": LONG[:1_000]}, {"Content-Type": f"multipart/form-data; boundary={'b' * 900}"},
    {"Content-Encoding": LONG}, {"Accept": LONG[:1_000]}, {"If-Match": LONG}, {"If-None-Match": LONG},
    {"Content-Range": LONG}, {"X-Request-Id": LONG}, {"Last-Event-ID": LONG}, {"Prefer": f"actions{LONG}"},
)  # fmt: skip


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """Method and template of all that is done and can be sent a body or a query string."""

    def walk(nodes: Any) -> Iterator[tuple[str, str]]:
        for node in nodes:
            for method, responder in (node.method_map or {}).items():
                if "responder" not in responder.__qualname__ and method != "HEAD":
                    yield method, node.uri_template.replace(":path}", "}")
            yield from walk(node.children)

    return walk(app._router._roots)


def attacks(method: str, template: str) -> Iterator[tuple[str, bytes | None, dict[str, str]]]:
    """Paths, bodies and headers that are too long somewhere."""
    for name in PLACES:
        # A long topic is one, too, and would be followed.
        if f"{{{name}}}" in template and name != "topic":
            yield template.format(**{**PLACES, name: LONG}), None, {}
    path = template.format(**PLACES)
    if method == "DELETE" or not template.startswith("/v1"):
        # The one would delete, and the first interface has the same resources.
        return
    for query in QUERIES:
        yield f"{path}?{query}", None, {}
    if method != "GET":
        for body in BODIES:
            yield path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    if not path.endswith("/live"):
        for headers in HEADERS:
            encoded = {name: text.encode().decode("latin-1") for name, text in headers.items()}
            yield path, b"{" + LONG.encode(), {"Content-Type": "application/json"} | encoded


async def test_no_error_and_no_log_line_is_longer_than_what_is_said(
    make_server: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mixkit")
    server = make_server(access_log=True)
    tried = refused = 0
    async with connect(server) as client:
        assert (await client.put("/v1/ws/w/app/demo/query/q", json={"query": "n == 1"})).status_code == 201
        for method, template in sorted(set(routes(create_app(server)))):
            for path, body, headers in attacks(method, template):
                raw: Any = {name: text.encode("latin-1") for name, text in headers.items()}
                answer = await client.request(method, path, content=body, headers=raw)
                tried += 1
                # SQL needs an engine, which the profile has not.
                assert answer.status_code < 500 or answer.status_code == 501, (
                    method,
                    path[-60:],
                    answer.text[:200],
                )
                if answer.status_code >= 400:
                    refused += 1
                    assert len(answer.content) <= MOST, (method, path[:80], answer.text[:200])
                for name, text in answer.headers.items():
                    assert len(text) <= 1_024, (method, path[:80], name)
    assert tried > 300 and refused > tried / 2
    lines = [record for record in caplog.records if record.name.startswith("mixkit")]
    assert len(lines) > tried / 2
    for formatter in (PrettyFormatter(), JSONFormatter()):
        assert max(len(formatter.format(record).encode()) for record in lines) <= MOST


async def test_a_fault_of_the_server_is_bounded_too(
    make_server: Any, connect: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: Any) -> Any:
        raise RuntimeError(LONG * 50)

    monkeypatch.setattr(Catalog, "target", fail)
    async with connect(make_server()) as client:
        answer: httpx.Response = await client.post("/v1/ws/w/app/demo/agent/echo")
    assert (answer.status_code, len(answer.content) <= MOST) == (500, True)
    [record] = [record for record in caplog.records if record.name == "mixkit.server"]
    for formatter in (PrettyFormatter(), JSONFormatter()):
        line = formatter.format(record)
        assert "RuntimeError" in line and len(line) <= 8 * 2 * 16_384
