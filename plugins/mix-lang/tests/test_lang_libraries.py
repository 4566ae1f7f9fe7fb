"""Libraries: what links is what would be compiled, byte for byte, with symbols; what does not fit is compiled anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mix_lang.codegen.generator import Generator
from mix_lang.compiler import build, build_library
from mix_lang.libraries import Library
from mix_rt.errors import QCodeError
from mix_rt.qcode import LIBRARY, Code

from mixkit.action import Invocation, Invoke, parse
from mixkit.cli import main
from mixkit.errors import MixError, RunError
from mixkit.kernel import Kernel

MAIN = """\
module main(p: data)
  import part
  import text
  import array
  var cell n = part.start
  def times = 2
  def show(x) = text.framed("" + x * times)
  cell output = {n, all: array.map(show, [1, 2]), add: action (by) { n = n + by }, more: part.more}
module end
"""
PART = """\
module part
  case red
  var cell sum = 0
  def start = 1
  def more = action { sum = sum + start |> type(number) }
module end
"""
TEXT = 'module text\n  def mark = "<"\n  def framed(s) = mark + s + (x -> x)(">")\nmodule end\n'
MORE = {"part.mix": PART, "text.mix": TEXT}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    profile = tmp_path_factory.mktemp("profile") / "mix.toml"
    profile.write_text('plugins = ["wasmtime", "rt", "lang"]\nengines = ["wasmtime"]\n')
    with Kernel(profile, environ={}) as kernel:
        yield kernel


def test_what_is_linked_is_what_would_be_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    library, _ = build_library(MORE)
    whole, _ = build({"main.mix": MAIN, **MORE})
    made: list[str] = []
    generate = Generator._made

    def noted(self: Generator, name: str, make: Any) -> Any:
        made.append(name)
        return generate(self, name, make)

    monkeypatch.setattr(Generator, "_made", noted)
    linked, _ = build({"main.mix": MAIN}, [Library(library)])
    assert linked == whole
    assert not any(name.endswith((" part", " text")) or ".framed" in name for name in made), made


def test_it_runs_with_actions_and_places(kernel: Kernel) -> None:
    library = Library(build_library(MORE)[0])
    program = kernel.load(build({"main.mix": MAIN}, [library])[0])
    value = kernel.run_sync(program, "main").value
    assert value["all"] == ["<2>", "<4>"]
    action = parse(value["more"])
    assert isinstance(action, Invoke)
    kernel.run_sync(program, "main", Invocation((action,)))
    wrong = {"text.mix": TEXT.replace("mark + s", "mark - s")}
    program = kernel.load(build({"main.mix": MAIN, "part.mix": PART}, [Library(build_library(wrong)[0])])[0])
    with pytest.raises(RunError) as caught:
        kernel.run_sync(program, "main")
    assert "text.framed (text.mix:3:24)" in caught.value.backtrace[0]


def test_code_for_other_modules_is_not_linked() -> None:
    uses = {
        "uses.mix": "module uses\n  import text\n  def twice(s) = text.framed(text.framed(s))\nmodule end\n"
    }
    library = Library(build_library({**uses, "text.mix": TEXT})[0])
    alone = Library(build_library({"text.mix": TEXT})[0])
    agent = 'import uses\ncell output = uses.twice("a")\n'
    other = TEXT.replace('"<"', '"["').replace("def framed(s) = mark + s", "def framed(s) = do { return s }")
    linked, _ = build({"agent.mix": agent, "text.mix": other}, [library, alone])
    assert linked == build({"agent.mix": agent, "text.mix": other, **uses})[0]


def test_nothing_of_a_library_is_remembered() -> None:
    data, _ = build_library({"text.mix": TEXT})
    code = Code.from_bytes(data)
    for part in code.library["parts"]:
        for function in part[2]:
            function[5] = [["nop"], *function[5]]
    agent = {"agent.mix": 'import text\ncell output = text.framed("a")\n'}
    changed, _ = build(agent, [Library(code.to_bytes())])
    assert changed != build({**agent, "text.mix": TEXT})[0]
    whole, _ = build({**agent, "text.mix": TEXT})
    assert whole == build({**agent, "text.mix": TEXT})[0] != changed


def test_broken_libraries_are_refused() -> None:
    seed = Random().randrange(2**32)
    random = Random(seed)
    data, _ = build_library(MORE)
    for _ in range(150):
        code = Code.from_bytes(data)
        at: Any = code.library
        # Some place in it becomes something else.
        for _ in range(random.randrange(1, 9)):
            if type(at) is dict and at:
                key: Any = random.choice(sorted(at))
            elif type(at) is list and at:
                key = random.randrange(len(at))
            else:
                break
            at, holder = at[key], at
        holder[key] = random.choice((None, 5, -1, "x", [], {}, [["x"]], 2**40))
        try:
            built, _ = build({"main.mix": MAIN}, [Library(code.to_bytes())])
            Code.from_bytes(built)
        except MixError:
            pass
        except Exception as exc:
            raise AssertionError(f"seed {seed}: {key!r}") from exc
    for wrong in (b"", b"QCOD", build({"a.mix": "cell output = 1\n"})[0], Code(LIBRARY).to_bytes()):
        with pytest.raises(QCodeError):
            Library(wrong)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lib").mkdir()
    for file, text in MORE.items():
        (tmp_path / "lib" / file).write_text(text)
    (tmp_path / "main.mix").write_text(MAIN)
    library = str(tmp_path / "more.mixlib")
    assert main(["compile", "--library", str(tmp_path / "lib"), "-o", library]) == 0
    assert main(["compile", str(tmp_path / "main.mix")]) == 1
    assert "no module 'part'" in capsys.readouterr().err.replace("there is no", "no")
    assert main(["compile", str(tmp_path / "main.mix"), "--link", library]) == 0
    assert (tmp_path / "main.mixexe").read_bytes() == build({"main.mix": MAIN, **MORE})[0]
    assert main(["compile", str(tmp_path / "main.mix"), "--link", str(tmp_path / "main.mixexe")]) == 1
    assert "expected a library of Mix" in capsys.readouterr().err
