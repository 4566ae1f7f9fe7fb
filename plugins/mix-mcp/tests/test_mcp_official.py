"""The client of the official SDK finds and calls tools, over stdio and over HTTP, of both revisions.

It runs in the Python that `MCP_PYTHON` names, or in this one, if that has it: `make conformance` sees to one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Site

PYTHON = os.environ.get("MCP_PYTHON") or (sys.executable if importlib.util.find_spec("mcp") else None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("mcp"),
    pytest.mark.skipif(PYTHON is None, reason="no official SDK: MCP_PYTHON names no Python that has it"),
]

TOKEN = "a-token-for-tests-0123456789"


def client(mode: str, **where: Any) -> dict[str, Any]:
    assert PYTHON is not None
    script = Path(__file__).with_name("official_client.py")
    done = subprocess.run(
        [PYTHON, str(script), mode, json.dumps(where)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any]) -> None:
    assert {"test_simple_text", "test_tool_with_progress"} <= set(found["tools"])
    assert found["simple"] == "This is a simple text response for testing."
    assert found["wrong"] is True
    assert "Ada" in found["asked"]
    assert found["progress"] == [0, 50, 100]
    assert "test_simple_prompt" in found["prompts"]
    assert found["resource"].startswith("This is")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_stdio(mode: str, ws_dir: Path) -> None:
    command = [sys.executable, "-m", "mixkit", "mcp", "-w", "conf", "--ws-dir", str(ws_dir)]
    check(client(mode, command=command))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_http(mode: str, site: Site) -> None:
    check(client(mode, url=f"{site.url}/mcp/conf", token=TOKEN))
