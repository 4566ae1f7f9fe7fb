"""`/mcp/{ws}` of a real server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import Site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

Call = Callable[..., httpx.Response]

PATH = "/mcp/conf"


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def test_tools(site: Site, call: Call) -> None:
    with site.client() as client:
        tools = call(client, "tools/list").json()["result"]["tools"]
        assert "test_simple_text" in [tool["name"] for tool in tools]
        found = call(client, "tools/call", {"name": "test_simple_text"})
        assert found.status_code == 200 and found.headers["Content-Type"] == "application/json"
        told = events(call(client, "tools/call", {"name": "test_tool_with_progress"}, progressToken=7))
        assert [each["method"] for each in told[:-1]] == ["notifications/progress"] * 3
        assert "result" in told[-1]


def test_what_headers_and_body_say_is_the_same(site: Site, call: Call) -> None:
    name = {"name": "test_simple_text"}
    with site.client() as client:
        for headers in (
            {"Mcp-Method": "tools/list"},
            {"Mcp-Method": "Tools/Call"},
            {"Mcp-Name": "other"},
            {"MCP-Protocol-Version": "2025-11-25"},
            {"Mcp-Name": "=?base64?!?="},
        ):
            found = call(client, "tools/call", name, headers)
            assert (found.status_code, found.json()["error"]["code"]) == (400, -32020), headers
        encoded = {"Mcp-Name": "=?base64?dGVzdF9zaW1wbGVfdGV4dA==?="}
        assert call(client, "tools/call", name, encoded).status_code == 200
        old = call(client, "tools/list", headers={"MCP-Protocol-Version": "1900-01-01"})
        assert old.json()["error"]["code"] == -32020
        assert call(client, "no/such").status_code == 404
        assert client.get(PATH).status_code == 405
        assert (
            client.post(PATH, content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
        )


def test_who_asks(site: Site, call: Call) -> None:
    with site.client() as operator, site.client(None) as stranger:
        assert call(stranger, "tools/list").status_code == 401
        made = operator.post(
            "/v1/ws/conf/tokens",
            json={"name": "m", "rights": [{"role": "runner", "resource": "agent/test/simple_text"}]},
        )
        assert made.status_code in (200, 201), made.text
        with site.client(made.json()["token"]) as narrow:
            tools = [tool["name"] for tool in call(narrow, "tools/list").json()["result"]["tools"]]
            assert tools == ["test_simple_text"]
            assert "result" in call(narrow, "tools/call", {"name": "test_simple_text"}).json()
            hidden = call(narrow, "tools/call", {"name": "test_image_content"}).json()["error"]
            missing = call(narrow, "tools/call", {"name": "test_image_conten_"}).json()["error"]
            assert hidden["code"] == missing["code"] == -32602
            assert call(narrow, "resources/list").json()["result"]["resources"] == []
            assert (
                call(narrow, "resources/read", {"uri": "test://static-text"}).json()["error"]["code"]
                == -32602
            )
        operator.delete(f"/v1/ws/conf/tokens/{made.json()['id']}")
        with site.client(made.json()["token"]) as gone:
            assert call(gone, "tools/call", {"name": "test_simple_text"}).status_code == 401


def test_what_comes_at_once_is_no_stream(site: Site, call: Call) -> None:
    with site.client() as client:
        # The status of an error is that of the answer, whatever the client would have been told before it.
        for params, status, code in (
            ({"name": "no_such"}, 400, -32602),
            ({"name": "test_missing_capability"}, 400, -32021),
            ({"name": "test_mirrored", "arguments": {"region": "eu"}}, 400, -32020),
        ):
            refused = call(client, "tools/call", params, progressToken=1)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)


def test_arguments_stand_in_headers_too(site: Site, call: Call) -> None:
    def of(client: httpx.Client, arguments: dict[str, Any], **headers: str) -> httpx.Response:
        named = {f"Mcp-Param-{name}": text for name, text in headers.items()}
        return call(client, "tools/call", {"name": "test_mirrored", "arguments": arguments}, named)

    with site.client() as client:
        listed = call(client, "tools/list").json()["result"]["tools"]
        (schema,) = (tool["inputSchema"] for tool in listed if tool["name"] == "test_mirrored")
        marks = {key: about["x-mcp-header"] for key, about in schema["properties"].items()}
        assert marks == {"region": "Region", "size": "Size", "dry": "Dry"}
        for arguments, headers in (
            ({"region": "eu"}, {"region": "eu"}),
            ({"region": " é"}, {"Region": "=?base64?IMOp?="}),
            ({"region": "eu", "size": 42, "dry": True}, {"Region": "eu", "Size": "42.0", "Dry": "true"}),
        ):
            done = of(client, arguments, **headers)
            assert done.json()["result"]["content"][0]["text"] == arguments["region"], done.text
        for arguments, headers in (
            ({"region": "eu"}, {}),
            ({"region": "eu"}, {"Region": "us"}),
            ({"region": "eu"}, {"Region": "EU"}),
            ({"region": "eu"}, {"Region": "=?base64?ZX?="}),
            ({"region": "eu"}, {"Region": "eu", "Size": "1"}),
            ({"region": "eu", "size": 42}, {"Region": "eu", "Size": "4_2"}),
            ({"region": "eu", "dry": True}, {"Region": "eu", "Dry": "1"}),
        ):
            refused = of(client, arguments, **headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32020), headers


def test_pages_of_other_sites_ask_nothing(site: Site, call: Call) -> None:
    name = {"name": "test_simple_text"}
    with site.client() as client:
        for origin in ("https://elsewhere.example", "null", f"{site.url}0"):
            # Whatever they send with it.
            assert call(client, "tools/call", name, {"Origin": origin}).status_code == 403
        assert call(client, "tools/call", name, {"Origin": site.url}).status_code == 200


def test_a_state_is_good_for_who_was_asked(site: Site, call: Call) -> None:
    tool = "test_input_required_result_elicitation"
    form = {"elicitation": {}}
    with site.client() as operator:
        state = call(operator, "tools/call", {"name": tool}, capabilities=form).json()["result"][
            "requestState"
        ]
        made = operator.post(
            "/v1/ws/conf/tokens", json={"name": "n", "rights": [{"role": "runner", "resource": "workspace"}]}
        ).json()
        with site.client(made["token"]) as other:
            found = call(other, "tools/call", {"name": tool, "requestState": state}, capabilities=form)
            assert found.json()["error"]["code"] == -32602


def test_runs_are_noted(site: Site, call: Call) -> None:
    with site.client() as client:
        call(client, "tools/call", {"name": "test_simple_text"})
        noted = client.get("/v1/ws/conf/activities", params={"kind": "run"}).json()["activities"]
        assert noted[0]["agent"] == "simple_text" and noted[0]["about"] == {"via": "mcp"}


def test_what_changes_is_told(site: Site) -> None:
    version = "2026-07-28"
    params = {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
        "notifications": {"toolsListChanged": True, "promptsListChanged": True},
    }
    headers = {
        "MCP-Protocol-Version": version,
        "Mcp-Method": "subscriptions/listen",
        "Accept": "application/json, text/event-stream",
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    with site.client() as client, client.stream("POST", PATH, json=message, headers=headers) as stream:
        told = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
        first = next(told)
        assert first["method"] == "notifications/subscriptions/acknowledged"
        assert first["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1}
        record = {"_rmx_type": "mcp_prompt", "name": "more", "messages": []}
        assert client.post("/v1/ws/conf/app/test/documents", json=record).status_code == 201
        assert next(told)["method"] == "notifications/prompts/list_changed"
        # The package without one of its agents has another list.
        site.install(without="audio_content")
        second = next(told)
        assert second["method"] == "notifications/tools/list_changed"
        assert second["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1}


def test_what_comes_and_goes_leaves_nothing(site: Site) -> None:
    version = "2026-07-28"
    about = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": 1,
    }

    def one(client: httpx.Client, name: str) -> None:
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "_meta": about},
        }
        headers = {
            "MCP-Protocol-Version": version,
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
            "Accept": "application/json, text/event-stream",
            "Connection": "close",
        }
        with client.stream("POST", PATH, json=message, headers=headers) as found:
            # It has begun, and is left before it has ended.
            assert found.status_code == 200

    def round_of(count: int) -> None:
        with site.client() as client:
            for _ in range(count):
                one(client, "test_simple_text")
                one(client, "test_tool_with_progress")

    round_of(40)
    before = _resident(site.process.pid)
    round_of(120)
    assert _resident(site.process.pid) - before < 6 * 2**20


def _resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
