"""`mixkit new app`: what it makes runs, passes its tests, is in the style. `mixkit dev`: it is served, anew with each
change."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from mix_dev.made.watch import Watch
from mix_dev.made.ways import open_page

from mixkit.cli import main

MIXKIT = str(Path(sys.executable).with_name("mixkit"))


@pytest.mark.parametrize("lang", ["mix", "c"])
@pytest.mark.parametrize("name", ["a", "greeter", "my_" + "long_" * 7 + "ab"])
def test_an_app_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, lang: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert main(["new", "app", name, "--lang", lang]) == 0
    files = {Path(line).name for line in capfd.readouterr().out.splitlines()}
    common = {f"{name}_test.mix", "manifest.json", "mixkit.toml", "README.md", ".gitignore"}
    assert files == {f"{name}.{lang}", *common} == {path.name for path in Path(name).iterdir()}
    monkeypatch.chdir(name)
    assert main(["fmt", "--check", "."]) == 0
    assert main(["test", "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)["tests"]) == {"mix": 3, "c": 2}[lang]
    commands = re.findall(r"^mixkit (.*?) *#", Path("README.md").read_text(), re.MULTILINE)
    assert [shlex.split(command)[0] for command in commands] == ["test", "run", "dev"]
    assert main(shlex.split(commands[1])) == 0
    assert capfd.readouterr().out == '{"text":"Good day, Ada"}\n'
    before = Path(f"{name}.{lang}").read_text()
    monkeypatch.chdir(tmp_path)
    assert main(["new", "app", name]) == 2
    assert "not empty" in capfd.readouterr().err
    assert Path(name, f"{name}.{lang}").read_text() == before


@pytest.mark.parametrize("lang", ["mix", "c"])
def test_a_package_that_cannot_be_built_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], lang: str
) -> None:
    assert main(["new", "app", "greet", "--lang", lang, "-d", str(tmp_path)]) == 0
    monkeypatch.chdir(tmp_path / "greet")
    agent = Path(f"greet.{lang}")
    agent.write_text(agent.read_text().replace("p.name", "q.name").replace("{0};", "{0}"))
    capfd.readouterr()
    assert main(["test"]) == 2
    told = capfd.readouterr()
    assert len(re.findall(rf"greet\.{lang}:\d+:\d+", told.err)) == 1
    assert "no test was run" in told.err and told.out == ""


@pytest.mark.parametrize("name", ["If", "if", "string", "a b", "../a", "x" * 41, ""])
def test_names_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "app", name]) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_watched(tmp_path: Path) -> None:
    app = tmp_path / "app"
    workspaces = app / "workspaces"
    workspaces.mkdir(parents=True)
    (app / "files").mkdir()
    (app / "a.mix").write_text("one")
    watch = Watch(app, workspaces)
    assert watch.changed(0) == []
    for name in ("a.log", "a-1.0.remix", ".a.mix.swp", "workspaces/x.mix", "a.mix~", "sub.txt"):
        (app / name).write_text("made of others")
    assert watch.changed(0) == []
    (app / "a.mix").write_text("three")
    (app / "files" / "picture.svg").write_text("<svg/>")
    assert watch.changed(5) == ["a.mix", "files/picture.svg"]
    (app / "a.mix").unlink()
    (app / "manifest.json").write_text("{}")
    assert watch.changed(5) == ["a.mix", "manifest.json"]
    assert watch.changed(0) == []


class Dev:
    """`mixkit dev` as a process, and what it prints."""

    def __init__(self, folder: Path, *options: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
        # What a script runs behind itself ignores Ctrl-C, and so would this.
        self.process = subprocess.Popen(
            ["env", "--default-signal=INT", MIXKIT, "dev", str(folder), "--port", "0", *options],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(60)
        self._reader.join(60)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def until(self, text: str, after: int = 0) -> int:
        """Wait for a line with a text; answers how many lines there were up to it."""
        end = time.monotonic() + 90
        while True:
            for number, line in enumerate(list(self.lines)[after:], after + 1):
                if text in line:
                    return number
            assert time.monotonic() < end and self.process.poll() is None, self.lines
            time.sleep(0.02)

    def ask(self, params: Any) -> Any:
        """Send what the line for curl says, with other parameters."""
        text = "\n".join(self.lines)
        url, token = re.search(r"curl -s (\S+)", text), re.search(r"Bearer (\w+)", text)
        assert url and token
        request = urllib.request.Request(
            url[1],
            json.dumps(params).encode(),
            {"Authorization": f"Bearer {token[1]}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def tools(self) -> list[str]:
        """Names of the tools at the address that the line for clients of MCP says."""
        line = next(line for line in self.lines if line.startswith("MCP: {"))
        (server,) = json.loads(line.removeprefix("MCP: "))["mcpServers"].values()
        about = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        request = urllib.request.Request(
            server["url"],
            json.dumps(
                {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": about}}
            ).encode(),
            {
                **server["headers"],
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": "tools/list",
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [tool["name"] for tool in json.loads(answer.read())["result"]["tools"]]


WRONG = {"mix": ("p.name)", "q.name)", "no name 'q' here"), "c": ("{0};", "{0}", "error: expected ';'")}


@pytest.mark.parametrize("lang", ["mix", "c"])
def test_an_app_is_served_while_one_works_on_it(tmp_path: Path, lang: str) -> None:
    assert main(["new", "app", "greet", "--lang", lang, "-d", str(tmp_path)]) == 0
    agent = tmp_path / "greet" / f"greet.{lang}"
    text = agent.read_text()
    right, wrong, said = WRONG[lang]
    all_pass = f"tests: {3 if lang == 'mix' else 2} passed, in"
    dev = Dev(tmp_path / "greet")
    try:
        dev.until("page: http://127.0.0.1:")
        assert any('--json \'{"name": ' in line for line in dev.lines)
        assert any(all_pass in line for line in dev.lines)
        assert dev.ask({"name": "ada"}) == {"text": "Good day, Ada"}
        assert dev.tools() == ["greet_greet"]
        agent.write_text(text.replace("Good day, ", "Hello, "))
        seen = dev.until("failed")
        assert any("greet_test.mix:" in line for line in dev.lines[:seen])
        assert dev.ask({"name": "ada"}) == {"text": "Hello, Ada"}
        agent.write_text(text.replace(right, wrong))
        seen = dev.until(said, seen)
        dev.until("what was installed before is served on", seen)
        assert dev.ask({"name": "ada"}) == {"text": "Hello, Ada"}
        agent.write_text(text)
        dev.until(all_pass, seen)
        assert dev.ask({"name": "ada"}) == {"text": "Good day, Ada"}
        given = {
            "input": "let n = 1\ndb.length(db.head())\n",
            "capture_output": True,
            "text": True,
            "timeout": 60,
        }
        place = ["--ws-dir", str(tmp_path / "greet/workspaces"), "--workspace", "dev", "--app", "greet"]
        assert subprocess.run([MIXKIT, "repl", *place], **given).stdout == "0\n"
        dev.process.send_signal(signal.SIGINT)
        assert dev.process.wait(60) == 0
    finally:
        dev.close()


def test_headers_and_what_counts_for_commands_are_watched(tmp_path: Path) -> None:
    assert main(["new", "app", "greet", "--lang", "c", "-d", str(tmp_path)]) == 0
    folder = tmp_path / "greet"
    (folder / "greet.c").write_text(
        '#include "text.h"\n' + (folder / "greet.c").read_text().replace('"Good day', 'TEXT "')
    )
    (folder / "text.h").write_text('#define TEXT "Good day"\n')
    dev = Dev(folder, "--no-serve", "--no-test")
    try:
        seen = dev.until("greet installed, in")
        (folder / "text.h").write_text('#define TEXT "Hello"\n')
        dev.until("changed: text.h", seen)
        seen = dev.until("greet installed, in", seen)
        # That is read by each command when it starts.
        (folder / "mixkit.toml").write_text('workspace = "other"\n')
        dev.until("what mixkit.toml says counts when this is started again", seen)
    finally:
        dev.close()


def test_what_ends_it_says_why(tmp_path: Path) -> None:
    assert main(["new", "app", "greet", "-d", str(tmp_path)]) == 0
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [MIXKIT, "dev", str(tmp_path / "empty")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "make one with: mixkit new app NAME" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = ["--port", str(taken.getsockname()[1])]
        done = subprocess.run(
            [MIXKIT, "dev", str(tmp_path / "greet"), *port], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr and "--port" in done.stderr.splitlines()[-1]


def test_a_manifest_that_is_broken_can_be_mended(tmp_path: Path) -> None:
    assert main(["new", "app", "greet", "-d", str(tmp_path)]) == 0
    manifest = tmp_path / "greet" / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"kind"', '"knid"'))
    dev = Dev(tmp_path / "greet")
    try:
        dev.until("knid")
        manifest.write_text(text)
        seen = dev.until("page: http://127.0.0.1:")
        assert dev.ask({"name": "ada"}) == {"text": "Good day, Ada"}
        # How it is asked is said again when it is asked otherwise, and not with each change.
        (tmp_path / "greet" / "more.mix").write_text("module more()\nmodule end\n")
        seen = dev.until("greet ", dev.until("changed: more.mix", seen))
        manifest.write_text(text.replace('"agents": {"greet": {', '"agents": {"hello": {"entry": "greet", '))
        again = dev.until("/agent/hello", seen)
        assert not any("curl" in line for line in dev.lines[seen : again - 1])
    finally:
        dev.close()


def test_who_asks_it_twice_to_end_leaves_no_server_behind(tmp_path: Path) -> None:
    assert main(["new", "app", "greet", "-d", str(tmp_path)]) == 0
    dev = Dev(tmp_path / "greet", "--no-test")
    try:
        line = dev.lines[dev.until("page: http://127.0.0.1:") - 1]
        port = int(line.rpartition("127.0.0.1:")[2].partition("/")[0])
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            dev.process.send_signal(number)
            # They come one after the other, and not as one.
            time.sleep(0.02)
        # Whoever reads that it has ended may rely on it.
        dev.until("ended")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)
        assert dev.process.wait(60) == 0
    finally:
        dev.close()


def test_a_server_that_dies_ends_it(tmp_path: Path) -> None:
    assert main(["new", "app", "greet", "-d", str(tmp_path)]) == 0
    dev = Dev(tmp_path / "greet", "--no-test")
    try:
        dev.until("page: http://127.0.0.1:")
        (child,) = Path(f"/proc/{dev.process.pid}/task/{dev.process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert dev.process.wait(60) == 1
    finally:
        dev.close()
    assert "the server has ended, with status -9" in dev.lines[-1]


@pytest.mark.parametrize(
    ("wanted", "variables", "terminal", "opened"),
    [
        (None, {"DISPLAY": ":0"}, True, True),
        (None, {"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        (None, {"DISPLAY": ":0"}, False, False),
        (None, {"DISPLAY": ":0", "CI": "true"}, True, False),
        (None, {"DISPLAY": ":0", "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, True, False),
        (None, {}, True, False),
        (True, {}, False, True),
        (False, {"DISPLAY": ":0"}, True, False),
    ],
)
def test_the_page_opens_where_somebody_sits(
    monkeypatch: pytest.MonkeyPatch,
    wanted: bool | None,
    variables: dict[str, str],
    terminal: bool,
    opened: bool,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "CI", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pages: list[str] = []
    monkeypatch.setattr("webbrowser.open", pages.append)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    open_page("http://127.0.0.1:1/admin/", wanted)
    assert pages == ["http://127.0.0.1:1/admin/"] * opened


def test_a_plugin_is_made_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "plugin", "weather"]) == 2
    assert "mixkit plugin new weather" in capfd.readouterr().err
