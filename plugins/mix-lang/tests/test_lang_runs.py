"""Agents in Mix, run by the kernel and from the command line: results, errors of sources, panics with places."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mix_lang.errors import CompileError

from mixkit.action import Invocation, Invoke, parse
from mixkit.cli import main
from mixkit.errors import LimitExceeded, NotFound, RunError
from mixkit.kernel import Kernel
from mixkit.limits import Limits
from mixkit.package import Package
from mixkit.package.build import build
from mixkit.schema import Mismatch
from mixkit.sources import Sources

GREET = """\
module greet(p: data)
  _meta_ { description: "Greets", inParams: {name: "string"}, outParams: {text: "string"} }
  import string
  import polite
  cell output = { text: polite.greeting(string.capitalize(p.name)) }
module end
"""
POLITE = 'def greeting(name) = "Good day, " + name\n'


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "mix.toml"
    profile.write_text('plugins = ["wasmtime", "rt", "lang"]\nengines = ["wasmtime"]\n')
    with Kernel(profile, environ={}) as kernel:
        yield kernel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "greet.mix").write_text(GREET)
    (tmp_path / "polite.mix").write_text(POLITE)
    (tmp_path / "broken.mix").write_text("this is not asked for")
    return tmp_path


def test_a_source_runs(kernel: Kernel, folder: Path) -> None:
    program = kernel.load(folder / "greet.mix")
    entry = program.entry("greet")
    assert (entry.description, str(entry.params)) == ("Greets", "{name: string}")
    for name in ("ada", "grace"):
        result = kernel.run_sync(program, "greet", {"name": name})
        assert result.value == {"text": f"Good day, {name.capitalize()}"}


def test_a_file_may_be_called_as_a_module_of_the_library(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "string.mix").write_text("module shout(p: data)\n  cell output = p.text + 1\nmodule end\n")
    assert kernel.run_sync(tmp_path / "string.mix", "shout", {"text": "a"}).value == "a1"


def test_what_is_random_is_so_in_each_run(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "lots.mix").write_text("import random\ndef drawn = random.pseudoRandomInt(1, 1000000000)\n")
    (tmp_path / "draw.mix").write_text(
        "module draw(p: data)\n  import lots\n  cell output = lots.drawn\nmodule end\n"
    )
    program = kernel.load(tmp_path / "draw.mix")
    assert len({kernel.run_sync(program, "draw", {}).value for _ in range(4)}) == 4


def test_many_at_once(kernel: Kernel, folder: Path) -> None:
    program = kernel.load(folder / "greet.mix")

    async def all_of_them() -> list[object]:
        runs = [kernel.run(program, "greet", {"name": f"a{number}"}) for number in range(20)]
        return [result.value for result in await asyncio.gather(*runs)]

    assert asyncio.run(all_of_them()) == [{"text": f"Good day, A{number}"} for number in range(20)]


def test_errors_of_all_modules_in_one_go(kernel: Kernel, folder: Path) -> None:
    (folder / "polite.mix").write_text("def greeting(name) = nome\n")
    (folder / "greet.mix").write_text(GREET.replace("capitalize", "captalize"))
    with pytest.raises(CompileError) as caught:
        kernel.load(folder / "greet.mix")
    assert [item.code for item in caught.value.diagnostics] == ["M0308", "M0301"]
    assert "polite.mix:1:22" in str(caught.value) and "did you mean 'capitalize'?" in str(caught.value)


def test_parameters_are_checked(kernel: Kernel, folder: Path) -> None:
    with pytest.raises(Mismatch, match=r"expected string, found int 5 at \.name"):
        kernel.run_sync(folder / "greet.mix", "greet", {"name": 5})


def test_a_panic_has_the_calls(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "fails.mix").write_text(
        'def half(x) = 10 / x\ndef f(x) = half(x) + 1\ncell output = f("a")\n'
    )
    with pytest.raises(RunError, match="/: expected two numbers, found int and string") as caught:
        kernel.run_sync(tmp_path / "fails.mix", "fails")
    assert "fails.half (fails.mix:1:18)" in caught.value.backtrace[0]
    assert any("fails.mix:2:12" in frame for frame in caught.value.backtrace)


INLINED = """\
module inlined(p: data)
  import other
  def outer(x) = [other.half(x.n)]
  cell output = {all: outer(p), go: action (v) { debug("" + other.half(v)) }}
