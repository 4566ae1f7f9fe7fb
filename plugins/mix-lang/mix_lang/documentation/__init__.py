"""What modules say of themselves: the comments that begin with `///` right above a module and its members.

The first paragraph says what it is about. `> expression` is an example, which goes on in a second such line; what
stands below it, up to an empty line or the next one, is its value as it would be written:

    /// The first value of which a function is true; undefined without one.
    ///
    /// > array.find(x -> x > 1, [1, 2, 3])
    /// 2
    def find(f, a) { … }

A module without a head is documented by the first such comment that is right above nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from mix_lang import syntax as s
from mix_lang.compile import check
from mix_lang.errors import CompileError
from mix_lang.infer.modules import member_types
from mix_lang.program import Program, Unit, function_type
from mix_lang.source import Source
from mix_lang.types_text import type_text

__all__ = ["Described", "Example", "Manual", "described", "described_module", "manuals_of", "of_library"]

_MARK: Final = "///"
_INTERNAL: Final = {"db": {"filterQuery", "mapQuery", "likePattern", "prefixPattern", "suffixPattern"}}
"""What only the compiler calls, which makes queries of functions."""
_SENTENCE: Final = re.compile(r"(?<=\.) (?=[A-Z])")


class Example(NamedTuple):
    """An expression, and what it gives."""

    expression: str
    value: str


class Described(NamedTuple):
    """A member of a module, or the module itself.

    Attributes:
        name: as it is called: `array.find`; of a module its name alone.
        kind: module, def, cell, case or type.
        signature: how it is used: `array.find(f, a)`.
        type: how it is declared, or what the compiler finds out; "" if that is nothing certain.
        text: paragraphs, with an empty line between them; "" if it is not documented.
    """

    name: str
    kind: str
    signature: str
    type: str
    text: str
    examples: tuple[Example, ...]

    @property
    def about(self) -> str:
        """Its first sentence."""
        return _SENTENCE.split(" ".join(self.text.partition("\n\n")[0].split()), maxsplit=1)[0]


class Manual(NamedTuple):
    """A module, and its members that others see, by name in the order of the text."""

    module: Described
    members: dict[str, Described]


def of_library(name: str) -> Manual:
    """That of a module of the standard library, which has to be one."""
    program = check({"manual.mix": f"import {name}\n"}).program
    module, members = _manual(program, program.units[name])
    hidden = _INTERNAL.get(name, ())
    return Manual(module, {each: found for each, found in members.items() if each not in hidden})


def manuals_of(file: str, text: str) -> list[Manual]:
    """Those of the modules of a source.

    Raises:
        CompileError: it is not Mix. What it imports need not be there.
    """
    checked = check({file: text})
    wrong = [item for item in checked.diagnostics if item.code < "M03" and item.cls == "error"]
    if wrong:
        raise CompileError(wrong)
    units = checked.program.units.values()
    return [_manual(checked.program, unit) for unit in units if not unit.library]


def _manual(program: Program, unit: Unit) -> Manual:
    types = member_types(program, unit)
    members = {name: _described(unit, name, item, declared, types) for name, item, declared in _items(unit)}
    return Manual(described_module(unit), members)


def described(unit: Unit, name: str, types: Mapping[str, str]) -> Described | None:
    """A member of a module, private too, or a type; None if it is none of these.

    Args:
        types: of the members, as far as they are certain.
    """
    member = unit.members.get(name)
    item = member.item if member is not None else unit.types.get(name)
    if not isinstance(item, s.Def | s.Foreign | s.CellDef | s.CaseDef | s.TypeDef):
        return None
    return _described(unit, name, item, member.declared if member is not None else None, types)


def _described(
    unit: Unit, name: str, item: s.Item, declared: s.Item | None, types: Mapping[str, str]
) -> Described:
    # What documents it is above its declaration, or its body.
    above = _above(unit.source, (declared or item).span.start) or _above(unit.source, item.span.start)
    text, examples = _read(above)
    kind, signature, hint = _head(unit.name, item)
    if isinstance(declared, s.Def | s.CellDef) and declared.type is not None and declared.params is None:
        hint = type_text(declared.type)
    return Described(f"{unit.name}.{name}", kind, signature, hint or types.get(name, ""), text, examples)


def described_module(unit: Unit) -> Described:
    """A module itself."""
    text, examples = _read(_of_module(unit))
    params = "" if not unit.module.params else f"({', '.join(_param(param) for param in unit.module.params)})"
    return Described(unit.name, "module", f"module {unit.name}{params}", "", text, examples)


def _items(unit: Unit) -> Iterator[tuple[str, s.Item, s.Item | None]]:
    """The members that others see, with their declarations, in the order of the text."""
    found: list[tuple[str, s.Item, s.Item | None]] = [
        (name, member.item, member.declared)
        for name, member in unit.members.items()
        if not member.private and isinstance(member.item, s.Def | s.Foreign | s.CellDef | s.CaseDef)
    ]
    found += [(name, item, None) for name, item in unit.types.items() if name not in unit.members]
    return iter(sorted(found, key=lambda each: unit.source.offset((each[2] or each[1]).span.start)))


def _head(module: str, item: s.Item) -> tuple[str, str, str]:
    """Kind and signature of a member, and the type that it is declared with."""
    match item:
        case s.Def(name=name, params=params, type=of):
            hinted = of is not None and all(param.type is not None for param in params or ())
            return (
                "def",
                f"{module}.{name}{_params(params)}",
                type_text(function_type(item)) if hinted else "",
            )
        case s.Foreign(name=name, type=of):
            return "def", f"{module}.{name}", type_text(of)
        case s.CellDef(name=name, params=params, type=of):
            return "cell", f"{module}.{name}{_params(params)}", type_text(of) if of else ""
        case s.CaseDef(name=name, arg=arg):
            return "case", f"{module}.{name}" + ("" if arg is None else f"({type_text(arg)})"), ""
        case s.TypeDef(name=name, params=given, type=of):
            return "type", f"{module}.{name}" + (f"({', '.join(given)})" if given else ""), type_text(of)
    raise AssertionError(item)


def _params(params: tuple[s.Param, ...] | None) -> str:
    return "" if params is None else f"({', '.join(param.name for param in params)})"


def _param(param: s.Param) -> str:
    return param.name if param.type is None else f"{param.name}: {type_text(param.type)}"


def _above(source: Source, start: int) -> list[str]:
    """The lines of the comment that is right above a place, without their marks."""
    line = source.line_of(source.offset(start)) - 1
    lines: list[str] = []
    while (text := source.line_text(line).strip()).startswith(_MARK):
        lines.insert(0, text.removeprefix(_MARK).removeprefix(" "))
        line -= 1
    return lines


def _of_module(unit: Unit) -> list[str]:
    """The lines of the comment of a module: above its head, or the first of a file that is above nothing."""
    source, start = unit.source, unit.module.span.start
    if source.text.startswith("module", start):
        return _above(source, start)
    lines: list[str] = []
    for number in range(1, source.line_of(start)):
        text = source.line_text(number).strip()
        if text.startswith(_MARK):
            lines.append(text.removeprefix(_MARK).removeprefix(" "))
        elif lines:
            return lines
    return []


def _read(lines: list[str]) -> tuple[str, tuple[Example, ...]]:
    """The text and the examples of a comment."""
    text: list[str] = []
    examples: list[Example] = []
    within = False
    for line in lines:
        if line.startswith("> ") and within and not examples[-1].value:
            examples[-1] = Example(f"{examples[-1].expression} {line[2:].strip()}", "")
        elif line.startswith("> "):
            examples.append(Example(line[2:].strip(), ""))
            within = True
        elif not line.strip():
            text.append("")
            within = False
        elif within:
            expression, value = examples[-1]
            examples[-1] = Example(expression, f"{value} {line.strip()}".strip())
        else:
            text.append(line.rstrip())
    paragraphs = "\n".join(text).strip("\n")
    while "\n\n\n" in paragraphs:
        paragraphs = paragraphs.replace("\n\n\n", "\n\n")
    return paragraphs, tuple(examples)
