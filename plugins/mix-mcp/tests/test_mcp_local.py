"""`mixkit mcp --local`: the server that all clients of a user share, with real processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from mix_mcp.state_dir import Running, StateDir, Wanted, default_path

from mixkit.errors import MixError

if TYPE_CHECKING:
    from conftest import Stdio

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

LIST = {"jsonrpc": "2.0", "method": "tools/list"}
AGED = """
import sys
import mixkit
mixkit.__version__ = sys.argv.pop(1)
from mixkit.cli import main
sys.exit(main())
"""
"""mixkit as if it were of another version."""


@contextlib.contextmanager
def aged(version: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of another version, which does not outlive the block."""
    with subprocess.Popen([sys.executable, "-c", AGED, version, *words], stderr=subprocess.DEVNULL) as found:
        try:
            yield found
        finally:
            found.kill()


@dataclass
class Desk:
    """A user's folder, and a port for their server."""

    port: int
    ws_dir: Path

    @property
    def folder(self) -> StateDir:
        return StateDir(default_path(self.port))

    @property
    def running(self) -> Running | None:
        return self.folder.look()[1]

    def mixkit(self, *words: str, fails: int = 0, version: str = "") -> str:
        """What a command prints, and, if it is to fail, what it says."""
        how = ["-c", AGED, version] if version else ["-m", "mixkit"]
        done = subprocess.run(
            [sys.executable, *how, *words],
            capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == fails, done.stderr
        return done.stdout + (done.stderr if fails else "")

    def mcp(self, *words: str, fails: int = 0) -> str:
        return self.mixkit("mcp", *words, "--port", str(self.port), fails=fails)

    def start(self, *words: str) -> Running:
        self.mixkit(*words, "mcp", "start", "--port", str(self.port), "--ws-dir", str(self.ws_dir))
        return self.known()

    def known(self) -> Running:
        found = self.running
        assert found is not None
        return found

    def kill(self) -> Running:
        found = self.known()
        os.kill(found.pid, signal.SIGKILL)
        self.gone(found.pid)
        return found

    def gone(self, pid: int) -> None:
        """Wait for the end of a server."""
        wait(lambda: (found := self.running) is None or found.pid != pid)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, ws_dir: Path) -> Iterator[Desk]:
    # NOTE: a short path, as those of sockets must be.
    with tempfile.TemporaryDirectory(prefix="mix") as folder, socket.socket() as free:
        monkeypatch.setenv("XDG_STATE_HOME", folder)
        free.bind(("127.0.0.1", 0))
        found = Desk(free.getsockname()[1], ws_dir)
        free.close()
        try:
            yield found
        finally:
            found.mcp("stop")
            assert found.folder.look() == (False, None)


@pytest.fixture
def join(desk: Desk, client: Callable[..., Stdio]) -> Callable[..., Stdio]:
    """Starts clients of the local server."""

    def start(*words: str) -> Stdio:
        return client(desk.ws_dir, "--local", "--port", str(desk.port), *words)

    return start


