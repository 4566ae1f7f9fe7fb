"""The formatter: text to the same program in the language's style.

The parser's rules say what belongs together (`tree`), comments are given to the tokens that they stand with (`trivia`),
what may break becomes a document (`tokens`, `sequences`, `expressions`), and that is laid out (`document`).
"""

from __future__ import annotations

from typing import Final

from mix_lang.errors import CompileError
from mix_lang.format.document import render
from mix_lang.format.expressions import Layout
from mix_lang.format.tree import read

_MOST: Final = 6
"""Times that a text is laid out until comments stay."""

__all__ = ["WIDTH", "formatted"]

WIDTH: Final = 100
"""Characters of a line, where it can break."""


def formatted(text: str, file: str = "input.mix") -> str:
    """The text in the language's style. Formatting that again changes nothing.

    Args:
        file: what errors call it.

    Raises:
        CompileError: it is not Mix.
    """
    for _ in range(_MOST):
        tree = read(text, file)
        if tree.report.failed:
            raise CompileError(tree.report.found)
        layout = Layout(tree)
        before, text = text, render(layout.file(tree.root), WIDTH)
        if not layout.inner or text == before:
            break
        # A comment inside of something may have gone to another line, where it belongs to something else.
    return text
