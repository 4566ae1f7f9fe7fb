"""Real processes: how servers start, fork, lose a worker, and stop."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from mixkit import Kernel
from mixkit.cli import main
from mixkit.package import Package, WorkspaceStore

DEMO = "/v1/ws/w/app/demo/agent/"
DEADLINE = 60.0

pytestmark = pytest.mark.slow


class Process:
    """A server in a process of its own, ended by its own pid.

    Attributes:
        url: where it serves.
        lines: what it wrote to stderr so far.
    """

    def __init__(self, command: list[str], url: str | None, env: dict[str, str]) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MIXKIT_")}
        self.child = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**clean, **env},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = url or ""

    def _read(self) -> None:
        assert self.child.stderr is not None
        with self.child.stderr as stream:
            self.lines.extend(iter(stream.readline, ""))

    @property
    def stderr(self) -> str:
        return "".join(self.lines)

    def until_ready(self) -> Process:
        """Wait until it says that it is ready."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline and self.child.poll() is None:
            if not self.url and (found := re.search(r"listening on (http://\S+)", self.stderr)):
                self.url = found[1]
            if self.url:
                try:
                    if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                        return self
                except httpx.HTTPError:
                    pass
            time.sleep(0.05)
        raise AssertionError(f"the server did not become ready: {self.stderr}")

    def client(self, token: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=DEADLINE)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; the exit status."""
        if self.child.poll() is None:
            self.child.send_signal(number)
        status = self.child.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return status

    def workers(self) -> list[int]:
        """Pids of its children."""
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]


Start = Callable[..., Process]


@pytest.fixture
def installed(ws_dir: Path, make_package: Callable[..., bytes]) -> Path:
    """A directory of workspaces, in which `w` has the app `demo`."""
    with Kernel("agent_server", environ={}) as kernel:
        WorkspaceStore(ws_dir, kernel.databases).create("w").install(Package.open(make_package()))
    return ws_dir


@pytest.fixture
def start(installed: Path, token: str) -> Iterator[Start]:
    """Starts a server: `start("mixkit", "serve", …)`, with variables as keywords. It is ended after the test."""
    started: list[Process] = []

    def begin(*command: str, url: str | None = None, **env: str) -> Process:
        common = {"MIXKIT_SERVER_WS_DIR": str(installed), "MIXKIT_SERVER_TOKEN": token}
        process = Process(list(command), url, {**common, **env})
        started.append(process)
        return process

    yield begin
    for process in started:
        try:
            process.end()
        except subprocess.TimeoutExpired:
            process.child.kill()
            process.child.wait()


@pytest.fixture
def port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gunicorn(start: Start, port: int, *options: str, app: str = "mix_server.asgi:app", **env: str) -> Process:
    worker = ("-k", "uvicorn_worker.UvicornWorker") if "-c" not in options else ()
    bind = ("--bind", f"127.0.0.1:{port}", "--no-control-socket")
    return start("gunicorn", *worker, *bind, *options, app, url=f"http://127.0.0.1:{port}", **env)


def all_serve(process: Process, token: str, workers: int) -> None:
    """Each worker answers runs."""
    deadline = time.monotonic() + DEADLINE
    while len(process.workers()) < workers and time.monotonic() < deadline:
        time.sleep(0.05)
    pids = set(process.workers())
    assert len(pids) == workers, process.stderr

    def one(n: int) -> Any:
        # A connection each, so that the kernel deals them out.
        with process.client(token) as client:
            return client.post(f"{DEMO}echo", json=n).json()

    served: dict[int, int] = {}
    with ThreadPoolExecutor(8) as pool:
        while len([pid for pid in pids if served.get(pid)]) < workers:
            assert time.monotonic() < deadline, (served, process.stderr)
            assert list(pool.map(one, range(40))) == list(range(40))
            # A worker that has run an agent has threads of the kernel.
            served = {pid: len(list(Path(f"/proc/{pid}/task").iterdir())) - 1 for pid in pids}
    assert set(process.workers()) == pids


def test_one_process_makes_a_token_serves_and_stops(start: Start) -> None:
    process = start("mixkit", "serve", "--port", "0", MIXKIT_SERVER_TOKEN="").until_ready()
    found = re.search(r"token: (\S{24,})", process.stderr)
    assert found, process.stderr
    with process.client(found[1]) as client:
        assert client.post(f"{DEMO}echo", json=[1]).json() == [1]
        assert client.get("/metrics").status_code == 200
    with process.client(None) as client:
        assert client.post(f"{DEMO}echo", json=[1]).status_code == 401
    assert process.end() == 0
    assert "Traceback" not in process.stderr


def test_a_token_that_is_set_is_not_printed(start: Start, token: str) -> None:
    process = start("mixkit", "--log-level", "debug", "serve", "--port", "0", "--access-log").until_ready()
    with process.client(token) as client:
        assert client.post(f"{DEMO}echo", json=1, headers={"X-Request-Id": "in-the-log"}).json() == 1
    assert process.end() == 0
    assert "in-the-log" in process.stderr
    assert token not in process.stderr


WAYS = ["one process", "workers", "gunicorn", "our gunicorn", "uvicorn"]


def started(start: Start, port: int, way: str, **env: str) -> Process:
    """A server that was started in one of the ways that there are."""
    match way:
        case "gunicorn":
            process = gunicorn(start, port, "-w", "1", **env)
        case "our gunicorn":
            process = gunicorn(start, port, "-w", "1", "-c", "python:mix_server.gunicorn_conf", **env)
        case "uvicorn":
            url = f"http://127.0.0.1:{port}"
            process = start("uvicorn", "--port", str(port), "mix_server.asgi:app", url=url, **env)
        case _:
            workers = ("--workers", "2") if way == "workers" else ()
            process = start("mixkit", "serve", "--port", "0", *workers, **env)
    return process.until_ready()


@pytest.mark.parametrize(
    ("way", "wanted"), [*((way, False) for way in WAYS), ("one process", True), ("uvicorn", True)]
)
def test_requests_are_logged_if_wanted_and_never_with_their_query_string(
    start: Start, token: str, port: int, way: str, wanted: bool
) -> None:
    process = started(start, port, way, MIXKIT_SERVER_ACCESS_LOG=str(wanted).lower())
    with process.client(token) as client:
        assert client.get(f"{DEMO}echo", params={"password": "hunter2"}).status_code == 200
        assert client.get("/nothing", params={"password": "hunter2"}).status_code == 404
    process.end()
    assert "hunter2" not in process.stderr
    assert (f"GET {DEMO}echo 200" in process.stderr) is wanted
    assert ("/nothing" in process.stderr) is wanted


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_run_that_is_under_way_is_finished(
    start: Start, token: str, number: int, workers: tuple[str, ...]
) -> None:
    process = start("mixkit", "serve", "--port", "0", *workers).until_ready()
    with process.client(token) as client, ThreadPoolExecutor(1) as pool:
        assert client.get("/readyz").status_code == 200
        answer = pool.submit(client.post, f"{DEMO}sleep", json=[1500])
        time.sleep(0.5)
        status = process.end(number)
        assert answer.result().status_code == 200
    assert status == 0 or (number == signal.SIGINT and not workers and status == 130)
    with pytest.raises(httpx.ConnectError):
        httpx.get(process.url)
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_run_that_does_not_finish_is_stopped_after_the_grace_period(
    start: Start, token: str, workers: tuple[str, ...]
) -> None:
    process = start("mixkit", "serve", "--port", "0", "--grace-period", "1", *workers).until_ready()
    with process.client(token) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, f"{DEMO}spin")
        time.sleep(0.5)
        started = time.monotonic()
        assert process.end() == 0
        assert time.monotonic() - started < 30
        assert answer.result().status_code == 503


def test_clients_that_are_connected_and_silent_do_not_keep_it_from_stopping(start: Start) -> None:
    process = start("mixkit", "serve", "--port", "0").until_ready()
    host, _, port = process.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as idle:
        idle.sendall(b"POST /v1/ws HTTP/1.1\r\nHost: x\r\n")
        assert process.end() == 0


def test_workers_all_serve_count_together_and_are_replaced(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0", "--workers", "4").until_ready()
    all_serve(process, token, 4)
    with process.client(token) as client:
        for _ in range(30):
            # A new connection each time, to get to all workers.
            client.post(f"{DEMO}echo", json=1, headers={"Connection": "close"})
        counts = _counted(client, 30)
        victim = process.workers()[0]
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE
        while victim in process.workers() or len(process.workers()) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    all_serve(process, token, 4)
    with process.client(token) as client:
        assert min(_counted(client, 30)) >= min(counts)
    assert process.end() == 0
    assert not list(Path("/tmp").glob("mixkit-metrics-*/*_%d.db" % victim))  # noqa: UP031


def test_all_workers_hear_of_what_one_of_them_has_written(
    start: Start, token: str, make_package: Callable[..., bytes]
) -> None:
    process = start("mixkit", "serve", "--port", "0", "--workers", "4").until_ready()
    all_serve(process, token, 4)
    workers = process.workers()
    before = {pid: _sockets(pid) for pid in workers}
    with process.client(token) as operator, ExitStack() as open_clients:
        tokens = "/v1/ws/w/tokens"
        rights = {"name": "ci", "rights": [{"role": "runner"}]}
        made = operator.post(tokens, json=rights).json()
        # A client keeps its connection, and that stays with one worker.
        clients: list[httpx.Client] = []
        deadline = time.monotonic() + DEADLINE
        while not clients or any(_sockets(pid) < before[pid] + 2 for pid in workers):
            assert time.monotonic() < deadline
            clients.append(open_clients.enter_context(process.client(made["token"])))
            assert clients[-1].post(f"{DEMO}echo", json=1).json() == 1

        def statuses() -> set[int]:
            return {client.post(f"{DEMO}echo", json=1).status_code for client in clients}

        assert operator.delete("/v1/ws/w/app/demo").status_code == 204
        assert statuses() == {404}
        package = {"content": make_package(), "headers": {"Content-Type": "application/octet-stream"}}
        assert operator.post("/v1/ws/w/install", **package).status_code == 200
        assert statuses() == {200}
        assert operator.delete(f"{tokens}/{made['id']}").status_code == 204
        assert statuses() == {401}
    assert process.end() == 0


def _sockets(pid: int) -> int:
    """How many sockets a process has."""
    count = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        # It may close others meanwhile.
        with suppress(FileNotFoundError):
            count += str(path.readlink()).startswith("socket:")
    return count


def _counted(client: httpx.Client, least: int) -> list[float]:
    """What several workers say, once all have told of what they had counted a moment ago."""
    deadline = time.monotonic() + DEADLINE
    while True:
        counts = [_runs(client) for _ in range(8)]
        if min(counts) == max(counts) >= least:
            return counts
        assert time.monotonic() < deadline, counts
        time.sleep(0.1)


def _runs(client: httpx.Client) -> float:
    page = client.get("/metrics", headers={"Connection": "close"}).text
    found = re.search(
        r'mixkit_http_requests_total\{method="POST",route="[^"]*agent[^"]*",status="200"\} (\S+)', page
    )
    assert found, page
    return float(found[1])


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_gunicorn_with_two_workers(start: Start, token: str, port: int, options: tuple[str, ...]) -> None:
    process = gunicorn(start, port, "-w", "2", *options).until_ready()
    all_serve(process, token, 2)
    with process.client(token) as client:
        answer = client.get("/metrics")
        assert answer.status_code == 503
        assert "PROMETHEUS_MULTIPROC_DIR" in answer.json()["message"]
    assert process.end() == 0
    assert "Traceback" not in process.stderr


def test_gunicorn_with_our_configuration_counts_together(start: Start, token: str, port: int) -> None:
    process = gunicorn(
        start, port, "-w", "2", "--preload", "-c", "python:mix_server.gunicorn_conf"
    ).until_ready()
    all_serve(process, token, 2)
    with process.client(token) as client:
        _counted(client, 1)
    assert process.end() == 0


def test_no_thread_runs_before_the_fork(start: Start, token: str, port: int) -> None:
    process = gunicorn(start, port, "-w", "1", "--preload").until_ready()
    all_serve(process, token, 1)
    assert len(list(Path(f"/proc/{process.child.pid}/task").iterdir())) == 1
    process = start("mixkit", "serve", "--port", "0", "--workers", "2").until_ready()
    assert len(list(Path(f"/proc/{process.child.pid}/task").iterdir())) == 1


_TALKING = """
import asyncio, json, os
from mix_server.app import create_app
from mix_server.server import Server
from mixkit.bus import MessagesMissed
from mixkit.kernel import Kernel

