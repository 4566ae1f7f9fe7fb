"""`mixkit code`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from mix_rt.qcode import Assembly, Code, Instruction

from mixkit.cli import main

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    assembly = Assembly()
    greet = assembly.function("greet", params=1)
    greet.source("greet.mix", 2, 3)
    end = greet.label()
    text = greet.register()
    greet.emit("load", text, "Good day, ")
    greet.emit("jump_undef", 0, end)
    greet.emit("add", text, text, 0)
    greet.place(end)
    greet.emit("builtin", text, text, "string_trim")
    greet.emit("return", text)
    other = assembly.function("other", params=1)
    other.emit("return", 0)
    assembly.exports["greet"] = "greet"
    path = tmp_path / "greet.mixexe"
    path.write_bytes(assembly.code().to_bytes())
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("disasm", file)` answers exit status, stdout and stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        status = main(["--profile", "all", "code", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def test_disasm(run: Run, file: Path) -> None:
    lines = run("disasm", file)[1].splitlines()
    assert lines[0] == "executable, 2 functions, 0 globals"
    assert lines[2] == "function 0 greet: 1 parameters, 2 registers, exported as greet"
    assert lines[3].strip() == "greet.mix:2:3"
    assert lines[4].split() == ["0", "load", "r1", "'Good", "day,", "'"]
    assert lines[5].split() == ["1", "jump_undef", "r0", "->", "3"]
    assert lines[7].split() == ["3", "builtin", "r1", "r1", "string_trim"]
    only = run("disasm", file, "--function", "other")[1].split()
    assert "other:" in only and "greet:" not in only
    (other,) = json.loads(run("disasm", file, "-f", "other", "--json")[1])["functions"]
    assert other["instructions"] == [{"at": 0, "instruction": "return", "operands": ["r0"], "place": None}]
    status, _, err = run("disasm", file, "-f", "othr")
    assert status == 1 and "no function 'othr'" in err and "other" in err


def test_verify(run: Run, file: Path) -> None:
    assert run("verify", file)[0] == 0
    code = Code.from_bytes(file.read_bytes())
    code.functions[1].code = [Instruction("return", (7,))]
    file.write_bytes(code.to_bytes())
    status, _, err = run("verify", file)
    assert (
        status != 0
        and "function 1, instruction 0 (return): a register that the function does not have" in err
    )


def test_stats(run: Run, file: Path) -> None:
    found = json.loads(run("stats", file, "--json")[1])
    assert (found["functions"], found["instructions"], found["used"]["return"]) == (2, 6, 2)
    assert "functions: 2" in run("stats", file)[1]


def test_what_is_no_code_is_an_error(run: Run, file: Path) -> None:
    file.write_bytes(b"\0asm")
    status, _, err = run("stats", file)
    assert status != 0 and "expected QCode, which starts with the bytes QCOD" in err