module end
"""


def test_backtraces_go_through_what_is_written_out(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "inlined.mix").write_text(INLINED)
    (tmp_path / "other.mix").write_text("module other\n  def half(x) = x / 2\nmodule end\n")
    program = kernel.load(tmp_path / "inlined.mix")
    with pytest.raises(RunError) as caught:
        kernel.run_sync(program, "inlined", {"n": "a"})
    assert caught.value.backtrace[:3] == [
        "other.half (other.mix:2:19)",
        "inlined.outer (inlined.mix:3:19)",
        "inlined.output (inlined.mix:4:23), after tail calls",
    ]
    action = parse(kernel.run_sync(program, "inlined", {"n": 4}).value["go"] | {"args": ["x"]})
    assert isinstance(action, Invoke)
    with pytest.raises(RunError) as caught:
        kernel.run_sync(program, "inlined", Invocation((action,)))
    assert caught.value.backtrace[:2] == [
        "other.half (other.mix:2:19)",
        "inlined.action (inlined.mix:4:61), after tail calls",
    ]


PANICS = {
    "a cell": ("  cell c =\n    1 / p.x\n  cell output = c\n", "a.c (a.mix:3:7), after tail calls"),
    "a live cell": ("  live cell c =\n    1 / p.x\n  cell output = c\n", "a.c (a.mix:3:7), after tail calls"),
    "a link": (
        "  cell c = 1 / p.x\n  alias b = c\n  cell output = b\n",
        "a.c (a.mix:2:14), after tail calls",
    ),
    "a function of the library": (
        "  import array\n  cell output = array.map(\n    (x -> x / p.x),\n    [1])\n",
        "a.output/lambda (a.mix:4:13)",
    ),
    "a stream": (
        "  import stream\n  cell output = stream.toArray(\n    stream.map((x -> x / p.x), [1][]))\n",
        "a.output/lambda (a.mix:4:24)",
    ),
    "an observer": (
        "  var cell n = 0\n  on () do {\n    n = 1 / p.x }\n  cell output = n\n",
        "a.on (a.mix:4:11)",
    ),
    "one with a condition": (
        "  var cell n = 0\n  on n when 1 / p.x do { n = 1 }\n  cell output = n\n",
        "a.on (a.mix:3:15)",
    ),
    "an initializer": (
        "  var cell n = 0\n  initializer {\n    n = 1 / p.x }\n  cell output = n\n",
        "a.initializer (a.mix:4:11)",
    ),
    "a value at the start": ('  def v = fail(\n    "x")\n  cell output = v\n', "a.v (a.mix:2:11)"),
    "a pattern": (
        "  def f(x) {\n    let [y] = x\n    return y\n  }\n  cell output = f(p)\n",
        "a.f (a.mix:3:15)",
    ),
}


@pytest.mark.parametrize("what", PANICS)
def test_a_panic_says_where_it_was(kernel: Kernel, tmp_path: Path, what: str) -> None:
    """Wherever code runs, each call has a line of a source."""
    body, first = PANICS[what]
    (tmp_path / "a.mix").write_text(f"module a(p: data)\n{body}module end\n")
    with pytest.raises(RunError) as caught:
        kernel.run_sync(tmp_path / "a.mix", "a", {"x": "s"})
    assert caught.value.backtrace[0] == first
    assert all(".mix:" in frame for frame in caught.value.backtrace)


def test_endless_recursion_and_loops_end(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "deep.mix").write_text("def f : data -> data\ndef f(x) = f(x) + 1\ncell output = f(1)\n")
    with pytest.raises(RunError, match="stack"):
        kernel.run_sync(tmp_path / "deep.mix", "deep")
    (tmp_path / "loop.mix").write_text("def f() { while (true) { } }\ncell output = f()\n")
    with pytest.raises(RunError, match="wall_time"):
        kernel.run_sync(tmp_path / "loop.mix", "loop", limits=Limits(wall_time=0.2))


def test_a_foreign_function_has_to_be_granted(kernel: Kernel, tmp_path: Path) -> None:
    source = 'foreign def now : number = "$core_now"\ncell output = now > 0\n'
    (tmp_path / "clock.mix").write_text(source)
    assert kernel.run_sync(tmp_path / "clock.mix", "clock").value is True


def _cli(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, out, err


def test_run_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(folder / "greet.mix")
    assert _cli(capsys, "run", source, '{"name": "ada"}')[:2] == (0, '{"text":"Good day, Ada"}\n')
    assert _cli(capsys, "run", source, "--param", "name=ada")[:2] == (0, '{"text":"Good day, Ada"}\n')
    assert _cli(capsys, "run", source)[:2] == (0, "greet\t{name: string}\t{text: string}\tGreets\n")


def test_a_panic_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fails.mix").write_text(
        "module fails(p: data)\n  def half(x) = 10 / x.size\n  cell output = half(p)\n"
    )
    status, _, err = _cli(capsys, "run", str(tmp_path / "fails.mix"), '{"size": "s"}')
    assert status == 1
    assert err.startswith("""\
