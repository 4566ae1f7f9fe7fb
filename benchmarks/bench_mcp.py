"""Calls of a tool that says its argument again, over standard input and output: one after the other, and many at once.

Beside it a loop that reads lines and writes them again, which no server can be faster than, and, where the official SDK
is installed in another environment (`MCP_PYTHON=/path/to/python`), its server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CALLS = 5_000
AGENT = """module echo(p: data)
  _meta_ { description: "Says it again", inParams: {text: "string"}, outParams: {text: "string"} }
  var cell m_p = p
  cell output = { text: m_p.text }
module end
"""
MANIFEST = {
    "format": 3, "name": "echo", "version": "1.0", "kind": "app",
    "apps": {"demo": {"agents": {"echo": {"code": "echo.mix"}}}}, "grants": {"ffis": []},
}  # fmt: skip
LOOP = (
    "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line); sys.stdout.buffer.flush()"
)
OFFICIAL = """
from mcp.server import MCPServer
server = MCPServer("echo")
@server.tool(name="demo_echo")
def echo(text: str) -> dict[str, str]:
    return {"text": text}
server.run("stdio")
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def line(number: int) -> bytes:
    params = {"name": "demo_echo", "arguments": {"text": "hello"}, "_meta": META}
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    return json.dumps(message).encode() + b"\n"


def measure(name: str, command: list[str]) -> None:
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        out, into = process.stdin, process.stdout
        out.write(line(0))
        out.flush()
        if not into.readline():
            print(f"{name:10} did not answer")
            return
        first = time.perf_counter() - began
        began = time.perf_counter()
        for number in range(1, CALLS + 1):
            out.write(line(number))
            out.flush()
            into.readline()
        alone = CALLS / (time.perf_counter() - began)

        def write() -> None:
            for number in range(CALLS + 1, 2 * CALLS + 1):
                out.write(line(number))
            out.flush()

        writer = threading.Thread(target=write)
        began = time.perf_counter()
        writer.start()
        for _ in range(CALLS):
            into.readline()
        together = CALLS / (time.perf_counter() - began)
        writer.join()
        out.close()
        process.wait(30)
    print(
        f"{name:10} first answer {first * 1000:6.0f} ms   one by one {alone:7.0f}/s   at once {together:7.0f}/s"
    )


def main() -> None:
    mixkit = [sys.executable, "-m", "mixkit"]
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources"
        sources.mkdir()
        (sources / "echo.mix").write_text(AGENT)
        (sources / "manifest.json").write_text(json.dumps(MANIFEST))
        where, package = ["--ws-dir", f"{folder}/ws"], f"{folder}/echo.remix"
        quiet = {"check": True, "capture_output": True}
        subprocess.run([*mixkit, "remix", "build", str(sources), "-o", package], **quiet)
        subprocess.run([*mixkit, "remix", "install", package, "--ws", "w", *where, "--yes"], **quiet)
        measure("loop", [sys.executable, "-c", LOOP])
        measure("mixkit", [*mixkit, "mcp", "-w", "w", *where])
    if python := os.environ.get("MCP_PYTHON"):
        measure("official", [python, "-c", OFFICIAL])


if __name__ == "__main__":
    main()
