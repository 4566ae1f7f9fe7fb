"""`mixkit mcp install`: a client's configuration gains a server, and keeps all else."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mix_mcp import config

from mixkit.errors import MixError

Run = Callable[..., subprocess.CompletedProcess[str]]
OTHER = {"command": "other", "args": ["x"]}
OURS = {"command": "python", "args": ["-P", "-m", "mixkit", "-p", "all", "mcp", "--ws", "w"]}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `mixkit mcp` with the configuration in `tmp_path`."""

    def run(*words: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "mixkit", "mcp", *words],
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)},
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stderr
        return done

    return run


@pytest.mark.slow
@pytest.mark.xdist_group("mcp")
@pytest.mark.skipif(sys.platform != "linux", reason="the folder is that of Linux")
@pytest.mark.parametrize("way", ["local", "in-process"])
def test_what_is_installed_is_what_the_client_starts(
    run: Run, tmp_path: Path, ws_dir: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    path = tmp_path / "Claude" / "claude_desktop_config.json"
    path.parent.mkdir()
    before = {"theme": "dörk", "mcpServers": {"other": OTHER}}
    path.write_text(json.dumps(before))
    with tempfile.TemporaryDirectory(prefix="mix") as state, socket.socket() as free:
        monkeypatch.setenv("XDG_STATE_HOME", state)
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        where = ["-w", "conf", "--ws-dir", str(ws_dir)]
        # One that is not there is no tool of anybody's.
        assert "conf" in run("install", "-w", "cnof", "--ws-dir", str(ws_dir), fails=True).stderr
        where += ["--in-process"] if way == "in-process" else ["--port", port]
        planned = json.loads(run("install", *where, "--dry-run").stdout)
        assert json.loads(path.read_text()) == before
        run("install", *where)
        installed = json.loads(path.read_text())
        assert installed == planned and stat.S_IMODE(path.stat().st_mode) == 0o600
        server = installed["mcpServers"].pop("remix-app")
        assert installed == before
        # As the client does, from anywhere.
        params = {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        }
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
        try:
            done = subprocess.run(
                [server["command"], *server["args"]],
                input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True, cwd="/",
            )  # fmt: skip
            tools = json.loads(done.stdout)["result"]["tools"]
            assert "test_simple_text" in [tool["name"] for tool in tools]
            left = json.loads(run("status", "--port", port, "--json", fails=way == "in-process").stdout)
            assert left["running"] == (way == "local")
        finally:
            run("stop", "--port", port)
        # Once more is no change; gone is gone.
        run("install", *where)
        assert json.loads(path.read_text()) == planned
        run("uninstall")
        assert json.loads(path.read_text()) == before
        assert "remix-app" in run("uninstall", fails=True).stderr


@pytest.mark.slow
def test_a_server_and_its_token(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "there.json"
    server = (
        "-w",
        "w",
        "--server",
        "https://agents.example",
        "--token",
        "secret-token",
        "--config",
        str(path),
    )
    run("install", *server, "--name", "agents")
    assert json.loads(path.read_text())["mcpServers"]["agents"] == {
        "command": sys.executable,
        "args": [
            "-P",
            "-m",
            "mixkit",
            "-p",
            "agent_server",
            "mcp",
            "--ws",
            "w",
            "--server",
            "https://agents.example",
        ],
        "env": {"MIXKIT_SERVER_TOKEN": "secret-token"},
    }
    for name in ("..", "", "a/b"):
        assert (
            "workspace names have" in run("install", "-w", name, "--ws-dir", str(tmp_path), fails=True).stderr
        )
    # What was there of the same name is told, and another place is named with the file.
    assert "it was" not in run("install", *server, "--name", "agents").stderr
    told = run("install", *server[:3], "https://other.example", *server[4:], "--name", "agents").stderr
    assert "it was `mixkit mcp --ws w --server https://agents.example`" in told and "secret-token" not in told
    assert str(path) in run("uninstall", "--config", str(path), fails=True).stderr
    path.write_text("{ // mine\n}")
    assert "nothing was changed" in run("install", *server, fails=True).stderr
    assert path.read_text() == "{ // mine\n}"
    assert "--ws" in run(fails=True).stderr


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "1",
        "{",
        '{"mcpServers": []}',
        '{"mcpServers": null}',
        '{"a": 1, "a": 2}',
        "\ufeff{}",
        "{'a': 1}",
    ],
)
def test_what_is_no_configuration_is_not_touched(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MixError, match="nothing was changed"):
        config.read(path)
    assert path.read_text(encoding="utf-8") == text


def test_names_of_others_are_left_to_them() -> None:
    found: dict[str, Any] = {"mcpServers": {"taken": OTHER, "ours": OURS}}
    with pytest.raises(MixError, match="--name"):
        config.with_server(found, "taken", OURS)
    with pytest.raises(MixError, match="by hand"):
        config.without_server(found, "taken")
    with pytest.raises(MixError, match="mixkit has installed 'ours'; did you mean 'ours'"):
        config.without_server(found, "our")
    assert config.with_server({}, "a", OURS) == {"mcpServers": {"a": OURS}}
    assert config.without_server(found, "ours") == {"mcpServers": {"taken": OTHER}}


def test_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "real.json", tmp_path / "link.json"
    path.write_text("")
    link.symlink_to(path)
    config.write(link, config.with_server(config.read(link), "a", OURS))
    assert link.is_symlink() and config.read(path) == {"mcpServers": {"a": OURS}}


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/Claude"),
        ("linux", {}, "~/.config/Claude"),
        ("darwin", {}, "~/Library/Application Support/Claude"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/Claude"),
    ],
)
def test_where_the_configuration_is(platform: str, environ: dict[str, str], expected: str) -> None:
    found = config.default_path(platform, environ)
    assert found == Path(expected).expanduser() / "claude_desktop_config.json"


def test_where_nothing_says_where_it_is() -> None:
    with pytest.raises(MixError, match="--config"):
        config.default_path("win32", {})