mixkit: error: /: expected two numbers, found int and string
    at fails.half (fails.mix:2:20)
        2 |   def half(x) = 10 / x.size
          |                    ^
    at """)


def test_compile_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _cli(capsys, "compile", str(folder / "greet.mix"))
    assert status == 0 and out.endswith("bytes\n")
    compiled = folder / "greet.mixexe"
    assert (
        compiled.read_bytes()
        == (compiled.read_bytes(), _cli(capsys, "compile", str(folder / "greet.mix")))[0]
    )
    assert _cli(capsys, "run", str(compiled), '{"name": "ada"}')[:2] == (0, '{"text":"Good day, Ada"}\n')


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def x = 1\n", "the module 'odd' is no agent: it has no cell 'output'"),
        ("def output = 1\n", "is no agent"),
        ("module odd(a, b)\ncell output = a\nmodule end\n", "an agent takes one parameter"),
        ("", "is no agent"),
        ("def a = {}\ncell output = a" + ".x" * 380, "accesses, calls or pipes"),
    ],
    ids=["no output", "a def", "parameters", "empty", "deep"],
)
def test_what_is_no_agent(kernel: Kernel, tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "odd.mix").write_text(source)
    with pytest.raises(CompileError, match=message):
        kernel.load(tmp_path / "odd.mix")


def test_a_package_is_built_of_sources(kernel: Kernel, folder: Path) -> None:
    manifest = {
        "format": 3, "name": "greeter", "version": "1.0", "kind": "app", "grants": {"ffis": []},
        "apps": {"greeter": {"agents": {"greet": {"code": "greet.mix"}}}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    package = Package.open(build(folder, compiled=kernel.compiled))
    code = package.archive.read(package.manifest.apps["greeter"].agents["greet"].code)
    assert kernel.run_sync(code, "greet", {"name": "ada"}).value == {"text": "Good day, Ada"}
    (folder / "polite.mix").write_text("def greeting(name) = nome\n")
    with pytest.raises(CompileError):
        build(folder, compiled=kernel.compiled)


def test_a_package_that_asks_for_less_than_its_code(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "clock.mix").write_text(
        "module clock(p: data)\n  import calendar\n  cell output = calendar.toString(calendar.now())\nmodule end\n"
    )
    manifest: dict[str, Any] = {
        "format": 3, "name": "clock", "version": "1.0", "kind": "app", "grants": {"ffis": ["$core_nwo"]},
        "apps": {"clock": {"agents": {"clock": {"code": "clock.mix"}}}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    output = str(folder / "clock.remix")
    assert main(["remix", "build", str(folder), "-o", output]) == 0
    said = capsys.readouterr().err
    assert (
        "code/clock/clock.mixexe can call $core_now, which no pattern in grants.ffis of the manifest allows"
        in said
    )
    assert "did you mean '$core_nwo'?" in said
    manifest["grants"]["ffis"] = ["$core_now"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["remix", "build", str(folder), "-o", output]) == 0
    assert "can call" not in capsys.readouterr().err


def test_a_package_says_what_its_code_says(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `_meta_` declares is what a package, an installed app and the server show."""
    manifest = {
        "format": 3, "name": "greeter", "version": "1.0", "kind": "app", "grants": {"ffis": []},
        "apps": {"greeter": {"agents": {"greet": {"code": "greet.mix"}, "hail": {"code": "greet.mix", "entry": "greet",
                                                                                "inParams": {"name": "string"}}}}},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path, store = tmp_path / "greeter.remix", str(tmp_path / "store")
    assert main(["remix", "build", str(folder), "-o", str(path)]) == 0
    agents = Package.open(path.read_bytes()).manifest.apps["greeter"].agents
    assert agents["greet"].description == "Greets"
    assert agents["greet"].in_params == {"name": "string"} == agents["hail"].in_params
    assert agents["greet"].out_params == {"text": "string"}
    assert main(["remix", "install", str(path), "--ws-dir", store, "--ws", "w", "--yes"]) == 0
    capsys.readouterr()
    assert main(["app", "show", "w/greeter", "--ws-dir", store]) == 0
    assert "name: string" in capsys.readouterr().out
    # And it may not say anything else.
    manifest["apps"]["greeter"]["agents"]["greet"]["inParams"] = {"name": "number"}  # type: ignore[index]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert main(["remix", "build", str(folder), "-o", str(path)]) != 0
    assert "agents.greet.inParams" in capsys.readouterr().err


def test_errors_of_compile(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "greet.mix").write_text(GREET.replace("p.name", "q.name"))
    status, out, err = _cli(capsys, "compile", "--check", str(folder / "greet.mix"))
    assert (status, out) == (1, "") and "error[M0301]: no name 'q' here" in err
    status, out, _ = _cli(capsys, "compile", "--json", str(folder / "greet.mix"))
    (found,) = json.loads(out)["diagnostics"]
    assert status == 1 and found["code"] == "M0301" and found["location"][1:3] == [5, 59]
    assert not (folder / "greet.mixexe").exists()


def test_sources_are_of_one_folder(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "far.mix").write_text("")
    sources = Sources(folder / "greet.mix")
    assert list(sources) == ["greet.mix", "broken.mix", "polite.mix"] and len(sources) == 3
    assert "inner/far.mix" not in sources and "../x.mix" not in sources
    with pytest.raises(KeyError):
        sources["inner/far.mix"]
    with pytest.raises(NotFound, match=r"cannot read 'none\.mix'"):
        Sources(folder / "none.mix")["none.mix"]
    (folder / "latin.mix").write_bytes(b"\xff")
    with pytest.raises(NotFound, match="no UTF-8"):
        Sources(folder / "latin.mix")["latin.mix"]


def test_a_file_may_be_called_as_one_of_the_library(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "array.mix").write_text("module mine(p: data)\n  cell output = [p]\nmodule end\n")
    program = kernel.load(tmp_path / "array.mix")
    assert kernel.run_sync(program, "mine", 1).value == [1]


def test_each_run_has_its_own_limit_of_memory(kernel: Kernel, tmp_path: Path) -> None:
    """Whatever limit the run had that made the snapshot, or the run before."""
    agent = tmp_path / "fills.mix"
    agent.write_text(
        "module fills(p: data)\n"
        "  def filled(n) { var a = []; for (var i = 0; i < n; i = i + 1) { a = a + [i] } return a[n - 1] }\n"
        "  cell output = filled(p.n)\nmodule end\n"
    )
    program, params = kernel.load(agent), {"n": 300_000}
    for memory in (64 << 20, 4 << 20, 64 << 20, 3 << 20):
        limits = Limits(memory=memory)
        if memory > 4 << 20:
            assert kernel.run_sync(program, "fills", params, limits=limits).value == 299_999
            continue
        with pytest.raises(RunError) as caught:
            kernel.run_sync(program, "fills", params, limits=limits)
        cause = caught.value.__cause__
        assert isinstance(cause, LimitExceeded)
        assert (cause.limit, cause.value) == ("memory", memory)
