"""What was typed so far, as a module that grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mix_lang import library
from mix_lang import syntax as s
from mix_lang.compile import Checked, check
from mix_lang.compiler import executable, gather
from mix_lang.diagnostic import Diagnostic, Report
from mix_lang.errors import CompileError
from mix_lang.infer.modules import member_types
from mix_lang.lexer import tokenize
from mix_lang.parser import parse
from mix_lang.program import Unit
from mix_lang.source import Source

from mixkit.errors import MixError
from mixkit.sources import Sources

__all__ = ["FILE", "Typed", "is_open"]

FILE: Final = "repl.mix"
_VALUES: Final = "valuesOfTheRepl"
"""The parameter with the values that were kept."""
_SHOWN: Final = "shownByTheRepl"
_OUTPUT: Final = f"cell output = let {_SHOWN} = (\n%s\n); if ({_SHOWN}?) [{_SHOWN}] else []"
_TYPED: Final = f"cell {_SHOWN} = (\n%s\n)\ncell output = null"
_NAMES: Final = (s.Def, s.Foreign, s.CellDef, s.Alias, s.CaseDef, s.TypeDef)


def is_open(text: str) -> bool:
    """Whether more lines have to come: something is not closed, or what goes on stands last."""
    source = Source(FILE, text)
    report = Report(source)
    tokens = tokenize(source, report)
    depth = 0
    for token in tokens:
        if token.kind == "op" and token.value in ("(", "[", "{"):
            depth += 1
        elif token.kind == "op" and token.value in (")", "]", "}"):
            depth -= 1
    last = tokens[-2] if len(tokens) > 1 else None
    waits = (
        last is not None and last.kind == "op" and last.value in ("=", "->", "|>", "+", "&&", "||", "++", ",")
    )
    unclosed = text.count('"""') % 2 == 1 or text.rfind("/*") > text.rfind("*/")
    return depth > 0 or waits or unclosed


class Typed:
    """Definitions, imports and values that were typed.

    Attributes:
        values: what `let` has kept, by name.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._items: dict[str, str] = {}
        self._folders: list[Path] = []

    def load(self, path: Path) -> str:
        """Import a file, and what is beside it. It is read anew whenever something is run. Answers its module's name.

        Raises:
            MixError: it cannot be read, or has errors.
        """
        sources = Sources(path.absolute())
        checked = check(gather(sources))
        if checked.failed:
            raise CompileError(checked.diagnostics)
        unit = checked.unit_of(path.name)
        assert unit is not None
        if f"{unit.name}.mix" != path.name:
            raise MixError(f"the module {unit.name} is imported from a file of its name, found {path.name}")
        self._folders.insert(0, path.absolute().parent)
        self.define(f"import {unit.name}")
        return unit.name

    def define(self, text: str) -> list[str]:
        """Take definitions up, in place of those of the same names. Answers what they define.

        Raises:
            CompileError: something is wrong in them, and all is as before.
        """
        source = Source(FILE, text)
        report = Report(source)
        modules = parse(source, "repl", report)
        if report.failed:
            raise CompileError(report.found)
        before, kept = dict(self._items), dict(self.values)
        names = []
        for item in modules[0].items if modules else ():
            name = _name_of(item, text)
            self.values.pop(name.partition(" ")[2], None)
            declares = isinstance(item, s.Def | s.CellDef) and item.body is None
            # What is declared stays above its definition.
            key = f"{name}:" if declares else name
            if not declares and f"{key}:" not in self._items:
                self._items.pop(key, None)
            self._items[key] = text[item.span.start : item.span.end]
            names.append(name.partition(" ")[2] or name)
        try:
            self._right("null", declared=True)
        except CompileError:
            self._items, self.values = before, kept
            raise
        return names

    def keep(self, name: str, value: Any) -> None:
        """Keep a value under a name."""
        self._items.pop(f"def {name}", None)
        self.values[name] = value

    def forget(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]

    def listed(self) -> list[str]:
        """What was typed, in the order in which it counts."""
        return [*self._items.values(), *(f"let {name} = …" for name in self.values)]

    def run_code(self, expression: str) -> bytes:
        """The executable that answers an expression: in an array, which is empty for undefined. Its parameter is a map
        of `values`.

        Raises:
            CompileError: something is wrong in it.
        """
        checked = self._right(expression)
        return executable(checked.program, "repl")

    def type_of(self, expression: str) -> str:
        """The type of an expression; "" if that is nothing certain. Raises as `run_code`."""
        checked = self._right(expression, _TYPED)
        return member_types(checked.program, self.unit(checked)).get(_SHOWN, "")

    def unit(self, checked: Checked) -> Unit:
        found = checked.unit_of(FILE)
        assert found is not None
        return found

    def source_of(self, module: str) -> str | None:
        """The text of a module that was loaded, or is beside one; None if there is none."""
        return _Beside("", self._folders).get(f"{module}.mix")

    def text(self, expression: str, shown: str = _OUTPUT, declared: bool = False) -> str:
        """The module with all of it, and an expression at the end.

        Modules of the library that it names are imported by themselves.

        Args:
            shown: what is made of the expression.
            declared: with what is declared and not defined yet.
        """
        items = [
            text
            for key, text in self._items.items()
            if declared or not key.endswith(":") or key[:-1] in self._items
        ]
        source = Source(FILE, " ".join([*items, expression]))
        named = {token.value for token in tokenize(source, Report(source)) if token.kind == "name"}
        mine = {key.partition(" ")[2] for key in self._items} | self.values.keys()
        imports = [f"import {name}" for name in sorted(named & library.sources().keys() - mine)]
        values = [f"def {name} = {_VALUES}.{name}" for name in self.values]
        above = [f"module repl({_VALUES})", *imports, *values, *items]
        return "\n".join([*above, shown % expression, "module end", ""])

    def _right(self, expression: str, shown: str = _OUTPUT, declared: bool = False) -> Checked:
        text = self.text(expression, shown, declared)
        checked = check(gather(_Beside(text, self._folders)))
        wrong = [
            _moved(item, text, expression)
            for item in checked.diagnostics
            if item.cls == "error" and not (declared and item.code == "M0312")
        ]
        if wrong:
            raise CompileError(wrong)
        return checked


def _name_of(item: s.Item, text: str) -> str:
    """Under what an item is kept: another one of that takes its place."""
    if isinstance(item, s.Import):
        return f"import {item.alias}"
    if isinstance(item, _NAMES):
        return f"{'type' if isinstance(item, s.TypeDef) else 'def'} {item.name}"
    return text[item.span.start : item.span.end]


def _moved(item: Diagnostic, text: str, expression: str) -> Diagnostic:
    """A finding in what was typed, in its place there; any other as it is."""
    start = text.rindex(f"(\n{expression}\n)") + 2
    if item.source.file != FILE or not start <= item.span.start <= start + len(expression):
        return item
    report = Report(Source(FILE, expression))
    span = type(item.span)(item.span.start - start, min(item.span.end - start, len(expression)))
    report.add(item.code, span, item.message, hint=item.hint, cls=item.cls)
    return report.found[0]


class _Beside(Mapping[str, str]):
    """The module, and the files of some folders."""

    def __init__(self, text: str, folders: list[Path]) -> None:
        self._text = text
        self._folders = [Sources(folder / FILE) for folder in folders]

    def __getitem__(self, name: str) -> str:
        if name == FILE:
            return self._text
        for sources in self._folders:
            if name in sources:
                return sources[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name == FILE or any(name in sources for sources in self._folders)

    def __iter__(self) -> Iterator[str]:
        yield FILE

    def __len__(self) -> int:
        return 1
