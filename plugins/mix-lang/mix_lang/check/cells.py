"""What cells, and definitions that are values, depend on: their order, and circles."""

from __future__ import annotations

from typing import Final

from mix_lang import syntax as s
from mix_lang.diagnostic import Report
from mix_lang.program import Member, Unit, fallback_of
from mix_lang.walk import children, every

__all__ = ["cell_order", "check_cells", "definition_order"]

_BINDING: Final = frozenset((s.PVar, s.PAt, s.VarStmt))


def check_cells(unit: Unit, report: Report) -> None:
    """Report circles: of cells, and of definitions that need themselves for their value."""
    cell_order(unit, report)
    definition_order(unit, report)


def cell_order(unit: Unit, report: Report | None = None) -> list[str]:
    """The cells of a module, each behind those that it depends on; of what is free, in the order of the text."""
    names = [member.name for member in unit.members.values() if member.kind in ("cell", "alias")]
    uses, known = _uses(unit), frozenset(names)
    graph = {name: [used for used in uses[name] if used in known] for name in names}
    return _ordered(
        unit, graph, report, "M0601", "these cells depend on each other", "a cell depends on itself"
    )


def definition_order(unit: Unit, report: Report | None = None) -> list[str]:
    """The definitions of a module that are values, each behind those that it needs, through functions too. What a
    foreign definition is here instead of its FFI is one of them."""
    defs = {
        member.name: member
        for member in unit.members.values()
        if isinstance(member.item, s.Def)
        or (isinstance(member.item, s.Foreign) and fallback_of(member.item) is not None)
    }
    values = [name for name, member in defs.items() if _is_value(member)]
    uses, known = _uses(unit), frozenset(values)
    direct = {name: [used for used in uses[name] if used in defs] for name in defs}
    graph = {name: _reached(direct, name, known) for name in values}
    return _ordered(
        unit, graph, report, "M0602", "these definitions need each other for their values",
        "a definition needs itself for its value",
    )  # fmt: skip


def _is_value(member: Member) -> bool:
    item = member.item
    if isinstance(item, s.Foreign):
        return True
    return isinstance(item, s.Def) and item.params is None and not isinstance(item.body, s.Lambda)


def _reached(direct: dict[str, list[str]], start: str, values: frozenset[str]) -> list[str]:
    """The values that are needed for one: those that it names, and those that functions name that it names."""
    found: list[str] = []
    seen: set[str] = set()
    todo = list(direct[start])
    while todo:
        name = todo.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name in values:
            found.append(name)
        else:
            todo += direct[name]
    return found


def _uses(unit: Unit) -> dict[str, list[str]]:
    """What each member mentions."""
    if unit.uses is None:
        unit.uses = {name: unit.fact(member.item, "uses", _used) for name, member in unit.members.items()}
    return unit.uses


def _used(item: s.Item | s.Param) -> list[str]:
    """Names of members that a definition mentions, but those behind `link` and `contents`; in the order of the text."""
    if isinstance(item, s.Foreign):
        root: object = fallback_of(item)
    else:
        root = item.target if isinstance(item, s.Alias) else getattr(item, "body", None)
    found: dict[str, None] = {}
    # Names that are local somewhere inside: not told apart further, since shadowing a member is rare.
    bound: set[str] = set()
    todo: list[object] = [root]
    unread: list[object] = []
    while todo:
        node = todo.pop()
        kind = type(node)
        if kind is s.Name or (kind is s.Qualified and node.scope == "self"):  # type: ignore[attr-defined]
            found[node.name] = None  # type: ignore[attr-defined]
        elif kind in _BINDING:
            bound.add(node.name)  # type: ignore[attr-defined]
        elif kind is s.Action or (kind is s.Call and _is_unread(node.function)):  # type: ignore[attr-defined]
            # An action runs later, and depends on nothing now.
            unread.append(node)
            continue
        todo += children(node)
    for node in every(tuple(unread)):
        if type(node) in _BINDING:
            bound.add(node.name)
    return [name for name in found if name not in bound]


def _is_unread(function: s.Expr) -> bool:
    return type(function) is s.Name and function.name in ("link", "contents")


def _ordered(
    unit: Unit, graph: dict[str, list[str]], report: Report | None, code: str, many: str, one: str
) -> list[str]:
    """Depth first, so that each comes behind what it needs. A circle is reported once, and cut."""
    order: list[str] = []
    state: dict[str, int] = {}
    for start in graph:
        way = [(start, list(graph[start]))] if start not in state else []
        if way:
            state[start] = 1
        while way:
            name, left = way[-1]
            if not left:
                way.pop()
                state[name] = 2
                order.append(name)
                continue
            used = left.pop(0)
            if state.get(used) == 1:
                circle = [step for step, _ in way]
                circle = [*circle[circle.index(used) :], used]
                if report is not None:
                    item = unit.members[used].item
                    span = getattr(item, "name_span", item.span)
                    text = f"{one}: '{used}'" if len(circle) == 2 else f"{many}: {' -> '.join(circle)}"
                    report.add(code, span, text, circle=circle)
            elif used not in state:
                state[used] = 1
                way.append((used, list(graph[used])))
    return order
