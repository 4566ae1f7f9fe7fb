"""`mixkit repl`: what is kept, what is shown, errors that do not end it; in a pipe, and on a real terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mix_dev.repl.complete import Completer
from mix_dev.repl.program import Typed, is_open
from mix_dev.repl.session import Ended, Repl

from mixkit.kernel import Kernel
from mixkit.storage import Place

MIXKIT = str(Path(sys.executable).with_name("mixkit"))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel("agent_server", environ={}) as kernel:
        yield kernel


class Talk:
    """A conversation whose answers are kept."""

    def __init__(self, kernel: Kernel, place: Place | None = None) -> None:
        self.lines: list[str] = []
        self.repl = Repl(kernel, self.lines.append, place)

    def __call__(self, text: str) -> str:
        self.lines.clear()
        self.repl.feed(text)
        return "\n".join(self.lines)


@pytest.fixture
def talk(kernel: Kernel) -> Talk:
    return Talk(kernel)


def test_expressions_and_definitions(talk: Talk) -> None:
    assert talk("1 + 2") == "3"
    assert talk("def f(n) = n * 2") == ""
    assert talk("array.map(f, [1, 2])") == "[2,4]"
    assert talk("def f(n) = n * 3") == talk("def g(n) = f(n) + 1") == ""
    assert talk("g(1)") == "4"
    assert talk("case red") == "" and "red" in talk("self.red")
    assert (
        talk("def fact : number -> number") == talk("def fact(n) = if (n < 2) 1 else n * fact(n - 1)") == ""
    )
    assert talk("fact(20)") == "2432902008176640000"
    assert talk("import s = string") == "" and talk('s.length("abc")') == "3"
    assert talk("{a: 1}.b") == "undefined"
    assert talk("(x -> x)").startswith("a function")
    assert talk("[1, 2][]") == "1\n2"
    assert talk('debug("hi")') == "hi\nnull"


def test_values_are_kept_and_computed_once(talk: Talk) -> None:
    assert talk("let r = random.cryptoRandomString(random.hexDigits, 8)") == ""
    assert talk("r") == talk("r") != ""
    assert talk("let f = (x -> x + 1)") == "" and talk("f(1)") == "2"
    assert talk("let r = {a: [1], b: some(2)}") == "" and talk("r.a[0]") == "1"
    assert "undefined may not be kept" in talk("let u = {}.x")
    assert talk("def r = 5") == "" and talk("r") == "5"
    assert "let r" not in talk(":list")
    talk(":reset")
    assert "M0301" in talk("r")


def test_errors_do_not_end_it(talk: Talk) -> None:
    assert "repl.mix:1:5" in talk("1 + nothing")
    assert talk('fail("no")') == "error: no"
    assert "expected" in talk("def f(")
    assert "M0301" in talk("def f(n) = unheard(n)") and "M0301" in talk("f(1)")
    assert "did you mean ':type'?" in talk(":typ 1")
    assert talk("1") == "1"


def test_commands(talk: Talk, tmp_path: Path) -> None:
    assert talk(":type [1]") == "array(number)"
    assert "option.get(o)" in talk(":doc option.get") and "did you mean" in talk(":doc optin")
    (tmp_path / "shop.mix").write_text(
        "module shop\n  import tax\n  /// What it costs.\n  def price(n) = n + tax.of(n)\nmodule end\n"
    )
    (tmp_path / "tax.mix").write_text("module tax\n  def of(n) = n\nmodule end\n")
    assert talk(f":load {tmp_path}/shop.mix") == "import shop"
    assert talk("shop.price(2)") == "4"
    assert "What it costs." in talk(":doc shop.price")
    (tmp_path / "tax.mix").write_text("module tax\n  def of(n) = 10 * n\nmodule end\n")
    assert talk("shop.price(2)") == "22"
    assert "cannot read" in talk(":load /nothing.mix")
    with pytest.raises(Ended):
        talk(":quit")


def test_a_database_is_talked_to(kernel: Kernel, tmp_path: Path) -> None:
    place = Place("office", "notes", tmp_path / "notes")
    talk = Talk(kernel, place)
    assert talk('let a = db.saveOne(null, {_rmx_type: "note", n: 7})') == ""
    assert Talk(kernel, place)("db.head() |> db.map(r -> {n: r.n}) |> db.toArray") == '[{"n":7}]'


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("1", False), ("f(", True), ("[1,\n2]", False), ('")"', False), ("def f(n) =", True), ("/* a", True),
        ('"""a', True), ("x |>", True), ("// (", False),
    ],
)  # fmt: skip
def test_lines_that_belong_together(text: str, more: bool) -> None:
    assert is_open(text) is more


def test_completion() -> None:
    typed = Typed()
    typed.define("def double(n) = n * 2")
    found = Completer(typed)
    assert found.words("doub") == ["double"]
    assert "array.map" in found.words("array.ma")
    assert found.words(":t") == [":type"]
    assert found.complete("doub", 0) == "double" and found.complete("doub", 1) is None


def test_a_pipe() -> None:
    given = "let x = [1,\n2]\nx\n"
    done = subprocess.run([MIXKIT, "repl"], input=given, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[1,2]\n"), done.stderr
    done = subprocess.run([MIXKIT, "repl"], input="nope\n1\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout.endswith("1\n")


def test_a_terminal(tmp_path: Path) -> None:
    """Ctrl-C stops what runs, and not the conversation; what was typed is in the history."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb", "PYTHONUNBUFFERED": "1"}
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    # What a script runs behind itself ignores Ctrl-C, and so would this.
    command = ["env", "--default-signal=INT", MIXKIT, "repl"]
    process = subprocess.Popen(command, env=environ, start_new_session=True, **streams)
    os.close(theirs)
    seen = ""

    def until(text: str, times: int = 1) -> None:
        nonlocal seen
        end = time.monotonic() + 60
        while seen.count(text) < times:
            assert time.monotonic() < end, seen
            seen += os.read(ours, 4096).decode(errors="replace")

    try:
        until("mix> ")
        os.write(ours, b"let x = 40 + 1\nx + 1\n")
        until("\n42")
        os.write(ours, b'do { debug("runs"); while (true) { let y = 1 } }\n')
        until("runs\r\n", 1)
        process.send_signal(signal.SIGINT)
        until("stopped")
        os.write(ours, b"x + 2\n:quit\n")
        until("\n43")
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
    history = tmp_path / "mixkit" / "repl_history"
    assert "x + 1" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600
