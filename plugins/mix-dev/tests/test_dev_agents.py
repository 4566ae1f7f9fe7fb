"""Agents that tests call: whatever they are written in, with the powers and limits of their package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mixkit.cli import main

MANIFEST = {
    "format": 3, "name": "shop", "version": "1", "kind": "workspace",
    "apps": {
        "stock": {"agents": {"add": {"code": "add.mix"}, "twice": {"code": "twice.mix"}, "say": {"code": "say.mix"}}},
        "till": {"agents": {"say": {"code": "say.mix"}}},
    },
    "grants": {"ffis": ["$db_*", "$core_agent_call", "$core_env"]},
    "limits": {"wall_time": 5},
}  # fmt: skip
SOURCES = {
    "add.mix": """module add(p: data)
  _meta_ {inParams: {n: "number"}, outParams: {count: "number"}}
  import db
  initializer { db.saveOneStm(null, {n: p.n}) }
  cell output = {count: db.length(db.head())}
module end
""",
    "twice.mix": """module twice(p: data)
  import agent
  def once(name) = agent.localAgent(name) |> agent.call({}, {n: 1})
  cell output = [once("add"), once("add"), once("till/say")]
module end
""",
    "say.mix": """module say(p: data)
  import env
  cell output = env.app()
module end
""",
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def failures(folder: Path, tests: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """The exit code, and the tests that fail, with why."""
    file = folder / "tests" / "shop_test.mix"
    file.write_text(
        "module shop_test\n  import agent\n  import assert\n"
        "  def call(name, params) = agent.localAgent(name) |> agent.call({}, params)\n"
        + tests
        + "module end\n"
    )
    code = main(["test", "--json"])
    found = json.loads(capfd.readouterr().out)
    return code, {test["name"]: test for test in found["tests"] if not test["ok"]}


def test_agents_run_as_their_package_says(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In the folder above, with a database for each app and test; named with their app where that is needed."""
    code, failed = failures(
        shop,
        """
  test "one" { assert.equal(ok({count: 0}), call("add", {n: 1})) }
  test "empty again" { assert.equal(ok({count: 0}), call("add", {n: 1})) }
  test "by its app" { assert.equal(ok("till"), call("till/say", {})) }
""",
        capfd,
    )
    assert (code, failed) == (0, {})


def test_what_is_refused_is_refused_in_tests(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, failed = failures(
        shop,
        """
  test "wrong" { assert.equal(ok({count: 0}), call("add", {m: 1})) }
  test "two of that name" { assert.equal(ok(1), call("say", {})) }
  test "none" { assert.equal(ok(1), call("ad", {})) }
""",
        capfd,
    )
    assert code == 1
    why = {name: test["found"][0]["_rmx_value"] for name, test in failed.items()}
    assert "n" in why["wrong"] and "more than one agent" in why["two of that name"]
    assert "did you mean" in why["none"]


def test_an_agent_reaches_those_of_its_app(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, failed = failures(
        shop,
        """
  test "others" {
    switch (call("twice", {})) {
      case global.ok([global.ok({count: 0}), global.ok({count: 1}), global.error(_)]): assert.that(true)
      case other: assert.equal("two and an error", other)
    }
  }
""",
        capfd,
    )
    assert (code, failed) == (0, {})


def test_without_a_package_there_are_no_agents(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (shop / "manifest.json").unlink()
    code, failed = failures(shop, '  test "one" { assert.equal(ok(1), call("add", {n: 1})) }\n', capfd)
    assert code == 1 and "without other agents" in failed["one"]["found"][0]["_rmx_value"]


def test_what_differs_is_shown_as_mix_has_it(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (shop / "shop_test.mix").write_text("""module shop_test
  import array
  import assert

  test "short" { assert.equal(ok({count: 1}), ok([])) }
  test "long" {
    let many = array.initialize(20, (n -> {number: n}));
    assert.equal(ok({all: many}), ok({all: [{number: 7}] + many}))
  }
module end
""")
    assert main(["test"]) == 1
    told = capfd.readouterr().err
    assert 'expected ok({"count":1})\n  found    ok([])\n' in told
    assert '+  {\n  +   "number": 7\n  +  },\n' in told and "_rmx" not in told
