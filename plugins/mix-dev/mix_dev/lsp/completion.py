"""What may be written at a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.lexer import KEYWORDS
from mix_lang.parser import parse
from mix_lang.program import Member, Program, Read, Unit, members_of
from mix_lang.record import changed
from mix_lang.source import Source

from mix_dev.lsp.document import Document
from mix_dev.lsp.hover import GLOBALS
from mix_dev.lsp.names import MARK, Index, Seen, index_of
from mix_dev.lsp.workspace import Workspace

__all__ = ["completions"]

_ITEM: Final = re.compile(
    r"^[ \t]*(?:private[ \t]+|var[ \t]+|live[ \t]+|foreign[ \t]+)*(?:def|cell|initializer|on|alias|import|test)\b",
    re.MULTILINE,
)
"""Where definitions begin."""
_IMPORT: Final = re.compile(r"[ \t]*import[ \t]+(?:\w+[ \t]*=[ \t]*)?\w*")
_COMMENT: Final = re.compile(r"^[^\"]*//")
_AFTER: Final = re.compile(r"\w*")

_FUNCTION, _FIELD, _VARIABLE, _MODULE, _KEYWORD, _CASE, _TYPE = 3, 5, 6, 9, 14, 20, 22
_KINDS: Final = {"def": _FUNCTION, "cell": _VARIABLE, "alias": _VARIABLE, "case": _CASE, "import": _MODULE}


def completions(workspace: Workspace, document: Document, offset: int) -> list[dict[str, Any]]:
    """What may stand at a place, of which the editor shows what begins as what is there."""
    text = document.text
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    if _COMMENT.match(line):
        return []
    program, folder = workspace.known(document)
    if _IMPORT.fullmatch(line):
        beside = (name.removesuffix(".mix") for name in folder if name.isascii())
        return [_item(name, _MODULE) for name in sorted({*program.known, *beside})]
    start = offset
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    unit = workspace.unit(program, document)
    dotted = text[:start].rstrip().endswith(".")
    index = _marked(program, unit, text, start, offset) if unit is not None else None
    seen = index.seen if index is not None else None
    if dotted:
        if seen is None or unit is None or index is None:
            return []
        return list(_behind_dot(program, unit, index, seen))
    found: dict[str, dict[str, Any]] = {}
    for name, local in (seen.locals if seen is not None else {}).items():
        found[name] = _item(name, _VARIABLE, local.kind)
    for member in unit.members.values() if unit is not None else ():
        found.setdefault(member.name, _of_member(member))
    for name in unit.types if unit is not None else ():
        found.setdefault(name, _item(name, _TYPE, "type"))
    for name, about in GLOBALS.items():
        found.setdefault(name, _item(name, _FUNCTION, about))
    for word in sorted(KEYWORDS):
        found.setdefault(word, _item(word, _KEYWORD))
    return list(found.values())


def _item(label: str, kind: int, detail: str = "") -> dict[str, Any]:
    return {"label": label, "kind": kind, "detail": detail} if detail else {"label": label, "kind": kind}


def _of_member(member: Member) -> dict[str, Any]:
    return _item(member.name, _KINDS.get(member.kind, _VARIABLE), _detail(member))


def _detail(member: Member) -> str:
    item = member.item
    if isinstance(item, s.Def | s.CellDef) and item.params is not None:
        return f"{member.name}({', '.join(param.name for param in item.params)})"
    return member.kind


def _marked(program: Program, unit: Unit, text: str, start: int, end: int) -> Index | None:
    """The names of the definition that a place is in, with a mark at the place; None if it is in none.

    PERF: of a large module the other definitions need not be read again.
    """
    begins = [match.start() for match in _ITEM.finditer(text)]
    after = _AFTER.match(text, end)
    assert after is not None
    # A word at the start of a line may itself begin a definition that is being written.
    first = max((at for at in begins if at <= start), default=-1)
    last = min((at for at in begins if at > after.end()), default=len(text))
    if first < 0:
        return None
    part = text[first:start] + MARK + text[after.end() : last]
    index = _read(program, unit, part)
    if index is not None and index.seen is None:
        # What follows may not fit to what is being written: without it, and with brackets closed.
        index = _read(program, unit, _closed(text[first:start] + MARK)) or index
    return index


def _read(program: Program, unit: Unit, part: str) -> Index | None:
    source = Source(unit.source.file, part)
    modules = parse(source, unit.name, Report(source))
    if not modules:
        return None
    module = changed(modules[0], name=unit.name, params=unit.module.params, types=unit.module.types)
    members, types = members_of(module)
    made = Unit(module, source, {**unit.members, **members}, {**unit.types, **types})
    return index_of(replace(program, units={**program.units, unit.name: made}), made)


def _closed(text: str) -> str:
    """The text with the brackets closed that are open in it."""
    found: list[str] = []
    quoted = False
    for at, character in enumerate(text):
        if character == '"' and text[at - 1 : at] != "\\":
            quoted = not quoted
        elif quoted:
            continue
        elif character in "([{":
            found.append({"(": ")", "[": "]", "{": "}"}[character])
        elif character in ")]}" and found:
            found.pop()
    return text + "".join(reversed(found))


def _behind_dot(program: Program, unit: Unit, index: Index, seen: Seen) -> Iterator[dict[str, Any]]:
    """Members of a module, or fields of a record."""
    if seen.module is not None:
        own = seen.module.name == unit.name
        for member in seen.module.members.values():
            if own or not (member.private or member.kind in ("param", "import")):
                yield _of_member(member)
        yield from (_item(name, _TYPE, "type") for name in seen.module.types)
        return
    if seen.object is not None:
        yield from (_item(name, _FIELD) for name in _fields(program, unit, index, seen, seen.object, 0))


def _fields(program: Program, unit: Unit, index: Index, seen: Seen, node: s.Expr, depth: int) -> list[str]:
    """The fields of what an expression surely is."""
    if depth > 20:
        return []
    value: Any
    hint: s.Type | None
    match node:
        case s.MapLit(keys=keys):
            return [entry.key.value for entry in keys if isinstance(entry.key, s.Const)]
        case s.Labels(fields=fields):
            return [name for name, _ in fields]
        case s.Hint(type=of):
            return _of_type(program, unit, of)
        case s.With(object=of):
            return _fields(program, unit, index, seen, of, depth + 1)
        case s.Name(name=name) if name in seen.locals:
            value, hint = index.values.get(seen.locals[name].span.start, (None, None))
        case s.Name(name=name) | s.Qualified(scope="self", name=name) if name in unit.members:
            item: Any = unit.members[name].item
            value, hint = getattr(item, "body", None), getattr(item, "type", None)
            if getattr(item, "params", None) is not None:
                return []
        case s.Field(object=of, name=name):
            value, hint = _value_in(index, unit, seen, of, name), None
        case s.Call(function=s.Name(name=name)) if name in unit.members and name not in seen.locals:
            function = unit.members[name].item
            if not isinstance(function, s.Def):
                return []
            value, hint = function.body if not isinstance(function.body, s.Block) else None, function.type
        case s.If(branches=branches):
            value, hint = branches[0][1], None
        case s.Let(body=body):
            value, hint = body, None
        case _:
            return []
    if hint is not None:
        return _of_type(program, unit, hint)
    if value is None or isinstance(value, s.Block):
        return []
    return _fields(program, unit, index, seen, value, depth + 1)


def _value_in(index: Index, unit: Unit, seen: Seen, of: s.Expr, name: str) -> s.Expr | None:
    """The value of a field of a record that is written out."""
    value: Any = of
    if isinstance(of, s.Name):
        local = seen.locals.get(of.name)
        if local is not None:
            value = index.values.get(local.span.start, (None, None))[0]
        elif of.name in unit.members:
            value = getattr(unit.members[of.name].item, "body", None)
    if not isinstance(value, s.MapLit):
        return None
    return next(
        (each.value for each in value.keys if isinstance(each.key, s.Const) and each.key.value == name), None
    )


def _of_type(program: Program, unit: Unit, of: s.Type) -> list[str]:
    read = Read(of, unit.name)
    for _ in range(20):
        if isinstance(read.type, s.TRecord):
            return [name for name, _, _ in read.type.fields]
        if isinstance(read.type, s.TLabels):
            return [name for name, _ in read.type.fields]
        meant = program.meant(read)
        if meant is None:
            return []
        read = meant
    return []
