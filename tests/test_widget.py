"""Agents of packages as an app with widgets runs them: a text in, a text out, whatever happens."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_wasm.build import build as build_c

from mixkit import widget
from mixkit.environment import Env
from mixkit.kernel import Kernel
from mixkit.package.build import build, sign
from mixkit.package.package import Package
from mixkit.package.signature import make_key
from mixkit.value import Token
from mixkit.widget import WidgetHost

MIX = {
    "greet": """\
module greet(p: data)
  _meta_ { inParams: {"name": "string", "times?": "int"}, outParams: "{text: string, host: data, zone: data, motto: data}" }
  import env
  cell output = {
    text: "Hello, " + p.name, host: env.hostEnvironment(), zone: env.get("timezone"), motto: env.get("motto")
  }
module end
""",
    "fails": """\
module fails(p: data)
  def deeper : number -> number
  def deeper(n) = if (n == 0) fail("no more") else deeper(n - 1) + 1
  def inner(n) = deeper(n) + 1
  cell output = inner(1)
module end
""",
    "same": "module same(p: data)\n  cell output = p\nmodule end\n",
    "keeps": """\
module keeps(p: data)
  import array
  import db
  cell output = do {
    let _saved = db.saveOne(null, {_rmx_type: "seen", at: p.at});
    return db.head() |> db.filter(r -> r._rmx_type == "seen") |> db.toArray |> array.length
  }
module end
""",
    "idles": """\
module idles(p: data)
  import db
  initializer {
    pushIdleActions(appstate, [action { let _saved = db.saveOne(null, {_rmx_type: "seen", at: 0}) }])
  }
  cell output = "drawn"
module end
""",
    "fetches": """\
module fetches(p: data)
  import http
  cell output = http.get({}, "http://127.0.0.1:9/")
module end
""",
    "tells": """\
module tells(p: data)
  import env
  cell output = {token: env.token()}
module end
""",
    "spins": """\
module spins(p: data)
  def up : number -> number
  def up(n) = if (n < 0) n else up(n + 1)
  cell output = up(0)
module end
""",
    "calls": """\
module calls(p: data)
  import agent
  cell output = agent.localAgent(p.agent) |> agent.call({}, p.params)
module end
""",
}
C = """\
#include "mix.h"

MIX_MANIFEST({"version": 1, "name": "sums", "grants": {"ffis": []},
    "entries": {"sum": {"inParams": {"a": "int", "b": "int"}, "outParams": "int"}, "breaks": {}}})

static mix_value sum(mix_value params) {
    mix_out out = {0};
    mix_put_int(&out, mix_as_int(mix_get(params, "a"), 0) + mix_as_int(mix_get(params, "b"), 0));
    return mix_done(&out);
}
MIX_ENTRY("sum", sum)

__attribute__((noinline)) static void deep(void) { __builtin_trap(); }

