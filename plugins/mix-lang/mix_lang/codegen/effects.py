"""Definitions that differ from run to run: what an FFI says, and what is random.

A value that needs no instance of its module is computed once, at init, where no FFI is called and no number is random.
So what may reach one of these does need an instance.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from mix_lang import syntax as s
from mix_lang.program import Program, Unit
from mix_lang.walk import every

__all__ = ["effectful"]

_RANDOM: Final = "%random_"


def effectful(program: Program, unit: Unit, known: dict[Unit, frozenset[str]]) -> frozenset[str]:
    """Members of a module that may call an FFI, or draw a random number, when they are computed or called.

    Args:
        known: those of modules, as far as they were asked for; those of this one are added.
    """
    if unit not in known:
        find = partial(_effectful, program, unit, known)
        at = ("effects", *program.within(unit))
        known[unit] = program.memory.remembered(at, find) if unit.library else find()
    return known[unit]


def _effectful(program: Program, unit: Unit, known: dict[Unit, frozenset[str]]) -> frozenset[str]:
    others = {
        name: effectful(program, program.units[member.item.module], known)
        for name, member in unit.members.items()
        if isinstance(member.item, s.Import) and member.item.module in program.units
    }
    uses = {name: unit.fact(member.item, "named", _named) for name, member in unit.members.items()}
    found = {
        name
        for name, member in unit.members.items()
        if (isinstance(member.item, s.Foreign) and member.item.ffi.startswith(("$", _RANDOM)))
        or any(of in others and used in others[of] for of, used in uses[name])
    }
    names = {name: {used for of, used in named if not of} for name, named in uses.items()}
    while more := {name for name, used in names.items() if name not in found and not found.isdisjoint(used)}:
        found |= more
    return frozenset(found)


def _named(item: s.Item | s.Param) -> frozenset[tuple[str, str]]:
    """What a definition names: with the name in front of it, or ""."""
    found = set()
    for node in every(item):
        if isinstance(node, s.Name | s.Qualified):
            found.add(("", node.name))
        elif isinstance(node, s.Field) and isinstance(node.object, s.Name):
            found.add((node.object.name, node.name))
    return frozenset(found)
