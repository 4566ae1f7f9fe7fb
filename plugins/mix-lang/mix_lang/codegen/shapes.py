"""What the code of a definition depends on, beside its text and what is seen of others: the shapes of the members that
it mentions."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from mix_lang import syntax as s
from mix_lang.codegen import inline
from mix_lang.codegen.members import Members, is_function
from mix_lang.passages import Passage
from mix_lang.program import Unit, actions_in
from mix_lang.surroundings import Surroundings, interface

__all__ = ["Shapes"]


class Shapes:
    """Of the members of one module.

    Args:
        others: answers those of the modules that it imports.
    """

    def __init__(self, gen: Members, unit: Unit, others: Callable[[Unit], Shapes]) -> None:
        self._gen, self._unit, self._others = gen, unit, others
        self._surroundings = Surroundings(gen.program, unit) if unit.passages else None
        self._numbers = {passage: number for number, passage in enumerate(unit.passages)}
        self._known: dict[str, Hashable] = {}
        self._module: Hashable = None

    def of(self, item: s.Item | s.Param | None) -> Hashable:
        """All that the code of a definition depends on; None if it is made of all the module."""
        unit, gen = self._unit, self._gen
        if self._surroundings is None:
            return gen.program.within(unit)
        if item is None:
            return None
        passage = unit.passage_of(item)
        actions = tuple(unit.action_names[start] for start in actions_in(unit, item))
        return (
            unit.name,
            passage,
            self._surroundings.of(passage, self._numbers[passage]),
            tuple(self._shape(name) for name in passage.mentioned if name in unit.members),
            actions,
            gen.number_slot(unit) if actions else 0,
        )

    def module(self) -> Hashable:
        """What the code of other modules depends on."""
        if self._module is None:
            unit, gen = self._unit, self._gen
            shapes = tuple(self._shape(name) for name in unit.members)
            found = (interface(gen.program, unit), unit.stateful, gen.numbered(unit), shapes)
            self._module = gen.program.memory.remembered(("shapes", found), object)
        return self._module

    def _shape(self, name: str) -> Hashable:
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = (self._plain(name), self._inside(name))
        return found

    def _plain(self, name: str) -> Hashable:
        """Whether it is in a slot, and whether it is a function."""
        member = self._unit.members[name]
        function = is_function(member.item)
        return (
            self._gen.slot(self._unit, name) if self._gen.bound(self._unit, name) else None,
            self._gen.arity(self._unit, member) if function else None,
        )

    def _inside(self, name: str) -> Hashable:
        """What is in it, where its users have that in them: of a small function, and of a module."""
        unit, gen = self._unit, self._gen
        member = unit.members[name]
        if isinstance(member.item, s.Import):
            other = gen.program.units.get(member.item.module)
            return None if other is None or not other.passages else self._others(other).module()
        if gen.bound(unit, name) or not inline.is_small(unit, member):
            return None
        passage = unit.passage_of(member.item)
        return passage, self._around(passage)

    def _around(self, passage: Passage) -> Hashable:
        assert self._surroundings is not None
        names = [name for name in passage.mentioned if name in self._unit.members]
        return tuple((self._surroundings.signature(name), self._plain(name)) for name in names)
