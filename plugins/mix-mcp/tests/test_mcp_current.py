"""What was called before is looked up no more than it must be, and is what it is now all the same."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from conftest import Site, Stdio

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

AGENT = """module which(p: data)
  _meta_ { description: "Says which it is", inParams: {}, outParams: {version: "string"} }
  cell output = { version: "VERSION" }
module end
"""


def mixkit(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "mixkit", *words], check=True, capture_output=True, timeout=120)


def install(folder: Path, version: str, agents: tuple[str, ...] = ("which",)) -> None:
    """Install an app `demo` whose agents say that version."""
    sources = folder / "sources"
    sources.mkdir(exist_ok=True)
    (sources / "which.mix").write_text(AGENT.replace("VERSION", version))
    manifest = {
        "format": 3, "name": "demo", "version": version, "kind": "app", "grants": {"ffis": []},
        "apps": {"demo": {"agents": {name: {"code": "which.mix"} for name in agents}}},
    }  # fmt: skip
    (sources / "manifest.json").write_text(json.dumps(manifest))
    mixkit("remix", "build", str(sources), "-o", f"{folder}/demo.remix")
    mixkit("remix", "install", f"{folder}/demo.remix", "--ws", "conf", "--ws-dir", f"{folder}/ws", "--yes")


def test_what_is_installed_by_others_counts_from_the_next_call_on(
    client: Callable[..., Stdio], tmp_path: Path
) -> None:
    install(tmp_path, "1.0")
    stdio = client(tmp_path / "ws")

    def said() -> Any:
        return stdio.ask("tools/call", {"name": "demo_which"})

    assert [said()["result"]["structuredContent"]["version"] for _ in range(3)] == ["1.0"] * 3
    install(tmp_path, "2.0")
    assert [said()["result"]["structuredContent"]["version"] for _ in range(3)] == ["2.0"] * 3
    mixkit("remix", "remove", "demo", "--ws", "conf", "--ws-dir", f"{tmp_path}/ws", "--yes")
    assert [said()["error"]["code"] for _ in range(2)] == [-32602] * 2
    assert stdio.close() == 0


def test_what_was_granted_and_taken_back_counts_from_the_next_call_on(
    site: Site, ws_dir: Path, call: Callable[..., httpx.Response]
) -> None:
    """Whoever else may go on: what is remembered of one caller is not another one's."""
    name = {"name": "test_simple_text"}
    where = ("--ws", "conf", "--ws-dir", str(ws_dir))
    with site.client() as operator:
        rights = [{"role": "runner", "resource": "agent/test/image_content"}]
        made = operator.post("/v1/ws/conf/tokens", json={"name": "later", "rights": rights}).json()
        machine = f"machine/{made['id']}"
        with site.client(made["token"]) as narrow:
            for granted in (False, True, False):
                if granted:
                    mixkit("perms", "grant", machine, "runner", "agent/test/simple_text", *where)
                elif ids := grants_of(machine, *where):
                    mixkit("perms", "revoke", *ids, *where)
                for _ in range(3):
                    assert "result" in call(operator, "tools/call", name).json()
                    found = call(narrow, "tools/call", name)
                    assert (found.status_code == 200 and "result" in found.json()) is granted


def test_who_listens_hears_what_is_granted_and_taken_back(site: Site, ws_dir: Path) -> None:
    version = "2026-07-28"
    about = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"_meta": about, "notifications": {"toolsListChanged": True}}
    headers = {
        "MCP-Protocol-Version": version,
        "Mcp-Method": "subscriptions/listen",
        "Accept": "application/json, text/event-stream",
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    where = ("--ws", "conf", "--ws-dir", str(ws_dir))
    with site.client() as operator:
        rights = [{"role": "runner", "resource": "agent/test/image_content"}]
        made = operator.post("/v1/ws/conf/tokens", json={"name": "listens", "rights": rights}).json()
    machine = f"machine/{made['id']}"
    with (
        site.client(made["token"]) as narrow,
        narrow.stream("POST", "/mcp/conf", json=message, headers=headers) as stream,
    ):
        told = (json.loads(line[6:])["method"] for line in stream.iter_lines() if line.startswith("data: "))
        assert next(told) == "notifications/subscriptions/acknowledged"
        mixkit("perms", "grant", machine, "runner", "agent/test/simple_text", *where)
        assert next(told) == "notifications/tools/list_changed"
        mixkit("perms", "revoke", *grants_of(machine, *where), *where)
        assert next(told) == "notifications/tools/list_changed"


def grants_of(subject: str, *where: str) -> list[str]:
    listed = subprocess.run(
        [sys.executable, "-m", "mixkit", "perms", "list", "--json", *where],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    rows = json.loads(listed.stdout)
    return [row["id"] for row in rows if row["subject"] == subject and "simple_text" in row["resource"]]
