"""Modules of Mix's library that stand on FFIs, against servers and files that are there."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from websockets.sync.server import serve

from mixkit.environment import Env
from mixkit.errors import RunError
from mixkit.grants import ALL
from mixkit.job import Agents, Target
from mixkit.kernel import Kernel
from mixkit.state import State
from mixkit.storage import Place
from mixkit.value import Case, Token

Run: TypeAlias = Callable[..., Any]
LIBRARY = [
    "array",
    "binary",
    "db",
    "stream",
    "string",
    "http",
    "file",
    "secrets",
    "websocket",
    "mqtt",
    "messaging",
    "duckdb",
    "wasm",
    "env",
    "crypto",
    "agent",
    "logging",
]
ADD = bytes.fromhex("0061736d0100000001070160027f7f017f030201000707010361646400000a09010700200020016a0b")
"""`(module (func (export "add") (param i32 i32) (result i32) …))`"""


class Echo(BaseHTTPRequestHandler):
    """Answers what it was asked, and as an agent what it was given."""

    def do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/agent/broken"):
            self._send(500, b'{"error": "broken"}')
        elif self.path.startswith("/agent/"):
            answer = {"agent": self.path, "params": json.loads(body)}
            if "Authorization" in self.headers:
                answer["as"] = self.headers["Authorization"]
            self._send(200, json.dumps(answer).encode())
        else:
            self._echo(body)

    def _echo(self, body: bytes) -> None:
        asked = {
            "method": self.command,
            "path": self.path,
            "type": self.headers.get("Content-Type"),
            "x": self.headers.get("X-A"),
        }
        self._send(
            404 if self.path == "/none" else 200,
            json.dumps(asked | {"body": body.decode("latin-1")}).encode(),
        )

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    overrides = {"settings.http.dangerous_http_mode": True, "settings.ws.dangerous_ws_mode": True}
    key = base64.b64encode(bytes(32)).decode()
    with Kernel("all", environ={"MIXKIT_SECRETS_KEY": key}, overrides=overrides) as kernel:
        yield kernel


@pytest.fixture
def run(kernel: Kernel, tmp_path: Path) -> Run:
    """Runs an expression, with the modules that it names."""

    def one(text: str, params: Any = None, head: str = "", **options: Any) -> Any:
        path = tmp_path / "main.mix"
        used = "\n".join(f"import {name}" for name in LIBRARY if f"{name}." in text + head)
        path.write_text(f"module main(p: data)\n{used}\n{head}\ncell output = {text}\nmodule end\n")
        options.setdefault(
            "env", Env(workspace="office", app="notes", user="ada", extra={"limit": "5", "n": 2})
        )
        place = Place("office", "notes", tmp_path / "notes")
        return kernel.run_sync(kernel.load(path), "main", params, place=place, **options).value

    return one


def test_http(run: Run, url: str) -> None:
    found = run(
        """[
  http.get({params: {q: "a b"}, headers: {"X-A": "1"}}, p + "/x"), http.getBinary({}, p + "/x"), http.post({}, p, {a: [1]}),
  http.put({}, p, "text"), http.patchBinary({}, p, binary.ofHex("00ff")), http.delete({}, p + "/none"), http.request({url: p, method: "PUT", body: null}),
  http.postBinary({}, p, null), http.putBinary({}, p, "b"), http.patch({}, p, 5), http.deleteBinary({}, p)
]""",
        url,
    )
    bodies = [json.loads(answer["body"]) for answer in found]
    assert (
        bodies[0] == {"method": "GET", "path": "/x?q=a+b", "type": None, "x": "1", "body": ""}
        or bodies[0]["path"] == "/x?q=a%20b"
    )
    assert [type(answer["body"]) for answer in found] == [
        str,
        bytes,
        str,
        str,
        bytes,
        str,
        str,
        bytes,
        bytes,
        str,
        bytes,
    ]
    assert json.loads(bodies[2]["body"]) == {"a": [1]} and "json" in bodies[2]["type"]
    assert (bodies[3]["method"], bodies[3]["body"]) == ("PUT", "text")
    assert (bodies[4]["method"], bodies[4]["body"]) == ("PATCH", "\x00\xff")
    assert (found[5]["status"], bodies[5]["method"]) == (404, "DELETE")
    assert [body["method"] for body in bodies[6:]] == ["PUT", "POST", "PUT", "PATCH", "DELETE"]
    assert bodies[9]["body"] == "5"
    assert list(run('http.get({}, "http://127.0.0.1:1/")')) == ["error"]


def test_urls(run: Run) -> None:
    from urllib.parse import quote

    for text in ("", "a", "-_.~", "ä&=?/ %+", "日本", "😀", "x" * 5000 + "é" * 5000):
        assert run("http.urlComponentEscape(p)", text) == quote(text, safe="")


def test_files(run: Run) -> None:
    assert run(
        """do {
  let made = file.create({contentType: "text/plain"}, "/a/b.txt", "é1");
  let again = file.create({}, "/a/b.txt", "x") |> (global.error(_) -> "kept" | _ -> "lost");
  let bytes = file.create({}, "/a/c", binary.ofHex("ff"));
  let copied = file.copy({}, "/a/c", "/a/d");
  let renamed = file.rename({}, "/a/d", "/a/e");
  let listed = file.list({}, "/a") |> (global.ok(l) -> array.map(.path, l.files) | _ -> []);
  let deleted = file.delete("/a/e");
  return [made |> (global.ok(m) -> m.path | _ -> ""), again, file.readString("/a/b.txt"), file.readBinary("/a/c"), listed, deleted,
    file.readString("/a/c") |> (global.error(_) -> "no text" | _ -> "text"), file.get("/a/c") |> (global.ok(f) -> f.metadata.size | _ -> 0),
    file.props({properties: {who: "Ann"}}, "/a/c") |> (global.ok(m) -> m.properties | _ -> {}),
    file.getSigned(60, "/a/c") |> (global.ok(f) -> string.contains("?", f.url) | _ -> false)]
}"""
    ) == [
        "/a/b.txt", "kept", Case("ok", "é1"), Case("ok", b"\xff"), ["/a/b.txt", "/a/c", "/a/e"], Case("ok", None), "no text", 1, {"who": "Ann"}, True,
    ]  # fmt: skip


def test_a_long_file(run: Run) -> None:
    text = "é" * 3_000_000
    stored = run(
        'file.create({}, "/long", p) |> (global.ok(_) -> file.readString("/long") | global.error(e) -> error(e))',
        text,
    )
    assert stored == Case("ok", text)


def test_secrets(run: Run) -> None:
    assert run(
        """[
  secrets.set("stripe", "sk_live"), secrets.get("stripe") |> (global.ok(t) -> crypto.hmacSha256(t, "x") == crypto.hmacSha256("sk_live", "x") | _ -> false),
  secrets.list() |> (global.ok(l) -> array.map(.name, l) | _ -> []), secrets.delete("stripe"), secrets.delete("stripe"), secrets.get("stripe") |> (global.error(_) -> 0 | _ -> 1)
]"""
    ) == [Case("ok", None), True, ["stripe"], Case("ok", True), Case("ok", False), 0]


def test_websocket(run: Run) -> None:
    with serve(lambda socket: [socket.send(message) for message in socket], "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            found = run(
                """websocket.connect({}, p) |> (global.ok(c) -> do {
  let _sent = [websocket.send(c.socket, "hello"), websocket.send(c.socket, binary.ofHex("01"))];
  let got = [websocket.receive(5000, c.socket), websocket.receive(5000, c.socket), websocket.receive(1, c.socket)];
  let _closed = websocket.close(c.socket);
  return got
} | global.error(e) -> fail(e))""",
                f"ws://127.0.0.1:{server.socket.getsockname()[1]}/",
            )
        finally:
            server.shutdown()
            thread.join()
    assert found == [Case("message", "hello"), Case("message", b"\x01"), Case("timeout")]


def test_messages(run: Run) -> None:
    found = run("""do {
  let s = mqtt.subscribe("a/+") |> (global.ok(s) -> s | global.error(e) -> fail(e));
  let _sent = [mqtt.publish("a/a", "1"), mqtt.publishRetained("a/b", "2"), messaging.set("a/c", {n: [3]}), messaging.send("a/d", null)];
  let got = array.map(_ -> mqtt.next(5000, s) |> (mqtt.message(m) -> m.payload | _ -> "none"), [1, 2, 3, 4]);
  let _end = mqtt.unsubscribe(s);
  return [got, messaging.get("a/c"), messaging.get("$app/none")?, stream.first(messaging.subscribe("a/b"))]
}""")
    assert found == [["1", "2", '{"n":[3]}', "null"], {"n": [3]}, False, 2]


def test_a_query_that_is_followed(run: Run) -> None:
    found = run("""do {
  let rows = messaging.subscribeToQuery(db.head() |> db.map(r -> r.n) |> db.sort(null));
  let before = stream.first(rows);
  let _saved = db.saveOneStm(null, {n: 1});
  return [before, stream.first(rows)]
}""")
    assert found == [[], [1]]


def test_environment(run: Run) -> None:
    assert run(
        '[env.user(), env.app(), env.workspace(), env.getNumber("limit"), env.getNumber("n"), env.getNumber("user")?, '
        'env.get("limit"), env.get("x")?, env.getWithDefault(1, "x"), env.hostEnvironment(), env.isAgent(), datacase(env.whole())]'
    ) == ["ada", "notes", "office", 5, 2, False, "5", False, 1, "Server", True, "object"]


def test_wasm(run: Run) -> None:
    assert run(
        """wasm.load({}, p) |> (global.ok(m) -> do {
  let sum = [wasm.fun2(m.module, "add", 2, 3), wasm.call(m.module, "add", [4, 5])];
  let none = wasm.fun1(m.module, "none", 1) |> (global.error(_) -> "none" | _ -> "one");
  let _end = wasm.shutdown(m.module);
  return [sum, none]
} | global.error(e) -> fail(e))""",
        ADD,
    ) == [[Case("ok", 5), Case("ok", 9)], "none"]


def test_duckdb(run: Run) -> None:
    assert run(
        """do {
  let _made = duckdb.execute("mine", null, "create table t (n int)");
  let count = duckdb.execute("mine", null, "insert into t select range from range(3000)");
  let part = duckdb.query("mine", null, "select n from t order by n") |> (global.ok(a) -> a | global.error(e) -> fail(e));
  let more = duckdb.next(part.next) |> (global.ok(r) -> array.length(r) > 0 | _ -> false);
  let _closed = duckdb.close(part.next);
  return [count, more, duckdb.rows("mine", {least: 2998}, "select n from t where n >= $least order by n"), duckdb.rows(null, null, "select") |> (global.error(_) -> 0 | _ -> 1)]
}"""
    ) == [Case("ok", 3000), True, Case("ok", [{"n": 2998}, {"n": 2999}]), 0]


def test_agents(run: Run, kernel: Kernel, url: str, tmp_path: Path) -> None:
    (tmp_path / "double.mix").write_text(
        'module double(p: data)\n  import db\n  cell output = let _saved = db.saveOneStm(null, {n: 1}); if (p.n?) p.n * 2 else fail("no n")\nmodule end\n'
    )
    program = kernel.load(tmp_path / "double.mix")

    async def resolve(state: State, name: str) -> Target:
        return Target(program, "double", ALL, place=state.place)

    text = """[
  agent.localAgent("double") |> agent.call({}, {n: 4}),
  agent.localAgent("double") |> agent.call({onceKey: "k"}, {n: 5}), agent.localAgent("double") |> agent.call({onceKey: "k"}, {n: 6}),
  agent.localAgent("double") |> agent.call({onceKey: "l"}, {n: 7}), agent.localAgent("double") |> agent.call({onceKey: "m"}, {}) |> (global.error(_) -> "failed" | _ -> ""),
  agent.localAgent("double") |> agent.call({onceKey: "m"}, {n: 1}), db.head() |> db.filter(r -> r.n == 1) |> db.count,
  agent.remoteAgent(p, "greet x") |> agent.call({}, {a: 1}), agent.remoteAgent(p, "greet") |> agent.withConfig({timeout: 5}) |> agent.call({onceKey: "k"}, null),
  agent.remoteAgent(p, "broken") |> agent.call({onceKey: "k"}, null), agent.remoteAgent("http://127.0.0.1:1", "x") |> agent.call({}, null) |> (global.error(_) -> "none" | _ -> "")
]"""
    found = run(text, url, agents=Agents(resolve))
    assert found == [
        Case("ok", 8), Case("ok", 10), Case("ok", 10), Case("ok", 14), "failed", Case("ok", 2), 5,
        Case("ok", {"agent": "/agent/greet%20x", "params": {"a": 1}}), Case("ok", {"agent": "/agent/greet", "params": None}),
        Case("error", "the agent's server answered 500"), "none",
    ]  # fmt: skip


def test_agents_as_who_asks(run: Run, kernel: Kernel, url: str, tmp_path: Path) -> None:
    (tmp_path / "who.mix").write_text(
        'module who(p: data)\n  import env\n  cell output = [withDefault("nobody", env.user()), p]\nmodule end\n'
    )
    program = kernel.load(tmp_path / "who.mix")

    async def resolve(state: State, name: str) -> Target:
        return Target(program, "who", ALL, place=state.place)

    def call(agent: str, user: str | None, params: Any, options: str = "{}") -> Any:
        token = None if user is None else Token(f"secret of {user}")
        text = f"{agent} |> agent.asUser |> agent.call({options}, p.with)"
        env = Env(user=user, token=token)
        return run(text, {"url": url, "with": params}, agents=Agents(resolve), env=env)

    local, remote = 'agent.localAgent("who")', 'agent.remoteAgent(p.url, "greet")'
    answer = {"agent": "/agent/greet", "params": 1}
    assert call(remote, "ada", 1) == Case("ok", answer | {"as": "Bearer secret of ada"})
    configured = remote + ' |> agent.withConfig({oauthToken: "of somebody else"})'
    assert call(configured, "ada", 1) == Case("ok", answer | {"as": "Bearer secret of ada"})
    refused = Case("error", "the agent is to be called as a user, and nobody's credential is here")
    assert call(remote, None, 1) == refused
    assert call(configured, None, 1) == refused, "and not as somebody else"
    assert call(local, "ada", 1) == Case("ok", ["ada", 1])
    assert call(local, None, 1) == Case("ok", ["nobody", 1])
    for agent, of in (
        (local, lambda user: [user, 1]),
        (remote, lambda user: answer | {"as": f"Bearer secret of {user}"}),
    ):
        for params in (1, 2):
            for user in ("ada", "ben"):
                assert call(agent, user, params, '{onceKey: "k"}') == Case("ok", of(user)), (
                    "kept for each user"
                )


def test_log(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        run(
            '[logging.debug("d"), logging.info("i"), logging.warning("w"), logging.error("e"), logging.log("info", "x")]'
        )
        == [None] * 5
    )
    with pytest.raises(RunError, match="level"):
        run('logging.log("loud", "x")')


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ('http.get({}, "https://example.com")', "http"), ("db.count(db.head())", "db"), ('file.get("/a")', "files"), ('secrets.get("a")', "secrets"),
        ('secrets.tokenOfString("a")', "secrets"), ('crypto.md5("a")', "crypto"), ('websocket.connect({}, "x")', "ws"), ('mqtt.publish("a", "b")', "mqtt"),
        ('messaging.send("a", "b")', "mqtt"), ('duckdb.rows(null, null, "select 1")', "duckdb"), ('wasm.load({}, "x")', "wasm"),
    ],
)  # fmt: skip
def test_a_group_that_is_not_there(tmp_path: Path, text: str, group: str) -> None:
    profile = tmp_path / "mix.toml"
    profile.write_text('plugins = ["wasmtime", "rt", "lang"]\nengines = ["wasmtime"]\n')
    (tmp_path / "main.mix").write_text(
        f"import {text.partition('.')[0]}\nimport db\ncell output = {text}\n".replace(
            "import db\nimport db", "import db"
        )
    )
    with (
        Kernel(profile, environ={}) as kernel,
        pytest.raises(RunError, match=f"plugin '{group}', which brings it"),
    ):
        kernel.run_sync(kernel.load(tmp_path / "main.mix"), "main", None)