server = Server(Kernel("agent_server"))
serve = create_app(server)
heard = []
listening = None

async def listen():
    subscription = await server.kernel.bus.subscribe("news")
    while True:
        try:
            heard.append((await subscription.next()).payload.decode())
        except MessagesMissed:
            pass

async def app(scope, receive, send):
    global listening
    path = scope.get("path", "")
    if not path.startswith("/talk"):
        await serve(scope, receive, send)
        return
    listening = listening or asyncio.create_task(listen())
    if said := path.removeprefix("/talk").strip("/"):
        await server.kernel.bus.publish("news", said.encode())
    body = json.dumps({"pid": os.getpid(), "heard": heard, "leads": server.kernel.bus.leads}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
"""


def test_workers_hear_each_other_and_another_carries_on(
    start: Start, token: str, port: int, tmp_path: Path
) -> None:
    (tmp_path / "talking.py").write_text(_TALKING)
    options = ("-w", "4", "--preload", "--pythonpath", str(tmp_path))
    process = gunicorn(start, port, *options, app="talking:app").until_ready()
    deadline = time.monotonic() + DEADLINE

    def ask(path: str = "/talk") -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{process.url}{path}", timeout=DEADLINE).json()
        return answer

    def until(done: Callable[[dict[int, dict[str, Any]]], bool]) -> dict[int, dict[str, Any]]:
        """The last answer of each worker, when there are four and they are as they should be."""
        last: dict[int, dict[str, Any]] = {}
        while time.monotonic() < deadline:
            with ThreadPoolExecutor(8) as pool:
                for answer in pool.map(lambda _: ask(), range(16)):
                    last[answer["pid"]] = answer
            alive = {pid: last[pid] for pid in process.workers() if pid in last}
            if len(alive) == 4 and done(alive):
                return alive
        raise AssertionError((last, process.stderr))

    until(lambda workers: sum(worker["leads"] for worker in workers.values()) == 1)
    for number in range(5):
        ask(f"/talk/{number}")
    workers = until(lambda workers: all(len(worker["heard"]) >= 5 for worker in workers.values()))
    assert [worker["heard"] for worker in workers.values()] == [["0", "1", "2", "3", "4"]] * 4
    (leader,) = (pid for pid, worker in workers.items() if worker["leads"])
    os.kill(leader, signal.SIGKILL)
    until(lambda now: leader not in now and sum(worker["leads"] for worker in now.values()) == 1)
    ask("/talk/again")
    workers = until(lambda workers: all("again" in worker["heard"] for worker in workers.values()))
    assert all(worker["heard"].count("again") == 1 for worker in workers.values())
    assert process.end() == 0
    assert "Traceback" not in process.stderr


def test_gunicorn_without_a_token_does_not_start(start: Start, port: int) -> None:
    process = gunicorn(start, port, "-w", "2", MIXKIT_SERVER_TOKEN="")
    assert process.child.wait(DEADLINE) != 0
    process.end()
    assert "set MIXKIT_SERVER_TOKEN" in process.stderr


@pytest.mark.slow
def test_what_is_dangerous_is_said_at_each_start(start: Start, token: str) -> None:
    options = ("--port", "0", "--dangerous-http-mode", "--log-format", "json", "--agent-cache-size", "7")
    process = start("mixkit", "serve", *options, MIXKIT_SERVER_TOKEN=token).until_ready()
    assert process.end() == 0
    assert "warning: settings.http.dangerous_http_mode: agents reach every address" in process.stderr
    quiet = start("mixkit", "serve", "--port", "0", MIXKIT_SERVER_TOKEN=token).until_ready()
    assert quiet.end() == 0
    assert "dangerous" not in quiet.stderr


def test_a_port_that_is_taken(start: Start, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        for workers in ("1", "2"):
            process = start("mixkit", "serve", "--port", str(port), "--workers", workers)
            assert process.child.wait(DEADLINE) == 1
            process.end()
            assert f"cannot listen on 127.0.0.1:{port}" in process.stderr
            assert "--port" in process.stderr
            assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("options", "env", "says"),
    [
        (("--port", "70000"), {}, "port"),
        (("--port", "x"), {}, "--port"),
        (("--host", "0.0.0.0", "--no-auth"), {"MIXKIT_SERVER_TOKEN": ""}, "loopback"),
        (("--no-auth",), {}, "found both"),
        (("--token", "short"), {}, "at least 16"),
        (("--host", "198.51.100.1", "--port", "0"), {}, "cannot listen"),
        (("--host", "no such host"), {}, "cannot listen"),
        (("--agent-timeout", "301"), {}, "at most 300 s"),
        (("--agent-timeout", "0"), {}, "wall_time"),
        (("--memory-limit", "5"), {}, "memory"),
        (("--max-runs", "10000"), {}, "threads"),
        (("--workers", "0"), {}, "workers"),
        (("--env", "[1]"), {}, "JSON object"),
        (("--env", "{"), {}, "JSON object"),
        (("--ws-dir", "/dev/null/x"), {}, "ws_dir"),
        (("--swagger",), {}, "--swagger"),
        ((), {"MIXKIT_SERVER_PROT": "1"}, "MIXKIT_SERVER_PROT"),
        ((), {"MIXKIT_SERVER_PORT": "x"}, "MIXKIT_SERVER_PORT"),
    ],
)
def test_wrong_options_are_refused_with_what_is_wrong(
    installed: Path,
    token: str,
    options: tuple[str, ...],
    env: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"MIXKIT_SERVER_WS_DIR": str(installed), "MIXKIT_SERVER_TOKEN": token, **env}.items():
        monkeypatch.setenv(name, value)
    # In this process, since none of these comes to serving: a start of Python each would take most of the time.
    assert main(["serve", *options]) in (1, 2)
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_wrong_options_end_the_process(start: Start) -> None:
    process = start("mixkit", "serve", "--agent-timeout", "301")
    assert process.child.wait(DEADLINE) == 1
    process.end()
    assert "at most 300 s" in process.stderr
    assert "Traceback" not in process.stderr


def test_settings_come_from_a_profile_too(start: Start, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(
        'extends = "agent_server"\n[settings.server]\nport = 0\nno_auth = true\nenv = { region = "eu" }\n'
        "[limits]\nwall_time = 0.5\n"
    )
    process = start(
        "mixkit", "serve", "--env", '{"region": "us"}', MIXKIT_PROFILE=str(profile), MIXKIT_SERVER_TOKEN=""
    ).until_ready()
    assert "token:" not in process.stderr
    with process.client(None) as client:
        assert client.post(f"{DEMO}env").json()["region"] == "us"
        assert client.post(f"{DEMO}spin").status_code == 504


def test_a_client_that_hangs_up_stops_its_run(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0", "--max-runs", "1").until_ready()
    with process.client(token) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post(f"{DEMO}spin", timeout=0.3)
        # The only place is free again, long before the run's own end.
        started = time.monotonic()
        assert client.post(f"{DEMO}echo", json=1).json() == 1
        assert time.monotonic() - started < 20


def test_workers_share_one_database(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0", "--workers", "2").until_ready()
    all_serve(process, token, 2)

    def save(n: int) -> str:
        # A connection each, so that both processes get some.
        with process.client(token) as client:
            answer = client.post("/v1/ws/w/app/demo/documents", json={"n": n})
            assert answer.status_code == 201, answer.text
            found = client.get(answer.headers["location"])
            assert found.json() == answer.json()
            id: str = answer.headers["location"]
            return id

    with ThreadPoolExecutor(4) as threads:
        saved = list(threads.map(save, range(24)))
    for _ in range(8):
        with process.client(token) as client:
            # Whoever answers has seen what either of them has saved.
            rows = client.post("/v1/ws/w/app/demo/query", json={"query": "true"}).json()
            assert sorted(row["n"] for row in rows) == list(range(24))
            assert client.get(saved[-1]).status_code == 200
    assert len({row["_rmx_row"] for row in rows}) == 24
    assert process.end() == 0


def send_head(process: Process, token: str, method: str, path: str, *headers: str) -> socket.socket:
    """A connection that has sent the head of a request, and takes little at once."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, port = process.url.removeprefix("http://").split(":")
    connection.settimeout(DEADLINE)
    connection.connect((host, int(port)))
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        *([f"Authorization: Bearer {token}"] if token else []),
        *headers,
        "",
        "",
    )
    connection.sendall("\r\n".join(lines).encode())
    return connection


