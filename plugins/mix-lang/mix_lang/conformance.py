"""Cases of the conformance suite: a program in a file, what happens to it, and what is to come out.

A case is a Mix file with directives in comments, done in their order:

    // params: {"name": "ada"}         the agent's parameters; null without it
    // expect: {"text": "Good day"}    the output, as tagged JSON; kinds count (3 is not 3.0)
    // panic: 4:12 no pattern matches  instead of an output: line, column, message
    // invoke: $.buttons[0] ["x"]      runs the action there in the output, with these arguments
    // idle                            runs what was put off until the answer is sent
    // log: text                       the next line that the program wrote with debug

Behind `// file: other.mix` follows another module. What the compiler has to say stands, as the user sees it, in a
comment at the end that begins with `/* diagnostics`. Without that comment it has nothing to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mixkit import codec
from mixkit.tagged_json import dumps, loads

__all__ = ["Case", "Runner", "read_case", "run_case"]

_DIRECTIVE = re.compile(r"^// (params|expect|panic|invoke|idle|log)(?:: ?(.*))?$", re.MULTILINE)
_FILE = re.compile(r"^// file: (\S+)\n", re.MULTILINE)
_DIAGNOSTICS = "\n/* diagnostics\n"


@dataclass(frozen=True, slots=True)
class Case:
    """`sources`: file names to text, the agent's first. `steps`: directives with their text."""

    name: str
    sources: dict[str, str]
    steps: tuple[tuple[str, str], ...]
    diagnostics: str


class Runner(Protocol):
    """A way to run agents: the evaluator, or the machine."""

    def start(self, params: Any) -> None: ...
    def output(self) -> Any: ...
    def invoke(self, path: list[str | int], args: list[Any]) -> None: ...
    def idle(self) -> None: ...
    def log(self) -> str: ...


class Stopped(Exception):
    """A program ended in an error: `line:column message`, line and column 0 where they are not known."""


def read_case(path: Path) -> Case:
    """A case from its file."""
    text = path.read_text(encoding="utf-8")
    text, opening, rest = text.partition(_DIAGNOSTICS)
    diagnostics = rest.rstrip("\n").removesuffix("\n*/") if opening else ""
    parts = _FILE.split(text)
    sources = {path.name: parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))
    steps = tuple((match.group(1), (match.group(2) or "").strip()) for match in _DIRECTIVE.finditer(parts[0]))
    return Case(path.stem, sources, steps, diagnostics)


def run_case(case: Case, runner: Runner) -> None:
    """Do what the directives say. `AssertionError` says what came out instead."""
    params: Any = None
    started = stopped = False
    for word, text in case.steps:
        if word == "params":
            params, started = loads(text), False
            continue
        try:
            if not started:
                started = True
                runner.start(params)
            if word == "invoke":
                path, _, args = text.partition(" ")
                runner.invoke(_path(path), loads(args) if args else [])  # type: ignore[arg-type]
            elif word == "idle":
                runner.idle()
            elif word == "log":
                found = runner.log()
                assert found == text, f"expected the log {text!r}, found {found!r}"
            elif word == "expect":
                _same(loads(text), runner.output())
            elif word == "panic":
                raise AssertionError(f"expected a panic {text!r}, found the output {dumps(runner.output())}")
        except Stopped as exc:
            assert word in ("panic", "invoke"), f"expected {text}, found a panic: {exc}"
            if word == "invoke":
                wanted = next((text for word, text in case.steps if word == "panic"), "")
                assert _agrees(wanted, str(exc)), f"expected the panic {wanted!r}, found {str(exc)!r}"
                return
            assert _agrees(text, str(exc)), f"expected the panic {text!r}, found {str(exc)!r}"
            stopped = True
    assert started or stopped, "the case expects nothing"


def _agrees(wanted: str, found: str) -> bool:
    """Whether a panic is the one that was wanted: the place counts where it is known to the line."""
    if found.startswith("0:0 "):
        return wanted.partition(" ")[2] == found[4:]
    return wanted == found


def _same(expected: Any, found: Any) -> None:
    assert codec.encode(expected) == codec.encode(found), f"expected {dumps(expected)}, found {dumps(found)}"


def _path(text: str) -> list[str | int]:
    return [int(part[1:-1]) if part[0] == "[" else part[1:] for part in re.findall(r"\.\w+|\[\d+\]", text)]
