"""Each code that the compiler or the evaluator gives is explained, and each that is explained is given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mix_lang.codes import codes

from mixkit.cli import main

PACKAGE = Path(__file__).parent.parent / "mix_lang"


def test_codes_and_explanations_belong_together() -> None:
    used = {
        code
        for path in PACKAGE.rglob("*.py")
        for code in re.findall(r'"(M\d{4})"', path.read_text(encoding="utf-8"))
    }
    assert used == codes().keys()


def test_each_says_something() -> None:
    for code, text in codes().items():
        assert text.endswith((".", ")", "`")) or "\n    " in text, code
        assert len(text) > 30, code


def _explain(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = main(["explain", *args])
    out, err = capsys.readouterr()
    return status, out, err


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _explain(capsys, "m0306")
    assert status == 0
    assert out.startswith("A def that is used before it is known.")


def test_explain_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = _explain(capsys)
    assert status == 0
    assert len(out.splitlines()) == len(codes())


def test_explain_of_what_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = _explain(capsys, "M9999")
    assert status == 2
    assert "there is no code 'M9999'" in err
