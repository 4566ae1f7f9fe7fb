"""What goes wrong in the compiler."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from mix_lang.diagnostic import Diagnostic
from mix_lang.render import render_all
from mixkit.errors import MixError

__all__ = ["CompileError"]


class CompileError(MixError):
    """Sources with errors.

    Attributes:
        diagnostics: all that was found, warnings too.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        errors = sum(item.cls == "error" for item in diagnostics)
        what = "an error" if errors == 1 else f"{errors} errors"
        text = indent(render_all(diagnostics).rstrip(), "    ")
        super().__init__(f"{what} in the source\n\n{text}")
        self.diagnostics = tuple(diagnostics)
