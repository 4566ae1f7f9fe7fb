"""What is said of a name: its kind, its type, and what is written above its definition."""

from __future__ import annotations

from typing import Any, Final

from mix_lang.documentation import Described, described, described_module
from mix_lang.program import Program
from mix_lang.types_text import type_text

from mix_dev.lsp.document import Document
from mix_dev.lsp.names import Index, Meaning
from mix_dev.lsp.workspace import Workspace

__all__ = ["hover", "said_of"]

GLOBALS: Final = {
    "some": "some(x): there is a value, x",
    "ok": "ok(x): it went well, with x",
    "error": "error(e): it did not, because of e",
    "unset": "unset: nothing was set yet",
    "withDefault": "withDefault(d, x): x, or d if that is undefined",
    "noDefault": "noDefault(x): x; an error if that is undefined",
    "fail": "fail(message): ends in an error, which try catches",
    "recurse": "recurse((self, x) -> …): a function that may call itself",
    "recurse2": "recurse2((self, x, y) -> …): the same of two arguments",
    "datacase": "datacase(x): a case as data",
    "debug": "debug(x): writes x to the log",
    "floor": "floor(x): the whole number below",
    "ceil": "ceil(x): the whole number above",
    "getNextActions": "getNextActions(): actions that run after this one",
    "setNextActions": "setNextActions(appstate, actions): those that run after this one",
    "pushNextActions": "pushNextActions(appstate, actions): more that run after this one",
    "pushIdleActions": "pushIdleActions(appstate, actions): some that run when the answer is sent",
    "contents": "contents(c): the value of a cell, without depending on it",
    "link": "link(c): the cell itself, to hand on",
}
"""What every module has."""


def hover(workspace: Workspace, document: Document, offset: int) -> dict[str, Any] | None:
    """What is said of the name at a place; None where there is none."""
    found = workspace.index(document)
    use = found[1].at(offset) if found is not None else None
    if found is None or use is None:
        return None
    text = _of(workspace, *found, use.meaning)
    if not text:
        return None
    return {"contents": {"kind": "markdown", "value": text}, "range": document.range(use.span)}


def _of(workspace: Workspace, program: Program, index: Index, meaning: Meaning) -> str:
    if meaning.kind == "global":
        return _code(GLOBALS.get(meaning.name, meaning.name))
    if meaning.kind == "local":
        _, hint = index.values.get(meaning.start, (None, None))
        return _code(f"{meaning.name}: {type_text(hint)}" if hint is not None else f"let {meaning.name}")
    found = said_of(workspace, program, meaning)
    return "" if found is None else _markdown(found)


def said_of(workspace: Workspace, program: Program, meaning: Meaning) -> Described | None:
    """What is written of a member, a type or a module."""
    unit = program.units.get(meaning.module)
    if unit is None:
        return None
    if meaning.kind == "module":
        return described_module(unit)
    member = unit.members.get(meaning.name)
    if member is not None and member.kind == "import":
        other = program.units.get(getattr(member.item, "module", ""))
        return None if other is None else described_module(other)
    if member is not None and member.kind == "param":
        of = getattr(member.item, "type", None)
        kind = f"{meaning.name}: {type_text(of)}" if of is not None else meaning.name
        return Described(meaning.name, "parameter", kind, "", "", ())
    return described(unit, meaning.name, workspace.types(program, unit))


def _code(text: str) -> str:
    return f"```mix\n{text}\n```"


def _markdown(found: Described) -> str:
    head = found.signature if found.kind in ("module", "parameter") else f"{found.kind} {found.signature}"
    parts = [_code(f"{head}\n  : {found.type}" if found.type else head)]
    if found.text:
        parts.append(found.text)
    if found.examples:
        parts.append(
            _code("\n".join(f"> {each.expression}\n{each.value}".rstrip() for each in found.examples))
        )
    return "\n\n".join(parts)
