"""Changes that the compiler's hints name for certain."""

from __future__ import annotations

import re
from typing import Any, Final

from mix_lang.diagnostic import Diagnostic
from mix_lang.source import Span

from mix_dev.lsp.document import Document
from mix_dev.lsp.workspace import Workspace

__all__ = ["fixes"]

_MEANT: Final = re.compile(r"did you mean '(\w+)'\?")
_IMPORT: Final = re.compile(r"add 'import (\w+)'")
_CASE: Final = re.compile(r"write (self\.\w+) for the case")
_LAST_IMPORT: Final = re.compile(r"^([ \t]*)import\b[^\n]*\n", re.MULTILINE)
_HEAD: Final = re.compile(r"^[ \t]*(?:static[ \t]+)?module\b[^\n]*\n", re.MULTILINE)


def fixes(workspace: Workspace, document: Document, start: int, end: int) -> list[dict[str, Any]]:
    """Those for what is wrong between two places."""
    name = workspace.name(document)
    found = []
    for item in workspace.checked(document).diagnostics:
        if item.source.file != name or item.span.start > end or item.span.end < start:
            continue
        changed = _fix(document, item)
        if changed is not None:
            title, span, text = changed
            edit = {"range": document.range(span), "newText": text}
            found.append(
                {
                    "title": title,
                    "kind": "quickfix",
                    "isPreferred": True,
                    "edit": {"changes": {document.uri: [edit]}},
                }
            )
    return found


def _fix(document: Document, item: Diagnostic) -> tuple[str, Span, str] | None:
    """What to write where, and how that is called."""
    meant = _MEANT.fullmatch(item.hint)
    if meant is not None:
        span = _of_name(document.text, item)
        return None if span is None else (f"write {meant[1]}", span, meant[1])
    case = _CASE.fullmatch(item.hint)
    if case is not None:
        span = _of_name(document.text, item)
        return None if span is None else (item.hint, span, case[1])
    wanted = _IMPORT.fullmatch(item.hint)
    if wanted is not None:
        at, indent = _place_for_import(document.text)
        return item.hint.replace("'", ""), Span(at, at), f"{indent}import {wanted[1]}\n"
    new = item.params.get("replacement")
    if item.code == "M0802" and isinstance(new, str) and item.hint == f"write {new}":
        return item.hint, item.span, new
    return None


def _of_name(text: str, item: Diagnostic) -> Span | None:
    """The place of the name that a message is about, which may stand in something larger."""
    name = item.params.get("name")
    if not isinstance(name, str) or not name:
        return None
    at = text.rfind(name, item.span.start, item.span.end)
    return Span(at, at + len(name)) if at >= 0 else None


def _place_for_import(text: str) -> tuple[int, str]:
    """Behind the last import, or the head of the module, or at the top; and how far it is indented."""
    imports = list(_LAST_IMPORT.finditer(text))
    if imports:
        return imports[-1].end(), imports[-1][1]
    head = _HEAD.search(text)
    return (head.end(), "  ") if head is not None else (0, "")
