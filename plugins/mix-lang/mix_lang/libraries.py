"""Libraries: modules in one file, with their source and with their code, which links without being generated again.

The source is what others are checked against, and what messages and backtraces show. The code counts as long as the
modules that it was generated against are the ones that are there; else it is generated from the source, as if it were
none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from mix_rt.qcode import LIBRARY, Code, QCodeError, packed, unpacked

from mix_lang.codegen.generator import Generator, Part
from mix_lang.program import Program, Unit

__all__ = ["Library", "library_of"]


def library_of(program: Program, units: Sequence[Unit]) -> bytes:
    """A library of some modules of a checked program."""
    generator = Generator(program)
    generator.library(list(units))
    names = {unit.name for unit in units}
    passages = generator.whereabouts()
    modules, parts = [], []
    for unit in units:
        needs = {
            other.name: _digest(other)
            for other in program.within(unit)
            if isinstance(other, Unit) and other.name not in names
        }
        modules.append([unit.name, unit.source.file, unit.source.text, needs])
    for (what, unit), part in sorted(generator.parts.items(), key=lambda item: (item[0][1].name, item[0][0])):
        if unit in units:
            functions = [packed(builder, passages) for builder in part.builders]
            parts.append([what, unit.name, functions, [list(asked) for asked in part.asked]])
    code = Code(LIBRARY)
    code.library = {"modules": modules, "parts": parts}
    return code.to_bytes()


def _digest(unit: Unit) -> str:
    return hashlib.sha256(unit.source.text.encode()).hexdigest()


class Library:
    """A library that was read.

    Attributes:
        sources: its modules: names of files to text.

    Raises:
        QCodeError: it is none.
    """

    def __init__(self, data: bytes) -> None:
        code = Code.from_bytes(data)
        if code.kind != LIBRARY or not code.library:
            raise QCodeError("expected a library of Mix, found other QCode")
        self.sources: dict[str, str] = {}
        self._needs: dict[str, Mapping[str, str]] = {}
        try:
            for name, file, text, needs in code.library["modules"]:
                if not all(type(part) is str for part in (name, file, text)) or "/" in file:
                    raise QCodeError("a library is malformed: expected names and texts of its modules")
                self.sources[file] = text
                self._needs[name] = dict(needs)
            self._functions = [
                (
                    str(what),
                    str(name),
                    tuple(map(unpacked, functions)),
                    tuple(tuple(map(str, each)) for each in asked),
                )
                for what, name, functions, asked in code.library["parts"]
            ]
        except (TypeError, ValueError, KeyError) as exc:
            raise QCodeError(f"a library is malformed: {exc}") from None

    def parts(self, program: Program) -> dict[tuple[str, Unit], Part]:
        """Its code, as far as it fits the modules of a program."""
        fits = {name for name in self._needs if self._fits(program, name)}
        # Those that import one another stand and fall together.
        while True:
            less = {
                name
                for name in fits
                if any(
                    isinstance(other, Unit) and other.name in self._needs and other.name not in fits
                    for other in program.within(program.units[name])
                )
            }
            if not less:
                break
            fits -= less
        return {
            (what, program.units[name]): Part(functions, asked)
            for what, name, functions, asked in self._functions
            if name in fits
        }

    def _fits(self, program: Program, name: str) -> bool:
        unit = program.units.get(name)
        if unit is None or self.sources.get(unit.source.file) != unit.source.text:
            return False
        needs = self._needs[name]
        return all(
            isinstance(other, Unit) and (other.name in self._needs or needs.get(other.name) == _digest(other))
            for other in program.within(unit)
        )
