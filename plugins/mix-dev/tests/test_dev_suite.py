"""`mixkit test`: what tests see, how they fail, what is told of them, generated values, lines, recordings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from mix_dev.suite.drawn import Draws, smallest
from mix_lang.documentation import of_library

from mixkit.cli import main

Tested: TypeAlias = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Tested:
    """Writes files and runs `mixkit test --json`; answers the exit code and the document."""
    monkeypatch.chdir(tmp_path)

    def run(files: dict[str, str], *options: str) -> tuple[int, dict[str, Any]]:
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        code = main(["test", *options, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


def outcomes(document: dict[str, Any]) -> dict[str, bool]:
    return {test["name"]: test["ok"] for test in document["tests"]}


def test_what_tests_see(tested: Tested) -> None:
    text = """module shop(p: data)
  import assert
  case paid
  private def twice(n) = n * 2
  var cell count = 1
  cell double = twice(count)
  cell broken = p.missing
  cell output = broken
  on count do { seen = count }
  var cell seen = 0
  test "functions" { assert.equal(6, twice(3)) }
  test "cells" { count = 4; assert.equal(8, double); assert.equal(4, count) }
  test "as at first" { assert.equal(2, double) }
  test "cells that cannot be" { assert.equal(1, broken) }
  test "a return" { if (twice(1) == 2) { return null; }; fail("not reached") }
  test "cases and parameters" { assert.equal(paid, self.paid); assert.equal({}, p) }
module end
"""
    code, found = tested({"shop.mix": text})
    assert code == 1
    assert [name for name, ok in outcomes(found).items() if not ok] == ["cells that cannot be"]


def test_agents_are_tested_from_outside(tested: Tested) -> None:
    agent = 'module greet(p: data)\n  cell output = {text: "Hello " + p.name}\nmodule end\n'
    other = """module greet_test()
  import greet
  import assert
  test "greets" { assert.equal({text: "Hello Ada"}, contents(greet({name: "Ada"}).output)) }
module end
"""
    code, found = tested({"greet.mix": agent, "greet_test.mix": other})
    assert (code, outcomes(found)) == (0, {"greets": True})


def test_what_is_told_of_failures(tested: Tested) -> None:
    text = """module m()
  import assert
  def half(n) = n / 2
  test "differs" { assert.equal([1, 2], [1, 3]) }
  test "undefined" { assert.equal(some(1), {a: 1}.b) }
  test "inside" { half("x") }
  test "says" { debug("first"); fail("enough") }
  test "never ends" { while (true) { let x = 1 } }
module end
"""
    code, found = tested({"m.mix": text}, "--timeout", "0.3")
    assert code == 1
    differs, undefined, inside, says, never = found["tests"]
    assert (differs["expected"], differs["found"], differs["location"]) == (
        [[1, 2]],
        [[1, 3]],
        ["m.mix", 4, 20],
    )
    assert undefined["found"] == []
    assert inside["location"][:2] == ["m.mix", 3]
    assert (says["message"], says["output"]) == ("enough", ["first"])
    assert "wall_time" in never["message"]


def test_paths_filters_and_errors(tested: Tested) -> None:
    good = 'module a()\n  test "One thing" { null }\n  test "other" { fail("no") }\nmodule end\n'
    files = {
        "a.mix": good,
        "sub/b.mix": 'module b()\n  test "broken" { nothing }\nmodule end\n',
        "c.mix": "module c()\nmodule end\n",
    }
    code, found = tested(files)
    assert (code, found["ok"]) == (2, False)
    assert [item["code"] for item in found["diagnostics"]] == ["M0301"]
    assert outcomes(found) == {"One thing": True, "other": False}
    assert tested({}, "a.mix")[0] == 1
    code, found = tested({}, "a.mix::One thing")
    assert (code, outcomes(found)) == (0, {"One thing": True})
    code, found = tested({}, "a.mix", "-k", "one", "-k", "THING")
    assert (code, outcomes(found)) == (0, {"One thing": True})
    code, found = tested({}, "a.mix", "-k", "neither")
    assert (code, found["tests"]) == (2, [])
    failing = good.replace("module a", "module d").replace("null", 'fail("x")')
    assert outcomes(tested({"d.mix": failing}, "d.mix", "-x")[1]) == {"One thing": False}


def test_plain_lines(tested: Tested, capfd: pytest.CaptureFixture[str]) -> None:
    text = 'module a()\n  import assert\n  test "x" { assert.equal(1, 2) }\n  test "y" { null }\nmodule end\n'
    tested({"a.mix": text})
    assert main(["test"]) == 1
    out, err = capfd.readouterr()
    assert [line.split("\t")[:2] for line in out.splitlines()] == [["FAILED", "a.mix::x"], ["ok", "a.mix::y"]]
    assert "expected 1\n  found    2\n" in err
    assert main(["test", "--list"]) == 0
    assert capfd.readouterr().out == "a.mix::x\t3\na.mix::y\t4\n"


def test_generated_values_shrink(tested: Tested) -> None:
    text = """module m()
  import assert
  import array
  import string
  import generated
  test "number" { assert.that(generated.int(-1000, 1000000) < 4321) }
  test "negative" { assert.that(generated.int(-1000, 1000) > -17) }
  test "array" { let a = generated.array(20, (() -> generated.int(0, 9))); assert.equal(a, array.rev(a)) }
  test "text" { assert.that(string.length(generated.string(20)) < 3) }
  test "one of" { assert.that(generated.oneOf(["a", "b"]) == "a" || generated.bool()) }
  test "holds" { let f = generated.float(2, 3); assert.that(f >= 2 && f <= 3) }
