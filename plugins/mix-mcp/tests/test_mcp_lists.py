"""Lists of tools that are not made by rule: a workspace's own, and the two that stand for all."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from mix_mcp.constant import called
from mix_mcp.message import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from conftest import Site, Stdio

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

LISTER = """module list_mcp_tools(p: data)
  _meta_ { description: "Lists", inParams: {}, outParams: "data" }
  cell output = [
    { name: "say", agent: "demo/echo", title: "Say it", description: "Says what it is told" },
    { name: "gone", agent: "demo/gone" },
    { name: "not a name", agent: "demo/echo" },
    { agent: "demo/echo" },
    1
  ]
module end
"""
ECHO = """module echo(p: data)
  _meta_ { description: "Says it again", inParams: {text: "string"}, outParams: {text: "string"} }
  var cell m_p = p
  cell output = { text: m_p.text }
module end
"""


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workspaces, in one of which an agent lists the tools."""
    folder = tmp_path_factory.mktemp("desktop")
    sources = folder / "sources"
    sources.mkdir()
    (sources / "list.mix").write_text(LISTER)
    (sources / "echo.mix").write_text(ECHO)
    manifest = {
        "format": 3, "name": "desktop", "version": "1.0", "kind": "workspace", "grants": {"ffis": []},
        "apps": {
            "_rmx_desktop": {"agents": {"list_mcp_tools": {"code": "list.mix"}}},
            "demo": {"agents": {"echo": {"code": "echo.mix"}}},
        },
    }  # fmt: skip
    (sources / "manifest.json").write_text(json.dumps(manifest))
    package, where = str(folder / "desktop.remix"), folder / "ws"
    for words in (
        ["build", str(sources), "-o", package],
        ["install", package, "--ws", "conf", "--ws-dir", str(where), "--yes"],
    ):
        subprocess.run([sys.executable, "-m", "mixkit", "remix", *words], check=True, capture_output=True)
    return where


def test_what_the_workspace_lists_itself_wins(client: Callable[..., Stdio], desktop: Path) -> None:
    stdio = client(desktop)
    (tool,) = stdio.ask("tools/list")["result"]["tools"]
    assert (tool["name"], tool["title"], tool["description"]) == ("say", "Say it", "Says what it is told")
    assert tool["inputSchema"]["required"] == ["text"]
    said = stdio.ask("tools/call", {"name": "say", "arguments": {"text": "x"}})["result"]
    assert said["structuredContent"] == {"text": "x"}
    assert (
        stdio.ask("tools/call", {"name": "demo_echo", "arguments": {"text": "x"}})["error"]["code"] == -32602
    )
    assert stdio.close() == 0


def test_two_tools_stand_for_all(client: Callable[..., Stdio], ws_dir: Path) -> None:
    stdio = client(ws_dir, "--constant")
    names = [tool["name"] for tool in stdio.ask("tools/list")["result"]["tools"]]
    assert names == ["call_tool", "find_tools"]

    def call(name: str, /, **arguments: Any) -> dict[str, Any]:
        return stdio.ask("tools/call", {"name": name, "arguments": arguments})

    found = json.loads(call("find_tools", query="simple TEXT")["result"]["content"][0]["text"])["tools"]
    assert [tool["name"] for tool in found] == ["test_simple_text"]
    assert found[0]["inputSchema"]["type"] == "object"
    everything = json.loads(call("find_tools")["result"]["content"][0]["text"])["tools"]
    assert len(everything) > 10
    done = call("call_tool", name="test_simple_text", arguments={})["result"]
    assert done["content"][0]["text"] == "This is a simple text response for testing."
    for fault in (
        call("test_simple_text"),
        call("call_tool", name="no_such", arguments={}),
        call("call_tool", name="call_tool", arguments={"name": "test_simple_text"}),
        call("call_tool", arguments={}),
    ):
        assert fault["error"]["code"] == -32602
    assert call("find_tools", query=1)["result"]["isError"]
    assert stdio.close() == 0


def test_two_tools_stand_for_all_over_http(site: Site, call: Callable[..., httpx.Response]) -> None:
    with site.client() as client:
        listed = call(client, "tools/list", query="?tools=constant").json()["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["call_tool", "find_tools"]
        assert len(call(client, "tools/list").json()["result"]["tools"]) > 10
        assert call(client, "tools/list", query="?tools=other").status_code == 400


@pytest.mark.parametrize(
    "arguments", [{}, {"name": 1}, {"name": "x", "arguments": 1}, {"name": "x", "more": 1}]
)
def test_what_names_no_tool_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        called(arguments)
