"""Sources in, an executable or a library out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mix_rt.qcode import QCodeError, TooLarge

from mix_lang.check.meta import module_meta
from mix_lang.compile import Checked, check, imports_of
from mix_lang.diagnostic import Diagnostic, Report
from mix_lang.errors import CompileError
from mix_lang.garbage import uncollected
from mix_lang.memory import Memory
from mix_lang.program import Program, Unit
from mix_lang.source import Span

if TYPE_CHECKING:
    from mix_lang.libraries import Library

__all__ = ["build", "build_all", "build_library", "executable", "gather"]


def gather(sources: Mapping[str, str], memory: Memory | None = None) -> dict[str, str]:
    """The first source, and those of the modules that it imports, which are in files of their names."""
    first = next(iter(sources))
    found = {first: sources[first]}
    todo = [first]
    memory = Memory() if memory is None else memory
    while todo:
        name = todo.pop()
        for module in imports_of(name, found[name], memory):
            file = f"{module}.mix"
            if file not in found and file in sources:
                found[file] = sources[file]
                todo.append(file)
    return found


def build(
    sources: Mapping[str, str], libraries: Sequence[Library] = (), memory: Memory | None = None
) -> tuple[bytes, Checked]:
    """The executable, and what the checks had to say that is no error. `CompileError` if there are errors.

    Args:
        libraries: where modules are that are not among the sources.
        memory: what is remembered of compilations before, so that only what has changed is compiled. Whatever is in it,
            the answer is the same, byte for byte.
    """
    if libraries:
        more = {file: text for library in libraries for file, text in library.sources.items()}
        sources = _Laid(sources, more)
    memory = Memory() if memory is None else memory
    found = gather(sources, memory)
    checked = check(found, memory)
    if checked.failed:
        raise CompileError(checked.diagnostics)
    first = next(iter(found))
    unit = checked.unit_of(first)
    assert unit is not None
    report = Report(unit.source)
    _is_agent(unit, report)
    if report.failed:
        raise CompileError([*checked.diagnostics, *report.found])
    return _code(checked, unit, libraries), checked


class _Laid(Mapping[str, str]):
    """Sources, and those of libraries where there are no others."""

    def __init__(self, sources: Mapping[str, str], more: Mapping[str, str]) -> None:
        self._sources, self._more = sources, more

    def __getitem__(self, name: str) -> str:
        return self._sources[name] if name in self._sources else self._more[name]

    def __contains__(self, name: object) -> bool:
        return name in self._sources or name in self._more

    def __iter__(self) -> Iterator[str]:
        yield from self._sources
        yield from (name for name in self._more if name not in self._sources)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def build_library(sources: Mapping[str, str], memory: Memory | None = None) -> tuple[bytes, Checked]:
    """A library of all modules among the sources. `memory` and what it raises are as in `build`."""
    from mix_lang.libraries import library_of

    checked = check(sources, memory)
    if checked.failed:
        raise CompileError(checked.diagnostics)
    units = [
        unit for unit in checked.program.units.values() if unit.source.file in sources and not unit.library
    ]
    return library_of(checked.program, units), checked


def build_all(sources: Mapping[str, str], memory: Memory | None = None) -> tuple[dict[str, bytes], Checked]:
    """The executables of all agents among the sources, by their files, when all of the sources are right. `memory` is
    as in `build`.

    Raises:
        CompileError: with everything that is wrong in them.
    """
    checked = check(sources, memory)
    if checked.failed:
        raise CompileError(checked.diagnostics)
    units = [
        unit for unit in checked.program.units.values() if unit.source.file in sources and not unit.library
    ]
    agents = [unit for unit in units if "output" in unit.members]
    reports = [Report(unit.source) for unit in agents]
    for unit, report in zip(agents, reports, strict=True):
        _is_agent(unit, report)
    if any(report.failed for report in reports):
        raise CompileError([*checked.diagnostics, *(item for report in reports for item in report.found)])
    return {unit.source.file: _code(checked, unit) for unit in agents}, checked


@uncollected
def _code(checked: Checked, unit: Unit, libraries: Sequence[Library] = ()) -> bytes:
    """The executable of an agent."""
    from mix_lang.codegen.generator import generate

    given = {key: part for library in libraries for key, part in library.parts(checked.program).items()}
    try:
        code = generate(checked.program, unit.name, given)
    except RecursionError:
        report = Report(unit.source)
        report.add("M0203", unit.module.span, "this module is nested too deep", hint="give inner parts names")
        raise CompileError(report.found) from None
    except (LookupError, TypeError, ValueError, AssertionError):
        if not given:
            raise
        # Nobody but this compiler writes libraries, unless somebody means harm.
        raise QCodeError("a library is malformed: its code asks for what there is not") from None
    code.manifest = _manifest(unit, sorted({ffi.name for ffi in code.ffis}))
    try:
        return code.to_bytes()
    except TooLarge as exc:
        raise CompileError([_too_large(checked, unit, exc)]) from None


def _too_large(checked: Checked, unit: Unit, error: TooLarge) -> Diagnostic:
    """What does not fit, at the definition that it is in."""
    module, _, rest = error.function.partition(".")
    unit = checked.program.units.get(module) or unit
    name = rest.split("/")[0]
    member = unit.members.get(name)
    report = Report(unit.source)
    report.add(
        "M0604", unit.module.span if member is None else getattr(member.item, "name_span", member.item.span),
        f"the code of '{name or module}' is too large",
        hint="a function holds 65,536 locals, a jump 32,767 instructions: give parts of it names of their own",
        name=name or module,
    )  # fmt: skip
    return report.found[0]


def _is_agent(unit: Unit, report: Report) -> None:
    """An agent has a cell `output`, and takes at most one parameter."""
    output = unit.members.get("output")
    head = Span(unit.module.span.start, min(unit.module.span.end, unit.module.span.start + len("module")))
    if output is None or output.kind not in ("cell", "alias"):
        report.add(
            "M0603", head, f"the module '{unit.name}' is no agent: it has no cell 'output'",
            hint="write cell output = …, the answer of the agent",
        )  # fmt: skip
    elif len(unit.module.params) > 1:
        report.add(
            "M0603", unit.module.params[1].span, "an agent takes one parameter: a map of all that it is given",
            hint="take the parts out of it: p.name",
        )  # fmt: skip


def _manifest(unit: Unit, ffis: list[str]) -> dict[str, Any]:
    """What callers see of the agent: what `_meta_` says, and the FFIs that its code calls."""
    meta = module_meta(unit.module)
    about = {key: meta[key] for key in ("description", "inParams", "outParams") if key in meta}
    return {
        "version": 1,
        "name": unit.name,
        "description": meta.get("description", ""),
        "entries": {unit.name: about},
        "grants": {"ffis": ffis, "options": {}},
    }


def executable(program: Program, module: str) -> bytes:
    """The executable of an agent in a program that is known to be right."""
    return _code(Checked(program, ()), program.units[module])