def wait(until: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether a process has not ended; who should hear of its end may not have yet."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def listed(found: Stdio) -> list[str]:
    return [tool["name"] for tool in found.ask("tools/list")["result"]["tools"]]


def test_all_clients_share_one(desk: Desk, join: Callable[..., Stdio]) -> None:
    assert json.loads(desk.mcp("status", "--json", fails=3)) == {"running": False}
    clients = [join() for _ in range(5)]
    for each in clients:
        assert "test_simple_text" in listed(each)
    said = desk.known()
    log = desk.folder.log.read_text()
    assert log.count("serving") == 1, log
    clients[0].process.kill()
    assert all(each.close() == 0 for each in clients[1:])
    # It survives its clients, the first one too; and serves the page, to who has its token.
    shown = json.loads(desk.mcp("status", "--json", "--show-token"))
    assert shown["pid"] == said.pid and shown["token"] == said.token and shown["running"]
    assert said.token not in desk.mcp("status") and said.token not in desk.folder.log.read_text()
    with httpx.Client(base_url=shown["url"]) as browser:
        assert browser.get("/v1/ws").status_code == 401
        assert browser.get("/v1/ws", headers={"Authorization": f"Bearer {said.token}"}).status_code == 200
        assert browser.get("/v1/ext/remix-app/release-info").json() == {
            "name": "mixkit",
            "version": said.version,
        }
    assert json.loads(desk.mcp("stop", "--json")) == {"stopped": True}
    assert json.loads(desk.mcp("stop", "--json")) == {"stopped": False}
    assert not lives(said.pid)


def test_one_that_is_killed_is_started_anew(desk: Desk, join: Callable[..., Stdio]) -> None:
    today, session = join(), join()
    opened = {"protocolVersion": "2025-11-25", "capabilities": {}}
    assert session.ask("initialize", opened, modern=False)["result"]["protocolVersion"] == "2025-11-25"
    assert listed(today)
    call = today.send("tools/call", {"name": "slow_compute", "arguments": {"seconds": 600}})
    wait(lambda: runs(desk) == 1)
    first = desk.kill()
    cut = today.read()
    assert cut["id"] == call and "before it answered" in cut["error"]["message"]
    # What it left behind is taken for nothing.
    desk.mcp("status", fails=3)
    assert (desk.folder.path / "socket").exists() and first.token.encode() in (
        desk.folder.path / "server.json"
    ).read_bytes()
    assert listed(today) and desk.known().pid != first.pid
    second = desk.kill()
    found = session.ask("tools/call", {"name": "test_simple_text"}, modern=False)
    assert found["result"]["content"] and desk.known().token not in (first.token, second.token)
    assert today.close() == session.close() == 0


def runs(desk: Desk) -> float:
    """Agents that run, those that wait too."""
    found = desk.known()
    said = httpx.get(f"{found.url}/metrics", headers={"Authorization": f"Bearer {found.token}"}).text
    return sum(map(float, re.findall(r"^mixkit_runs_(?:active|paused) (\S+)$", said, re.M)))


class Stranger:
    """Listens on the port, and keeps what it is sent."""

    def __init__(self, port: int) -> None:
        self.heard = b""
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(0.5)
                try:
                    self.heard += connection.recv(65536) or b"nothing"
                    # As a server of ours says it, to everybody.
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n" + GREETING)
                except OSError:
                    self.heard += b"nothing"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


GREETING = b'{"name": "mixkit", "version":"0.1.0"}'


def test_a_stranger_on_the_port_hears_nothing(desk: Desk, join: Callable[..., Stdio]) -> None:
    stranger = Stranger(desk.port)
    try:
        said = desk.mcp("start", fails=1)
        assert "did not start" in said and f"127.0.0.1:{desk.port}" in said and "--port" in said
        refused = join()
        assert refused.process.wait(60) == 1
    finally:
        stranger.close()
    # One that comes when the server has ended, whose token is in the folder still.
    survivor = join()
    assert listed(survivor)
    desk.kill()
    stranger_too = Stranger(desk.port)
    try:
        for _ in range(2):
            assert "did not start" in survivor.ask("tools/list")["error"]["message"]
    finally:
        stranger_too.close()
    assert (stranger.heard, stranger_too.heard) == (b"", b"")
    # And once it has gone all is well.
    assert listed(survivor) and survivor.close() == 0


def test_an_older_one_is_replaced_unless_something_runs(desk: Desk, join: Callable[..., Stdio]) -> None:
    where = ("mcp", "start", "--port", str(desk.port), "--ws-dir", str(desk.ws_dir), "--foreground")
    with aged("0.0.9", *where) as old:
        wait(lambda: desk.running is not None)
        assert desk.known().version == "0.0.9"
        body = b'{"seconds": 30}'
        head = (
            "POST /v1/ws/conf/app/test/agent/slow_compute HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {desk.known().token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", desk.port)) as caller:
            caller.sendall(head.encode() + body)
            wait(lambda: runs(desk) == 1)
            assert "run in it" in desk.mcp("start", "--ws-dir", str(desk.ws_dir), fails=1)
            assert old.poll() is None
        # The run ends with its client.
        wait(lambda: runs(desk) == 0)
        assert listed(join())
        assert old.wait(30) == 0 and desk.known().version != "0.0.9"


def test_a_newer_one_is_left_alone(desk: Desk) -> None:
    where = ("mcp", "start", "--port", str(desk.port), "--ws-dir", str(desk.ws_dir), "--foreground")
    with aged("99.0", *where) as newer:
        wait(lambda: desk.running is not None)
        said = desk.mcp("start", "--ws-dir", str(desk.ws_dir), fails=1)
        assert "99.0" in said and "mixkit mcp stop" in said and newer.poll() is None
        desk.mcp("stop")
        assert newer.wait(30) == 0


def test_one_that_serves_something_else_is_left_alone(desk: Desk, tmp_path: Path) -> None:
    pid = desk.start().pid
    for words in (["--ws-dir", str(tmp_path)], ["--ws-dir", str(desk.ws_dir)]):
        options = (
            ["--set", "limits.wall_time=3"] if "--set" not in words and words[1] != str(tmp_path) else []
        )
        said = desk.mixkit(*options, "mcp", "start", *words, "--port", str(desk.port), fails=1)
        assert "was started with" in said and "--port" in said
    # How long it lives is no difference, nor how its folder is written.
    linked = tmp_path / "linked"
    linked.symlink_to(desk.ws_dir)
    options = ["--set", "settings.mcp.idle_timeout=60"]
    desk.mixkit(*options, "mcp", "start", "--ws-dir", str(linked), "--port", str(desk.port))
    assert desk.known().pid == pid


def test_one_that_does_not_start_says_why(desk: Desk) -> None:
    said = desk.mixkit("--set", "limits.wall_time=9999", "mcp", "start", "--port", str(desk.port), fails=1)
    assert "did not start" in said and "limits.wall_time" in said and "server.log" in said


