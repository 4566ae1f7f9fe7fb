"""All modules of a program from text to a checked tree, with everything that is wrong in one go. Touches no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from mix_lang import library
from mix_lang.arguments import with_arguments_checked
from mix_lang.check.imports import check_imports
from mix_lang.check.modules import check_module
from mix_lang.diagnostic import Diagnostic, Report
from mix_lang.garbage import uncollected
from mix_lang.infer.modules import check_types
from mix_lang.memory import Memory
from mix_lang.parser import parse
from mix_lang.passages import read as passages_of
from mix_lang.program import Program, Unit, members_of
from mix_lang.queries import with_queries
from mix_lang.source import Source, Span

__all__ = ["Checked", "add_library", "check", "imports_of"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, in the order of the sources and their lines. `program` can run unless `failed`."""

    program: Program
    diagnostics: tuple[Diagnostic, ...]

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(item.cls == "error" for item in self.diagnostics)

    def unit_of(self, file: str) -> Unit | None:
        """The first module of a source; None if there is none. The library's files may be called as one of these."""
        units = self.program.units.values()
        return next((unit for unit in units if unit.source.file == file and not unit.library), None)


@uncollected
def check(sources: Mapping[str, str], memory: Memory | None = None) -> Checked:
    """Parse and check the modules of a program.

    Args:
        sources: names of files to their text. A module without a head is called after its file. Modules of the
            standard library are there without being given; one that is given takes their place.
        memory: what is remembered of compilations before, so that only what has changed is looked at. Whatever is in
            it, the answer is the same.
    """
    program = Program(known=frozenset(library.sources()), memory=Memory() if memory is None else memory)
    reports: list[Report] = []
    units: list[tuple[Unit, Report]] = []
    for file, text in sources.items():
        read, parsed = _read(file, text, program.memory)
        report = parsed.copy()
        reports.append(report)
        for unit in read:
            known = program.units.get(unit.name)
            if known is not None:
                report.add(
                    "M0304", Span(unit.module.span.start, unit.module.span.start + 6),
                    f"there is a module '{unit.name}' in {known.source.file} already", name=unit.name,
                )  # fmt: skip
                continue
            program.units[unit.name] = unit
            units.append((unit, report))
    add_library(program)
    check_imports(program, units)
    for unit, report in units:
        check_module(program, unit, report)
    check_types(program, units)
    found = [item for report in reports for item in sorted(report.found, key=lambda item: item.span)]
    return Checked(program, tuple(found))


def _read(file: str, text: str, memory: Memory) -> tuple[list[Unit], Report]:
    """The modules of a file, and what is wrong with its text."""

    def read() -> tuple[list[Unit], Report]:
        source = Source(file, text)
        report = Report(source)
        modules = [
            with_queries(module, passages, report, memory)
            for module, passages in passages_of(source, _stem(file), report, memory)
        ]
        return [
            Unit(module, source, *members_of(module), passages=passages) for module, passages in modules
        ], report

    return memory.remembered(("read", file, text), read, 2 * len(text))


def imports_of(file: str, text: str, memory: Memory) -> list[str]:
    """The modules that a source imports."""
    return [name for unit in _read(file, text, memory)[0] for name in unit.imports]


def _stem(file: str) -> str:
    return file.rsplit("/", 1)[-1].split(".")[0]


def add_library(program: Program) -> None:
    """The modules of the standard library that the program imports, through others too."""
    todo = list(program.units.values())
    while todo:
        for item in todo.pop().links:
            if item.module not in program.units and item.module in program.known:
                unit = program.units[item.module] = _of_library(item.module)
                todo.append(unit)


@cache
def _of_library(name: str) -> Unit:
    """A module of the standard library, which is known to be right: a test checks it like any other."""
    source = Source(f"{name}.mix", library.sources()[name])
    (module,) = map(with_arguments_checked, parse(source, name, Report(source)))
    return Unit(module, source, *members_of(module), library=True)
