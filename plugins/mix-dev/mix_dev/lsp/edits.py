"""Where names are defined and used, and new names for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.lexer import tokenize
from mix_lang.program import Program
from mix_lang.source import Source, Span

from mix_dev.lsp.document import Document, Text
from mix_dev.lsp.names import Meaning, Use, index_of
from mix_dev.lsp.workspace import Folder, Workspace

__all__ = ["definition", "references", "rename", "renamed_name", "symbols"]

_KINDS: Final = {"def": 12, "cell": 13, "alias": 13, "case": 22, "type": 5, "import": 2, "param": 13}
"""Kinds of members to those of the protocol."""


def definition(workspace: Workspace, document: Document, offset: int) -> dict[str, Any] | None:
    """Where what the name at a place means is defined."""
    found = _meant(workspace, document, offset)
    if found is None:
        return None
    program, folder, use = found
    place = place_of(program, use.meaning)
    if place is None:
        return None
    unit, span = place
    uri, text = workspace.text(program.units[unit], folder)
    return {"uri": uri, "range": text.range(span)}


def place_of(program: Program, meaning: Meaning) -> tuple[str, Span] | None:
    """The module and the place of a definition. An import leads to its module."""
    unit = program.units.get(meaning.module)
    if unit is None:
        return None
    if meaning.kind == "local":
        return unit.name, Span(meaning.start, meaning.start + len(meaning.name))
    if meaning.kind == "module":
        return unit.name, Span(unit.module.span.start, unit.module.span.start)
    item: Any = unit.types.get(meaning.name)
    if meaning.kind == "member":
        member = unit.members.get(meaning.name)
        item = member.item if member is not None else item
    if isinstance(item, s.Import):
        return place_of(program, Meaning("module", item.module, item.module))
    if item is None:
        return None
    span = getattr(item, "name_span", item.span)
    return unit.name, Span(span.start, span.start + len(meaning.name))


def references(workspace: Workspace, document: Document, offset: int, declared: bool) -> list[dict[str, Any]]:
    """The places that mean what the name at a place means, in all modules of the folder."""
    return [
        {"uri": uri, "range": text.range(use.span)}
        for uri, text, use in _all_uses(workspace, document, offset)
        if declared or not use.defines
    ]


def _meant(workspace: Workspace, document: Document, offset: int) -> tuple[Program, Folder, Use] | None:
    program, folder = workspace.program(document)
    unit = workspace.unit(program, document)
    use = index_of(program, unit).at(offset) if unit is not None else None
    return None if use is None else (program, folder, use)


def _all_uses(workspace: Workspace, document: Document, offset: int) -> Iterator[tuple[str, Text, Use]]:
    found = _meant(workspace, document, offset)
    if found is None:
        return
    meaning = found[2].meaning
    local = meaning.kind == "local"
    program, folder = workspace.program(document, everything=not local)
    for unit in program.units.values():
        if unit.library or (local and unit.name != meaning.module) or meaning.name not in unit.source.text:
            continue
        uri, text = workspace.text(unit, folder)
        yield from ((uri, text, use) for use in index_of(program, unit).of(meaning))


def renamed_name(workspace: Workspace, document: Document, offset: int) -> dict[str, Any] | None:
    """The place of the name that would get another one; None if it cannot."""
    found = _meant(workspace, document, offset)
    if found is None or not _can_change(found[0], found[2].meaning):
        return None
    use = found[2]
    return {"range": document.range(use.span), "placeholder": use.meaning.name}


def _can_change(program: Program, meaning: Meaning) -> bool:
    """Whether it is defined in a module of one's own, by its name."""
    unit = program.units.get(meaning.module)
    if unit is None or unit.library or meaning.kind not in ("local", "member", "type"):
        return False
    member = unit.members.get(meaning.name) if meaning.kind == "member" else None
    # Of an import the name may be the module's.
    return not (
        member is not None and isinstance(member.item, s.Import) and member.item.alias == member.item.module
    )


def rename(workspace: Workspace, document: Document, offset: int, name: str) -> dict[str, Any] | None:
    """The changes that give what is meant at a place another name.

    Raises:
        ValueError: that is no name.
    """
    source = Source("name", name)
    tokens = tokenize(source, Report(source))
    if [token.kind for token in tokens] != ["name", "eof"] or tokens[0].value != name:
        raise ValueError(f"expected a name, found {name!r:.100}")
    if renamed_name(workspace, document, offset) is None:
        return None
    changes: dict[str, list[dict[str, Any]]] = {}
    for uri, text, use in _all_uses(workspace, document, offset):
        new = f"{use.meaning.name}: {name}" if use.short else name
        changes.setdefault(uri, []).append({"range": text.range(use.span), "newText": new})
    return {"changes": changes}


def symbols(workspace: Workspace, document: Document) -> list[dict[str, Any]]:
    """The definitions of a module, and its tests, in the order of the text."""
    program, _ = workspace.program(document)
    unit = workspace.unit(program, document)
    found = []
    for item in unit.module.items if unit is not None else ():
        name = getattr(item, "name", "")
        kind = "type" if isinstance(item, s.TypeDef) else ""
        if not kind and unit is not None and name in unit.members:
            kind = unit.members[name].kind
        if isinstance(item, s.Test):
            kind = "def"
        if name and kind in _KINDS:
            span = getattr(item, "name_span", item.span)
            found.append(
                {
                    "name": name,
                    "kind": _KINDS[kind],
                    "range": document.range(item.span),
                    "selectionRange": document.range(span),
                }
            )
    return found