def everything(connection: socket.socket) -> str:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_bodies_that_are_arriving_do_not_hold_up_the_end(start: Start, token: str, workers: str) -> None:
    process = start(
        "mixkit", "serve", "--port", "0", "--workers", workers, "--grace-period", "600"
    ).until_ready()
    json_head = ("Content-Type: application/json", "Content-Length: 100")
    waiting = [
        send_head(process, token, "POST", f"{DEMO}echo", *json_head),
        send_head(process, token, "PUT", f"/v1/ws/w/app/demo/documents/{'B' * 32}", *json_head),
        send_head(process, token, "POST", f"{DEMO}echo", *json_head, "Content-Encoding: gzip"),
        send_head(process, token, "POST", "/v1/ws", "Transfer-Encoding: chunked"),
        send_head(
            process, token, "POST", "/v1/ws/w/install", "Content-Length: 9", "Content-Type: application/zip"
        ),
    ]
    time.sleep(1)
    assert process.end() == 0
    for connection in waiting:
        head, _, body = everything(connection).partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503 "), head
        assert "application/json" in head
        assert "retry-after" in head.lower()
        assert '"kind":"message"' in body
    assert "Traceback" not in process.stderr


PROMISED = "Content-Length: 20"
JSON = "Content-Type: application/json"
JUDGED_BY_THE_HEAD = [
    ("POST", f"{DEMO}echo", ("Authorization: Bearer wrong",), 401),
    ("POST", "/nothing", (), 404),
    ("POST", f"{DEMO}nothing", (JSON,), 404),
    ("PATCH", "/v1/ws", (JSON,), 405),
    ("POST", "/v1/ws", (JSON, "If-Match: *"), 412),
    ("POST", f"{DEMO}echo", (JSON, "Content-Length: 99999999"), 413),
    ("POST", f"{DEMO}echo", ("Content-Type: text/csv",), 415),
    ("POST", f"{DEMO}echo", (JSON, "Content-Encoding: br"), 415),
    ("PUT", "/v1/ws/w/app/demo/query/q", ("Content-Type: text/csv",), 415),
    ("POST", "/v1/ws/w/install", ("Content-Type: text/csv",), 415),
    ("GET", "/healthz", (), 200),
    ("DELETE", "/v1/ws/nothing", ("Transfer-Encoding: chunked",), 404),
]