module end
"""
    _, found = tested({"m.mix": text}, "--seed", "5")
    values = {test["name"]: test.get("values") for test in found["tests"]}
    array = values.pop("array")
    assert values == {
        "number": [4321], "negative": [-17], "text": ["aaa"], "one of": ["b", False], "holds": None,
    }  # fmt: skip
    assert sorted(array[0]) == [0, 1]
    assert found["tests"][-1]["runs"] == 100
    assert tested({}, "--seed", "5", "--runs", "7", "-k", "holds")[1]["tests"][0]["runs"] == 7


def test_examples_of_generated_values(tested: Tested) -> None:
    manual = of_library("generated")
    examples = [example for each in (manual.module, *manual.members.values()) for example in each.examples]
    lines = [
        f'  test "{number}" {{ assert.equal({value}, ({text})) }}'
        for number, (text, value) in enumerate(examples)
    ]
    text = "\n".join(["module m()", "  import assert", "  import generated", *lines, "module end\n"])
    code, found = tested({"m.mix": text})
    assert code == 0, json.dumps(found)
    assert len(found["tests"]) == len(lines) > 5


def test_the_same_seed_draws_the_same() -> None:
    def drawn(seed: int) -> list[int]:
        draws = Draws(Random(seed))
        return [draws.draw(1_000_000) for _ in range(20)]

    assert drawn(3) == drawn(3) != drawn(4)


def test_draws_are_made_smaller_within_bounds() -> None:
    runs = 0

    def fails(choices: tuple[int, ...]) -> tuple[int, ...] | None:
        nonlocal runs
        runs += 1
        return choices if sum(choices) >= 10 else None

    assert smallest((500, 3, 99, 12), fails) == (10,)
    assert runs <= 400
    assert smallest((1,) * 5000, fails, 50)
    assert runs <= 451


def test_lines_that_were_run(tested: Tested) -> None:
    text = """module m(p: data)
  import assert
  def early(n) = n + 1
  def table = early(3)
  def size(n) =
    if (n > 10)
      "large"
    else if (n > 5)
      "middle"
    else
      "small"
  def loop(n) {
    var sum = 0
    for (var i = 0; i < n; i = i + 1) {
      sum = sum + i
    }
    if (n > 100) {
      fail("never")
    }
    return sum
  }
  def unused(x) = x
  test "sizes" { assert.equal("middle", size(7)); assert.equal(6, loop(4)) }
module end
"""
    code, found = tested({"m.mix": text}, "--coverage")
    assert code == 0, json.dumps(found)
    assert found["coverage"]["m.mix"]["missing"] == [7, 11, 18, 22]


RECORDED = """module m()
  foreign def now : () -> number = "$core_now"
  foreign def random : number -> data = "$core_random"
  foreign def sleep : number -> data = "$core_sleep"
  test "answers" {
    let _ = sleep(1)
    let _ = random(4)
    fail("" + now())
  }
  test "errors" { random(-1) }
module end
"""


def test_ffis_are_recorded_and_replayed(tested: Tested) -> None:
    _, first = tested({"m.mix": RECORDED}, "--record", "calls.json")
    messages = [test["message"] for test in first["tests"]]
    _, again = tested({}, "--replay", "calls.json")
    assert [test["message"] for test in again["tests"]] == messages
    _, other = tested({"m.mix": RECORDED.replace("random(4)", "random(5)")}, "--replay", "calls.json")
    wanted = "no call of $core_random with these arguments is left in the recording"
    assert wanted in other["tests"][0]["message"]
    Path("calls.json").write_text('{"tests": []}')
    code, refused = tested({}, "--replay", "calls.json")
    assert code == 1
    assert "is no recording" in json.dumps(refused)


def test_databases_are_empty_in_each_test(tested: Tested) -> None:
    body = 'let _ = db.saveOne(null, {_rmx_type: "note"}); assert.equal(1, db.length(db.head()))'
    tests = "".join(f'  test "{name}" {{ {body} }}\n' for name in "ab")
    code, found = tested({"m.mix": f"module m()\n  import db\n  import assert\n{tests}module end\n"})
    assert code == 0, json.dumps(found)
