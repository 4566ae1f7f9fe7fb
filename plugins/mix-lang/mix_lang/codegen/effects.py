"""Definitions that differ from run to run: what an FFI says, and what is random.

A value that needs no instance of its module is computed once, at init, where no FFI is called and no number is random.
So what may reach one of these does need an instance.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from mix_lang import syntax as s
from mix_lang.memory import remembered
from mix_lang.program import Program, Unit
from mix_lang.walk import every

__all__ = ["effectful"]

_RANDOM: Final = "%random_"


def effectful(program: Program, unit: Unit) -> frozenset[str]:
    """Members of a module that may call an FFI, or draw a random number, when they are computed or called."""
    within = program.within(unit)
    return remembered(
        ("effects", *within), partial(_effectful, unit, [at for at in within if isinstance(at, Unit)])
    )


def _effectful(unit: Unit, within: list[Unit]) -> frozenset[str]:
    uses = {
        (at.name, name): used
        for at in within
        for name, used in remembered(("named", at), partial(_uses, at)).items()
    }
    found = {
        (at.name, member.name)
        for at in within
        for member in at.members.values()
        if isinstance(member.item, s.Foreign) and member.item.ffi.startswith(("$", _RANDOM))
    }
    while more := {
        where for where, used in uses.items() if where not in found and not found.isdisjoint(used)
    }:
        found |= more
    return frozenset(name for module, name in found if module == unit.name)


def _uses(unit: Unit) -> dict[str, frozenset[tuple[str, str]]]:
    """What each member of a module names: module and name."""
    return {member.name: frozenset(_named(unit, member.item)) for member in unit.members.values()}


def _named(unit: Unit, item: s.Item | s.Param) -> set[tuple[str, str]]:
    found = set()
    for node in every(item):
        if isinstance(node, s.Name | s.Qualified):
            found.add((unit.name, node.name))
        elif isinstance(node, s.Field) and isinstance(node.object, s.Name):
            member = unit.members.get(node.object.name)
            if member is not None and isinstance(member.item, s.Import):
                found.add((member.item.module, node.name))
    return found