static mix_value breaks(mix_value params) {
    deep();
    return params;
}
MIX_ENTRY("breaks", breaks)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package in source: app `board`, and app `other` with an agent whose name `board` has too."""
    folder = tmp_path_factory.mktemp("board")
    for name, text in MIX.items():
        (folder / f"{name}.mix").write_text(text)
    (folder / "sums.c").write_text(C)
    build_c(folder / "sums.c", folder / "sums.wasm")
    agents: dict[str, Any] = {name: {"code": f"{name}.mix"} for name in MIX}
    agents |= {name: {"code": "sums.wasm"} for name in ("sum", "breaks")}
    apps = {"board": {"agents": agents}, "other": {"agents": {"same": {"code": "same.mix"}}}}
    manifest = {"format": 3, "name": "board", "version": "1.0", "kind": "workspace", "apps": apps}
    grants = {"ffis": ["$core_*", "$db_*", "$http_*"]}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"grants": grants}))
    (folder / "runtime.json").write_text('{"board": {"motto": "onwards", "hostEnvironment": "Server"}}')
    return folder


@pytest.fixture(scope="module")
def package(folder: Path) -> bytes:
    with Kernel("all", environ={}) as kernel:
        return build(folder, compiled=kernel.compiled, said=kernel.said)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WidgetHost]:
    with WidgetHost(folder=tmp_path_factory.mktemp("databases"), env=Env(timezone="Europe/Berlin")) as host:
        yield host


def failed(answer: str) -> dict[str, Any]:
    """What an answer says of the failure, which is all in ASCII and on one line."""
    assert answer.startswith("error:"), answer[:200]
    assert answer.isascii() and "\n" not in answer
    said: dict[str, Any] = json.loads(answer.removeprefix("error:"))
    assert said.keys() == {"message", "code", "backtrace", "agent"}
    return said


def test_agents_in_mix_and_c_answer(host: WidgetHost, package: bytes, tmp_path: Path) -> None:
    answer = host.execute_agent(package, "greet", '{"name": "Zoë"}')
    assert json.loads(answer.removeprefix("ok:")) == {
        "text": "Hello, Zoë",
        "host": "Widget",
        "zone": "Europe/Berlin",
        "motto": "onwards",
    }
    assert host.execute_agent(package, "board/sum", '{"a": 40, "b": 2}') == "ok:42"
    path = tmp_path / "board.remix"
    path.write_bytes(package)
    assert host.execute_agent(str(path), "sum", b'{"a": 1, "b": 2}') == "ok:3"
    tagged = '{"a":[null,1.5],"b":{"_rmx_type":"{tag}case:some","_rmx_value":1}}'
    assert host.execute_agent(path, "other/same", tagged) == f"ok:{tagged}"


def test_what_an_agent_calls_is_of_its_app(host: WidgetHost, package: bytes) -> None:
    def call(agent: str) -> str:
        params = json.dumps({"agent": agent, "params": {"a": 1, "b": 2}})
        return host.execute_agent(package, "calls", params)

    assert call("sum") == 'ok:{"_rmx_type":"{tag}case:ok","_rmx_value":3}'
    assert "agents of other apps are not called here" in call("other/same")
    assert "no agent" in call("none")


def test_failures_have_a_backtrace(host: WidgetHost, package: bytes) -> None:
    said = failed(host.execute_agent(package, "fails"))
    assert said["agent"] == "fails"
    assert "no more" in said["message"]
    assert any("deeper" in frame and "fails.mix:3" in frame for frame in said["backtrace"])
    said = failed(host.execute_agent(package, "board/breaks"))
    assert (said["agent"], said["code"]) == ("board/breaks", "guest")
    assert len(said["backtrace"]) > 1 and all(" at 0x" in frame for frame in said["backtrace"])


def test_limits_end_a_run(package: bytes, folder: Path) -> None:
    with WidgetHost(overrides={"limits.wall_time": 0.5, "limits.params_size": 1000}) as host:
        said = failed(host.execute_agent(package, "spins"))
        assert said["code"] == "limit" and "wall_time" in said["message"]
        for params in (json.dumps({"a": "x" * 2000}), b'"' + b"x" * 998 + b'"'):
            said = failed(host.execute_agent(package, "board/same", params))
            assert said["code"] == "limit" and "params_size" in said["message"]
        assert host.execute_agent(package, "sum", '{"a": 1, "b": 1}') == "ok:2", "the host goes on"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ("", "json"),
        ("{", "json"),
        ("[" * 100_000, "json"),
        ('{"name": "a"} x', "json"),
        ('{"name": "\\ud800"}', "json"),
        ('{"name": "\ud800"}', "json"),
        (b'{"name": "\xff"}', "json"),
        ('{"name": NaN}', "json"),
        ('{"name": {"_rmx_type": "{tag}token", "value": "a"}}', "json"),
        ("null", "type"),
        ("[]", "type"),
        ('{"name": 5}', "type"),
        ('{"name": "a", "more": 1}', "type"),
        ("{}", "type"),
    ],
)
def test_hostile_parameters_are_refused(
    host: WidgetHost, package: bytes, params: str | bytes, code: str
) -> None:
    assert failed(host.execute_agent(package, "greet", params))["code"] == code


def test_agents_and_packages_that_are_not_there(host: WidgetHost, package: bytes, tmp_path: Path) -> None:
    said = failed(host.execute_agent(package, "gret"))
    assert said["code"] == "not_found" and "did you mean 'greet'" in said["message"]
    assert "more than one agent" in failed(host.execute_agent(package, "same"))["message"]
    for name in ("", "board/", "/greet", "none/greet", "../greet", "\0", "\ud800", "a" * 100_000):
        said = failed(host.execute_agent(package, name))
        assert said["code"] == "not_found" and len(json.dumps(said)) < 3000
    for path in (tmp_path / "none.remix", tmp_path, "a\0b"):
        assert failed(host.execute_agent(path, "greet"))["code"] in ("not_found", "package")
    for data in (b"", b"PK", package[:-30], package[30:]):
        assert failed(host.execute_agent(data, "greet"))["code"] == "package"
    assert failed(host.execute_agent(None, "greet"))["code"] == "internal"  # type: ignore[arg-type]


def test_the_network_is_not_there(host: WidgetHost, package: bytes) -> None:
    said = failed(host.execute_agent(package, "fetches"))
    assert "$http_" in said["message"]
    assert host.kernel.limits.outgoing_bytes == 0


def test_a_secret_is_no_answer(package: bytes) -> None:
    with WidgetHost(env=Env(token=Token("hush hush"))) as host:
        said = host.execute_agent(package, "tells")
    assert failed(said)["code"] == "json" and "hush" not in said


def test_databases_are_kept_by_name(package: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "of" / "widgets"
    with WidgetHost(folder=folder) as host:
        assert host.execute_agent(package, "keeps", '{"at": 1}') == "ok:1"
        assert host.execute_agent(package, "keeps", '{"at": 1}', database="home") == "ok:1"
        assert host.execute_agent(package, "idles") == 'ok:"drawn"'
        assert host.execute_agent(package, "keeps", '{"at": 2}') == "ok:3", "put off, and done"
        for name in ("..", "a/b", "", ".hidden"):
            said = failed(host.execute_agent(package, "keeps", '{"at": 1}', database=name))
            assert "database names have" in said["message"]
    assert sorted(path.name for path in folder.iterdir()) == ["board", "home"]
    with WidgetHost(folder=folder) as host:
        assert host.execute_agent(package, "keeps", '{"at": 3}', database="home") == "ok:2"
    (tmp_path / "file").touch()
    with WidgetHost(folder=tmp_path / "file") as host:
        assert failed(host.execute_agent(package, "keeps", '{"at": 1}'))["code"] == "storage"
    with WidgetHost() as host:
        assert "database" in failed(host.execute_agent(package, "keeps", '{"at": 3}'))["message"]
        said = failed(host.execute_agent(package, "keeps", '{"at": 3}', database="home"))
        assert "without a folder" in said["message"]


def test_who_must_have_signed(package: bytes, tmp_path: Path) -> None:
    key, public = make_key()
    signed = sign(Package.open(package), key)
    params = '{"a": 1, "b": 1}'
    with WidgetHost(trusted=[public]) as host:
        assert host.execute_agent(signed, "sum", params) == "ok:2"
        assert "not signed" in failed(host.execute_agent(package, "sum", params))["message"]
        other = sign(Package.open(package), make_key()[0])
        assert failed(host.execute_agent(other, "sum", params))["code"] == "package"


def test_calls_from_threads_and_from_an_event_loop(host: WidgetHost, package: bytes) -> None:
    found: list[str] = []

    def work(n: int) -> None:
        found.append(host.execute_agent(package, "sum", f'{{"a": {n}, "b": 0}}'))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"ok:{n}" for n in range(6)]

    async def inside() -> str:
        return host.execute_agent(package, "idles")

    assert asyncio.run(inside()) == 'ok:"drawn"'


def test_one_host_is_shared_by_all_who_have_none(package: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert widget.execute_agent(package, "sum", '{"a": 1, "b": 1}') == "ok:2"
    assert widget._host() is widget._host()
    assert "database" in failed(widget.execute_agent(package, "keeps", '{"at": 1}'))["message"]
    monkeypatch.setattr(widget, "_made", [])
    monkeypatch.setenv("MIXKIT_LIMITS_WALL_TIEM", "1")
    assert failed(widget.execute_agent(package, "sum"))["code"] == "profile", "a host that cannot be made"


def test_a_host_learns_which_widgets_there_are(folder: Path, tmp_path: Path, host: WidgetHost) -> None:
    widgets = {
        "same": {"sizes": ["small"]},
        "sun": {"agent": "greet", "sizes": ["4x2", "large"], "database": "sky", "tags": ["wetter", "Sonne"]},
    }
    offering = tmp_path / "offering"
    shutil.copytree(folder, offering)
    manifest = json.loads((offering / "manifest.json").read_text())
    manifest["apps"]["board"]["widgets"] = widgets
    (offering / "manifest.json").write_text(json.dumps(manifest))
    with Kernel("all", environ={}) as kernel:
        package = build(offering, compiled=kernel.compiled, said=kernel.said)
    answer = host.widgets(package)
    assert answer.startswith("ok:")
    same, sun = json.loads(answer.removeprefix("ok:"))
    assert sun == {
        "app": "board",
        "name": "sun",
        "agent": "board/greet",
        "description": "",
        "sizes": ["4x2", "large"],
        "database": "sky",
        "tags": ["wetter", "Sonne"],
    }
    assert (same["agent"], same["database"], same["tags"]) == ("board/same", "board", [])
    drawn = host.execute_agent(package, sun["agent"], '{"name": "x"}', database=sun["database"])
    assert drawn.startswith("ok:")
    assert failed(host.widgets(b"none"))["code"] == "package"
