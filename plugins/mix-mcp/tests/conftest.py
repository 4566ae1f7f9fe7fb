"""A workspace with the agents that the conformance suite calls, and clients of a server that has it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

VERSION = "2026-07-28"
TOKEN = "a-token-for-tests-0123456789"
WORKSPACE = "conf"
PATH = f"/mcp/{WORKSPACE}"


def meta(capabilities: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What each request of a client of today says of it."""
    return {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
        **more,
    }


def mixkit(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command that has ended."""
    return subprocess.run(
        [sys.executable, "-m", "mixkit", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        **options,
    )


def _beside(name: str) -> Any:
    """A module of this folder: tests are imported one by one, and see none of the others."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the suite's agents."""
    folder = tmp_path_factory.mktemp("mcp")
    sources = folder / "sources"
    sources.mkdir()
    _beside("mcp_fixture").write_package(sources)
    mixkit("remix", "build", str(sources), "-o", str(folder / "conf.remix"))
    return folder / "conf.remix"


@pytest.fixture(scope="session")
def ws_dir(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workspaces with the package in one."""
    folder = tmp_path_factory.mktemp("workspaces")
    mixkit("remix", "install", str(package), "--ws", WORKSPACE, "--ws-dir", str(folder), "--yes")
    return folder


@dataclass
class Site:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str] = field(default_factory=list)
    sources: Path = Path()

    def install(self, *, without: str) -> None:
        """Install the package anew, without one of its agents."""
        manifest = self.sources / "manifest.json"
        whole = manifest.read_text()
        changed = json.loads(whole)
        del changed["apps"]["test"]["agents"][without]
        manifest.write_text(json.dumps(changed | {"version": "1.1"}))
        try:
            mixkit("remix", "build", str(self.sources), "-o", str(self.sources.parent / "changed.remix"))
        finally:
            manifest.write_text(whole)
        with self.client() as client:
            data = (self.sources.parent / "changed.remix").read_bytes()
            found = client.post(
                f"/v1/ws/{WORKSPACE}/install",
                content=data,
                headers={"Content-Type": "application/octet-stream"},
            )
            assert found.status_code in (200, 201), found.text

    def client(self, token: str | None = TOKEN) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)


@pytest.fixture(scope="session")
def site(ws_dir: Path, package: Path) -> Iterator[Site]:
    """That serves the workspaces."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mixkit", "serve", "--port", "0", "--ws-dir", str(ws_dir)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MIXKIT_SERVER_TOKEN": TOKEN},
    )
    assert process.stderr is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    try:
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"listening on (http://\S+)", line):
                break
        else:
            raise AssertionError("".join(lines))
        reader.start()
        yield Site(process, found[1], lines, package.parent / "sources")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        reader.join(30)
        process.stderr.close()


class Stdio:
    """A client of `mixkit mcp` over pipes."""

    def __init__(self, ws_dir: Path | None, *arguments: str) -> None:
        where = [] if ws_dir is None else ["--ws-dir", str(ws_dir)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mixkit", "mcp", "--ws", WORKSPACE, *where, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._id = 0

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.process.stderr.read() if self.process.stderr else b"").decode()
        found: dict[str, Any] = json.loads(line)
        assert found["jsonrpc"] == "2.0"
        return found

    def send(
        self, method: str, params: dict[str, Any] | None = None, *, modern: bool = True, **about: Any
    ) -> int:
        self._id += 1
        params = {**(params or {}), **({"_meta": meta(**about)} if modern else {})}
        self.write(
            json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}).encode()
        )
        return self._id

    def ask(self, method: str, params: dict[str, Any] | None = None, **about: Any) -> dict[str, Any]:
        """The answer to a request; what is told before it is passed over."""
        id = self.send(method, params, **about)
        while (found := self.read()).get("id") != id:
            pass
        return found

    def close(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(30)


@pytest.fixture
def client() -> Iterator[Callable[..., Stdio]]:
    """Starts clients, of workspaces in a folder, with options."""
    with contextlib.ExitStack() as stack:

        def start(ws_dir: Path | None, *arguments: str) -> Stdio:
            found = Stdio(ws_dir, *arguments)
            # Its end closes the pipes.
            stack.enter_context(found.process)
            stack.callback(lambda: found.process.poll() is None and found.process.kill())
            return found

        yield start


@pytest.fixture
def stdio(client: Callable[..., Stdio], ws_dir: Path) -> Stdio:
    return client(ws_dir)


@pytest.fixture
def call() -> Callable[..., httpx.Response]:
    """Sends a request as a client of today does over HTTP, and answers what comes."""

    def send(
        client: httpx.Client,
        method: str,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        query: str = "",
        **about: Any,
    ) -> httpx.Response:
        params = {**(params or {}), "_meta": meta(**about)}
        sent = {
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": method,
            "Accept": "application/json, text/event-stream",
        }
        if "name" in params or "uri" in params:
            sent["Mcp-Name"] = str(params.get("name", params.get("uri")))
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return client.post(PATH + query, json=message, headers=sent | (headers or {}))

    return send