def send_head_of(process: Process, token: str, case: tuple[str, str, tuple[str, ...], int]) -> socket.socket:
    """The head of such a request, with a body promised that is not sent."""
    method, path, headers, _ = case
    own = "".join(headers)
    promised = () if "Content-Length" in own or "Transfer" in own else (PROMISED,)
    return send_head(process, "" if "Authorization" in own else token, method, path, *headers, *promised)


def answer_of(connection: socket.socket) -> str:
    """One answer that says its length; the connection stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1]) if b"content-length" in head else 0  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(65536)
    return (head + b"\r\n\r\n" + body).decode("latin-1")


@pytest.mark.parametrize("way", ["one process", "workers", "uvicorn"])
def test_what_the_head_decides_is_answered_before_the_body_comes(
    start: Start, token: str, port: int, way: str
) -> None:
    process = started(start, port, way)
    for case in JUDGED_BY_THE_HEAD:
        with send_head_of(process, token, case) as connection:
            answer = answer_of(connection)
            assert answer.startswith(f"HTTP/1.1 {case[3]} "), (case, answer)
            closes = "\r\nconnection: close" in answer.lower()
            assert closes is (case[3] == 413 or "Transfer-Encoding: chunked" in case[2]), case
            if not closes:
                # The body that was promised, and the next request behind it.
                connection.sendall(b"x" * 20 + b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert answer_of(connection).startswith("HTTP/1.1 200 ")
    # Nobody who waits for the answer before the body comes holds up the end either.
    left = [send_head_of(process, token, case) for case in JUDGED_BY_THE_HEAD]
    # uvicorn by itself raises the signal again when it has stopped.
    assert process.end() == (-signal.SIGTERM if way == "uvicorn" else 0)
    for connection in left:
        connection.close()
    assert "Traceback" not in process.stderr


def test_who_is_refused_while_they_send_can_read_so(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0").until_ready()
    address = process.url.removeprefix("http://")
    body = bytes(50_000_000)
    for said, sent, status in (
        ({"Authorization": f"Bearer {token}"}, body, 413),
        ({"Authorization": "Bearer wrong"}, body, 401),
        ({"Authorization": f"Bearer {token}"}, (bytes(1_000_000) for _ in range(50)), 413),
    ):
        client = http.client.HTTPConnection(address, timeout=DEADLINE)
        with closing(client):
            # Sends all of it, and reads only then.
            client.request("POST", f"{DEMO}echo", sent, said | {"Content-Type": "application/json"})
            answer = client.getresponse()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert json.load(answer)["kind"] == "message"
    # What is no request is told so in the same way.
    with socket.create_connection(address.split(":"), DEADLINE) as connection:  # type: ignore[arg-type]
        connection.sendall(b"no request\r\n" + body)
        assert everything(connection).startswith("HTTP/1.1 400 ")
    # Who never ends is not heard for ever, be it that much comes or nothing.
    head = ("POST", f"{DEMO}echo", "Content-Type: application/json", "Content-Length: 9999999999")
    for part, pause in ((bytes(1_000_000), 0.0), (b"x", 2.5)):
        with send_head(process, token, *head) as connection:
            assert answer_of(connection).startswith("HTTP/1.1 413 ")
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                for _ in range(1_000):
                    time.sleep(pause)
                    connection.sendall(part)
    with send_head(process, token, *head) as connection:
        assert answer_of(connection).startswith("HTTP/1.1 413 ")
        began = time.monotonic()
        assert process.end() == 0
        assert time.monotonic() - began < DEADLINE / 2
    assert "Traceback" not in process.stderr


def test_a_body_that_comes_behind_its_head_is_read(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0", "--access-log").until_ready()
    echo = ("POST", f"{DEMO}echo", JSON)
    with send_head(process, token, *echo, PROMISED) as connection:
        for part in (b'"0123456789', b'012345"  '):
            time.sleep(0.2)
            connection.sendall(part)
        answer = answer_of(connection)
        assert answer.startswith("HTTP/1.1 200 ") and answer.endswith('"0123456789012345"'), answer
        # On the same connection, in chunks.
        head = "\r\n".join(
            (f"POST {DEMO}echo HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", JSON)
        )
        connection.sendall(f"{head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        time.sleep(0.2)
        connection.sendall(b"3\r\n[1,\r\n")
        time.sleep(0.2)
        connection.sendall(b"2\r\n2]\r\n0\r\n\r\n")
        assert answer_of(connection).endswith("\r\n\r\n[1,2]")
    with send_head(process, token, *echo, PROMISED):
        time.sleep(0.2)
    # Whoever goes away before the body has come is known to have gone.
    deadline = time.monotonic() + DEADLINE
    while f"POST {DEMO}echo 499" not in process.stderr:
        assert time.monotonic() < deadline, process.stderr
        time.sleep(0.05)
    assert process.end() == 0


def test_a_head_has_a_largest_size(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0").until_ready()
    host, port = process.url.removeprefix("http://").split(":")
    head = ("Host: x", f"Authorization: Bearer {token}", "Transfer-Encoding: chunked", "", "")
    chunked = "\r\n".join((f"POST {DEMO}echo HTTP/1.1", *head)).encode()
    for begin, more in (
        (b"GET /", b"x" * 65536),
        (b"GET / HTTP/1.1\r\nA: ", b"x" * 65536),
        (b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 10_000),
        (chunked + b"2\r\n[]\r\n0\r\n", b"A: b\r\n" * 10_000),
        (chunked + b"1;a=", b"x" * 65536),
    ):
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
            connection.sendall(begin)
            # Much less is taken than this, which may be in the buffers of the sockets.
            with pytest.raises(OSError):
                for _ in range(2_000):
                    connection.sendall(more)
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
        # Not a byte more than is read, so that the answer is not lost.
        connection.sendall(b"GET / HTTP/1.1\r\nA: " + b"x" * 262_144)
        assert answer_of(connection).startswith("HTTP/1.1 431 ")
    # A long one that is not too long.
    with process.client(token) as client:
        assert client.get("/v1/ws", headers={"X-Long": "x" * 60_000}).status_code == 200
        body = [1] * 300_000
        assert client.post("/v1/ws/w/app/demo/save", json=body).status_code == 400
    assert process.end() == 0
    assert "Traceback" not in process.stderr


def test_a_body_is_asked_for_only_where_it_is_wanted(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0").until_ready()
    head = ("POST", f"{DEMO}echo", JSON, "Content-Length: 3", "Expect: 100-continue")
    with send_head(process, "wrong", *head) as connection:
        answer = everything(connection)
        assert answer.startswith("HTTP/1.1 401 ") and "connection: close" in answer.lower()
    with send_head(process, token, *head) as connection:
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"[1]")
        assert answer_of(connection).endswith("\r\n\r\n[1]")
    assert process.end() == 0


@pytest.mark.parametrize("way", ["one process", "our gunicorn"])
def test_clients_that_take_nothing_do_not_hold_up_the_end(
    start: Start, token: str, port: int, way: str
) -> None:
    if way == "one process":
        process = start("mixkit", "serve", "--port", "0", "--grace-period", "600")
    else:
        own = ("-w", "1", "-c", "python:mix_server.gunicorn_conf", "--graceful-timeout", "600")
        process = gunicorn(start, port, *own)
    process.until_ready()
    with process.client(token) as client:
        for _ in range(4):
            records = [{"t": "x" * 2000} for _ in range(2000)]
            assert client.post("/v1/ws/w/app/demo/save?return=ids", json=records).status_code == 200
    query = "/v1/ws/w/app/demo/query?query=true"
    stalled = [
        send_head(process, token, "GET", query, "Accept: application/x-ndjson"),
        send_head(process, token, "GET", query),
        send_head(process, token, "GET", "/v1/ws/w/app/demo/live?query=true"),
    ]
    time.sleep(1)
    # Its answer is longer than what the kernel takes for it; it is being read all the time.
    reader = send_head(process, token, "GET", query)
    # Who has not been heard yet when it stops is not answered.
    begun = reader.recv(4).decode()
    with ThreadPoolExecutor(1) as pool:
        whole = pool.submit(everything, reader)
        assert process.end() == 0
        head, _, body = (begun + whole.result()).partition("\r\n\r\n")
    assert f"content-length: {len(body)}" in head
    for connection in stalled:
        connection.close()
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("way", ["one process", "uvicorn"])
def test_a_handshake_of_another_protocol_is_refused(start: Start, token: str, port: int, way: str) -> None:
    process = started(start, port, way)
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    for path in ("/v1/ws", "/nothing?password=hunter2"):
        connection = send_head(process, token, "GET", path, *upgrade, "Origin: http://127.0.0.1")
        with connection:
            assert not connection.recv(4096).startswith(b"HTTP/1.1 101")
    process.end()
    assert "Traceback" not in process.stderr
    assert "hunter2" not in process.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_live_query_hears_of_all_workers_and_does_not_hold_up_the_end(
    start: Start, token: str, workers: str
) -> None:
    process = start(
        "mixkit", "serve", "--port", "0", "--workers", workers, "--grace-period", "600"
    ).until_ready()
    live = {"url": "/v1/ws/w/app/demo/live", "params": {"query": "n >= 0"}}
    with process.client(token) as client, client.stream("GET", **live) as answer:
        lines = answer.iter_lines()
        data = (line for line in lines if line.startswith("data: "))
        assert '"entered":[]' in next(data)
        seen = ""
        for n in range(8):
            with process.client(token) as other:
                assert other.post("/v1/ws/w/app/demo/documents", json={"n": n}).status_code == 201
            while f'"n":{n},' not in seen:
                seen += next(data)
        started = time.monotonic()
        process.child.send_signal(signal.SIGTERM)
        assert list(lines)[-1:] in ([], [""])
        assert process.end() == 0
        assert time.monotonic() - started < DEADLINE
    assert "Traceback" not in process.stderr


def test_garbage_on_the_wire_does_no_harm(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0").until_ready()
    host, _, port = process.url.removeprefix("http://").partition(":")
    authorized = b"Authorization: Bearer " + token.encode() + b"\r\n"
    run = f"POST {DEMO}echo HTTP/1.1\r\nHost: x\r\n".encode() + authorized
    for raw in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET /v1/ws?\xff\xfe HTTP/1.1\r\nHost: x\r\n" + authorized + b"Connection: close\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        run + b"Content-Length: -5\r\nConnection: close\r\n\r\n",
        run + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
        run + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
        run + b"Content-Length: 99999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while data := connection.recv(65536):
                    answer += data
            except ConnectionResetError:
                pass
        assert b"Traceback" not in answer
        assert not answer.startswith(b"HTTP/1.1 5"), (raw, answer)
    with process.client(token) as client:
        assert client.post(f"{DEMO}echo", json=1).json() == 1
    assert process.end() == 0


def test_what_is_revoked_is_refused_by_every_worker(start: Start, token: str) -> None:
    process = start("mixkit", "serve", "--port", "0", "--workers", "4").until_ready()
    with process.client(token) as operator:
        all_serve(process, token, 4)

        def statuses(headers: dict[str, str]) -> set[int]:
            # A new connection each time, to get to all workers.
            return {
                httpx.get(f"{process.url}/v1/ws/w/app/demo", headers=headers).status_code for _ in range(40)
            }

        made = operator.post("/v1/ws/w/tokens", json={"name": "ci", "rights": [{"role": "runner"}]}).json()
        machine = {"Authorization": f"Bearer {made['token']}"}
        assert statuses(machine) == {200}
        assert statuses({}) == {401}
        granted = operator.post("/v1/ws/w/permissions", json={"subject": "anonymous", "role": "runner"})
        assert statuses({}) == {200}
        assert operator.delete(granted.headers["Location"]).status_code == 204
        assert statuses({}) == {401}
        assert operator.delete(f"/v1/ws/w/tokens/{made['id']}").status_code == 204
        assert statuses(machine) == {401}


def test_a_callback_is_done_once_by_all_workers_and_a_session_ends_in_all(
    start: Start, token: str, idp: Any
) -> None:
    process = start(
        "mixkit", "serve", "--port", "0", "--workers", "4", MIXKIT_SERVER_PROVIDER_PLAIN="true"
    ).until_ready()
    idp.pause = 0.1
    with process.client(token) as operator:
        all_serve(process, token, 4)
        assert operator.put("/v1/ws/w/auth-configs/idp", json=idp.config()).status_code == 201
        session = operator.post("/v1/auth/session").cookies["mixkit_session"]
        mine = {"mixkit_session": session}
        begun = httpx.get(f"{process.url}/v1/auth/w/idp/start", cookies=mine)
        back = idp.consent(begun.headers["location"])

        def one(_: int) -> int:
            # A connection each, and the cookie of this sign-in alone: the session's comes from own pages only.
            jar = {name: value for name, value in begun.cookies.items() if name != "mixkit_session"}
            path = f"{process.url}/v1/auth/w/idp/callback"
            return httpx.get(path, params=back, cookies=jar, timeout=DEADLINE).status_code

        with ThreadPoolExecutor(16) as pool:
            assert sorted(pool.map(one, range(32))) == [200] + [400] * 31
        assert idp.grants == {"authorization_code": 1}
        accounts = httpx.get(f"{process.url}/v1/ws/w/accounts", cookies=mine).json()["accounts"]
        assert [each["email"] for each in accounts] == ["ada@example.org"]

        def statuses() -> set[int]:
            return {httpx.get(f"{process.url}/v1/ws/w", cookies=mine).status_code for _ in range(40)}

        assert statuses() == {200}
        assert httpx.delete(f"{process.url}/v1/auth/session", cookies=mine).status_code == 204
        assert statuses() == {401}
        # What was acknowledged is there after the worst of ends.
        for pid in process.workers():
            os.kill(pid, signal.SIGKILL)
    process.end(signal.SIGKILL)
    again = start("mixkit", "serve", "--port", "0", MIXKIT_SERVER_PROVIDER_PLAIN="true").until_ready()
    with again.client(token) as operator:
        assert operator.get("/v1/ws/w/accounts").json()["accounts"][0]["connected"] is True
        assert httpx.get(f"{again.url}/v1/ws/w", cookies=mine).status_code == 401