def test_it_ends_when_nobody_uses_it(
    desk: Desk, join: Callable[..., Stdio], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXKIT_MCP_IDLE_TIMEOUT", "0.5")
    listening = join()
    listening.send("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert listening.read()["method"] == "notifications/subscriptions/acknowledged"
    pid = desk.known().pid
    time.sleep(2)
    assert desk.known().pid == pid
    assert listening.close() == 0
    desk.gone(pid)
    assert "the server ends" in desk.folder.log.read_text()


def test_a_folder_that_others_may_enter_is_refused(desk: Desk) -> None:
    desk.folder.make()
    desk.folder.path.chmod(0o770)
    assert "chmod 700" in desk.mcp("start", fails=1)
    desk.folder.path.chmod(0o700)
    desk.folder.path.rename(desk.folder.path.with_name("elsewhere"))
    desk.folder.path.symlink_to(desk.folder.path.with_name("elsewhere"))
    assert "something else" in desk.mcp("start", fails=1)
    desk.folder.path.unlink()


# Children that do nothing but this.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(os.geteuid() != 0, reason="to be another user needs the rights of the first one")
def test_the_folder_of_another_user_is_refused(desk: Desk, tmp_path: Path) -> None:
    desk.start()
    Path(os.environ["XDG_STATE_HOME"]).chmod(0o755)
    os.chown(desk.folder.path, 65534, -1)
    with pytest.raises(MixError, match="belongs to user 65534"):
        desk.folder.connect()
    os.chown(desk.folder.path, 0, -1)
    # Nor is what another user listens on there taken for it, should the folder have been changed meanwhile.
    with folder_of_another(desk), pytest.raises(MixError, match="user 65534 listens"):
        desk.folder.connect()
    # Nor does another user get in.
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            desk.folder.look()
        except PermissionError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@contextlib.contextmanager
def folder_of_another(desk: Desk) -> Iterator[None]:
    """What `connect` finds when another user has put a socket in the place of the server's."""
    path = desk.folder.path / "socket"
    path.rename(path.with_name("ours"))
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            found = socket.socket(socket.AF_UNIX)
            found.bind(str(path))
            # The one who begins to listen is the one that is asked for.
            os.setuid(65534)
            found.listen()
            os.write(ready[1], b"x")
            os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        yield
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        for descriptor in (*ready, *done):
            os.close(descriptor)
        path.unlink()
        path.with_name("ours").rename(path)


def test_two_users_have_two(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = desk.start()
    with tempfile.TemporaryDirectory(prefix="mix") as theirs, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with monkeypatch.context() as other:
            other.setenv("XDG_STATE_HOME", theirs)
            desk.mcp("status", fails=3)
            assert "did not start" in desk.mcp("start", fails=1)
            second = Desk(free.getsockname()[1], desk.ws_dir)
            free.close()
            found = second.start()
            assert found.pid != ours.pid and found.token != ours.token
            answer = httpx.get(f"{ours.url}/v1/ws", headers={"Authorization": f"Bearer {found.token}"})
            assert answer.status_code == 401
            second.mcp("stop")
    assert desk.known() == ours


def test_options_that_do_not_go_together(desk: Desk) -> None:
    assert "give one of them" in desk.mixkit("mcp", "-w", "w", "--local", "--server", "http://x", fails=2)
    assert "--local" in desk.mcp("-w", "w", fails=2)
    assert "behind stop" in desk.mixkit("mcp", "--port", str(desk.port), "stop", fails=2)
    assert "no TLS" in desk.mixkit(
        "--set", "settings.server.tls_certs=/nowhere", "--set", "settings.server.tls_key=/nowhere",
        "mcp", "start", "--port", str(desk.port), fails=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"XDG_STATE_HOME": "/x"}, "/x/mixkit"),
        ("linux", {"XDG_STATE_HOME": "x"}, "~/.local/state/mixkit"),
        ("darwin", {"XDG_STATE_HOME": "/x"}, "~/Library/Application Support/mixkit"),
    ],
)
def test_where_the_folder_is(platform: str, environ: dict[str, str], expected: str) -> None:
    assert default_path(2025, platform, environ) == Path(expected).expanduser() / "local-2025"


def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    with pytest.raises(MixError, match="XDG_STATE_HOME"):
        StateDir(tmp_path / ("x" * 100)).make()


def test_a_server_holds_its_folder_as_long_as_it_lives(tmp_path: Path) -> None:
    folder = StateDir(tmp_path / "f")
    wanted = Wanted(ws_dir="/w", profile="p", sets=[])
    said = Running(pid=1, version="1", token="t", url="u", pages={}, wanted=wanted)
    state = folder.hold()
    assert folder.look() == (True, None)
    folder.say(state, said)
    assert folder.look() == (True, said)
    with pytest.raises(MixError, match="runs already"):
        folder.hold()
    folder.leave(state)
    assert folder.look() == (True, None)
    # As the system does at the end of a process.
    os.close(state)
    assert folder.look() == (False, None)
