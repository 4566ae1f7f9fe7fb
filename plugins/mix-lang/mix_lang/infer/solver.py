"""What has to hold between types: the same, one where another is wanted, and what waits until more is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mix_lang.infer.types import (
    ANY,
    DATA,
    NUMBER,
    STRING,
    Con,
    Record,
    Scheme,
    Type,
    Var,
    Variant,
    array,
    free,
    inner,
    map_of,
    prune,
    stream,
)  # fmt: skip

__all__ = ["Clash", "Constraint", "Missing", "NoSum", "Solver", "Uncertain"]

_DATA_NAMES = frozenset(("null", "bool", "number", "string", "word", "data", "array", "map", "tuple"))
_SUMS = 16
"""How many sums a function may leave open; of more it is taken that they are of numbers."""
_MOST = 2_000
"""How often types are compared within one comparison: those that are larger are let through."""


class Clash(Exception):
    """Two types do not go together; the innermost two."""

    def __init__(self, found: Type, wanted: Type) -> None:
        self.found, self.wanted = found, wanted


class NoSum(Exception):
    """Two types that `+` does not add."""

    def __init__(self, left: Type, right: Type) -> None:
        self.left, self.right = left, right


class Missing(Exception):
    """A field that a map has not."""

    def __init__(self, name: str, of: Record) -> None:
        self.name, self.of = name, of


class Uncertain(Exception):
    """Nothing says what an operation means."""


def _uncertain() -> bool:
    raise Uncertain


@dataclass(eq=False, slots=True)
class Constraint:
    """An operation whose meaning depends on types that are not known yet: `solve(types)` answers False to wait.

    `types`: operands and result, in an order of its own. `where`: called around what it reports.
    """

    solve: Callable[[Solver, tuple[Type, ...]], bool]
    types: tuple[Type, ...]
    guard: Callable[[Callable[[], bool]], bool]
    what: str
    done: bool = field(default=False)


class Solver:
    """Binds variables, and goes on with what waits for them."""

    def __init__(self) -> None:
        self.level = 0
        self.pending: list[Constraint] = []
        self._steps = 0
        self._woken: deque[Constraint] = deque()
        self._going_on = False

    def new(self) -> Var:
        return Var(self.level)

    # Constraints

    def add(self, constraint: Constraint) -> None:
        """Solve it now, or as soon as it can be."""
        self.pending.append(constraint)
        self._try(constraint)

    def _try(self, constraint: Constraint) -> None:
        if constraint.done:
            return
        constraint.done = True
        self._steps = 0
        if constraint.guard(lambda: constraint.solve(self, constraint.types)):
            self.pending = [other for other in self.pending if other is not constraint]
            return
        constraint.done = False
        for part in constraint.types:
            part = prune(part)
            if type(part) is Var and constraint not in part.waits:
                part.waits.append(constraint)

    def bind(self, var: Var, to: Type) -> None:
        to = prune(to)
        if to is var:
            return
        for part in free(to):
            if part is var:
                raise Clash(var, to)
            part.level = min(part.level, var.level)
        waits, var.waits = var.waits, []
        var.ref = to
        if type(to) is Var:
            to.waits += waits
        self._woken += waits
        if self._going_on:
            return
        # One after the other, and not each within the one before: chains of operators are long.
        self._going_on = True
        try:
            while self._woken:
                self._try(self._woken.popleft())
        finally:
            self._going_on = False

    def give_up(self) -> None:
        """Nothing more comes: say what still waits."""
        for constraint in self.pending:
            constraint.guard(_uncertain)
        self.pending = []

    # Schemes

    def generalized(self, of: Type) -> Scheme:
        """What is deeper than the level now is for all types."""
        mine = {var.id: var for var in free(of) if var.level > self.level}
        held: list[Constraint] = []
        more = True
        while more:
            more = False
            for constraint in self.pending:
                if constraint in held or constraint.done:
                    continue
                found = [var for part in constraint.types for var in free(part)]
                if any(var.id in mine for var in found):
                    held.append(constraint)
                    mine |= {var.id: var for var in found if var.level > self.level}
                    more = True
        sums = [constraint for constraint in held if constraint.solve is added]
        if len(sums) > _SUMS:
            for part in [part for constraint in sums for part in constraint.types]:
                if type(prune(part)) is Var:
                    self.unify(part, NUMBER)
            return self.generalized(of)
        self.pending = [constraint for constraint in self.pending if constraint not in held]
        for constraint in held:
            # It says what the scheme is for; it is solved for each use.
            constraint.done = True
        return Scheme(tuple(mine.values()), tuple(held), of)

    def instance(self, scheme: Scheme, guard: Callable[[str], Callable[[Callable[[], bool]], bool]]) -> Type:
        """The type for one use; `guard` makes what is around a constraint, for why there is one."""
        if not scheme.vars:
            return scheme.type
        new: dict[int, Type] = {var.id: self.new() for var in scheme.vars}
        known: dict[int, Type] = {}
        of = _copied(scheme.type, new, known)
        for held in scheme.constraints:
            types = tuple(_copied(part, new, known) for part in held.types)
            self.add(Constraint(held.solve, types, guard(held.what), held.what))
        return of

    # Relations

    def unify(self, a: Type, b: Type) -> None:
        """Make two types the same."""
        a, b = prune(a), prune(b)
        self._steps += 1
        if a is b or self._steps > _MOST:
            return
        if type(a) is Var:
            self.bind(a, b)
        elif type(b) is Var:
            self.bind(b, a)
        elif type(a) is Con and type(b) is Con and a.name == b.name and len(a.args) == len(b.args):
            for x, y in zip(a.args, b.args, strict=True):
                self.unify(x, y)
        elif type(a) is Record and type(b) is Record and a.fields.keys() == b.fields.keys():
            for key, (part, _) in a.fields.items():
                self.unify(part, b.fields[key][0])
        elif type(a) is Variant and type(b) is Variant and (a.cases.keys() == b.cases.keys()):
            self._cases(a, b)
        else:
            self.fits(a, b)

    def fits(self, found: Type, wanted: Type) -> None:
        """A value of the one may stand where the other is wanted."""
        found, wanted = prune(found), prune(wanted)
        self._steps += 1
        if found is wanted or self._steps > _MOST:
            return
        if _is(found, "any") or _is(wanted, "any"):
            if type(found) is Var or type(wanted) is Var:
                self.unify(found, wanted)
            return
        if _is(found, "null") and _is_data(wanted):
            return
        if _is(wanted, "data"):
            self._is_data(found, wanted)
        elif type(found) is Var or type(wanted) is Var:
            self.unify(found, wanted)
        else:
            self._fits(found, wanted)

    def _is_data(self, found: Type, wanted: Type) -> None:
        if type(found) is Con and found.name not in _DATA_NAMES:
            raise Clash(found, wanted)
        for part in inner(found):
            self.fits(part, wanted)

    def _fits(self, found: Type, wanted: Type) -> None:
        match found, wanted:
            case Con(name="->", args=(a, b)), Con(name="->", args=(x, y)):
                self.fits(x, a)
                self.fits(b, y)
            case Con(name=one, args=some), Con(name=other, args=others) if one == other and len(some) == len(
                others
            ):
                for a, b in zip(some, others, strict=True):
                    self.fits(a, b)
            case Con(name="tuple", args=some), Con(name="array", args=(of,)):
                for a in some:
                    self.fits(a, of)
            case Con(name="array", args=(of,)), Con(name="tuple", args=others):
                # A literal of elements of one type may be either; how many there are is seen when it runs.
                for b in others:
                    self.fits(of, b)
            case Record(fields=have), Record(fields=want):
                for key, (part, absent) in want.items():
                    if key in have:
                        self.fits(have[key][0], part)
                    elif not absent:
                        raise Missing(key, found)
            case Record(fields=have), Con(name="map", args=(of,)):
                for part, _ in have.values():
                    self.fits(part, of)
            case (Con(name="word"), Con(name="string" | "number")) | (
                Con(name="string" | "number"),
                Con(name="word"),
            ):
                pass
            case Variant(), Variant():
                if not wanted.open and not found.cases.keys() <= wanted.cases.keys():
                    raise Clash(found, wanted)
                self._cases(found, wanted)
            case _:
                raise Clash(found, wanted)

    def _cases(self, found: Variant, wanted: Variant) -> None:
        for name, arg in found.cases.items():
            if name not in wanted.cases:
                continue
            other = wanted.cases[name]
            if (arg is None) != (other is None):
                raise Clash(found, wanted)
            if arg is not None and other is not None:
                self.fits(arg, other)

    def joined(self, a: Type, b: Type) -> Type:
        """A type for values of either: of an `if`, of alternatives, of the elements of an array."""
        a, b = prune(a), prune(b)
        self._steps += 1
        if a is b or _is(b, "null") or _is(a, "any") or self._steps > _MOST:
            return a
        if _is(a, "null") or _is(b, "any"):
            return b
        if (_is(a, "data") and _is_data(b)) or (_is(b, "data") and _is_data(a)):
            return DATA
        match a, b:
            case Variant(), Variant():
                self._cases(a, b)
                return Variant(a.cases | b.cases, a.open or b.open)
            case Con(name="tuple", args=some), Con(name="tuple", args=others) if len(some) == len(others):
                return Con("tuple", tuple(map(self.joined, some, others)))
            case Con(name="array" | "stream" | "map", args=(x,)), Con(name=other, args=(y,)) if (
                a.name == other
            ):
                return Con(a.name, (self.joined(x, y),))
            case Record(fields=some), Record(fields=others) if some.keys() == others.keys():
                return Record({
                    key: (self.joined(part, others[key][0]), absent or others[key][1])
                    for key, (part, absent) in some.items()
                })  # fmt: skip
        try:
            self.fits(b, a)
        except (Clash, Missing) as clash:
            try:
                self.fits(a, b)
            except (Clash, Missing):
                # What comes second is where one looks for the fault.
                raise clash from None
            return b
        return a

    def checked(self, relation: Callable[[Type, Type], None], found: Type, wanted: Type) -> None:
        """A comparison from its beginning."""
        self._steps = 0
        relation(found, wanted)


def _is(of: Type, name: str) -> bool:
    return type(of) is Con and of.name == name


def _is_data(of: Type) -> bool:
    return type(of) is not Con or of.name in _DATA_NAMES


def _copied(of: Type, new: dict[int, Type], known: dict[int, Type]) -> Type:
    """A type with other variables. What it shares, the copy shares."""
    of = prune(of)
    if type(of) is Var:
        return new.get(of.id, of)
    if id(of) not in known:
        known[id(of)] = _copy(of, new, known)
    return known[id(of)]


def _copy(of: Type, new: dict[int, Type], known: dict[int, Type]) -> Type:
    match of:
        case Con(name=name, args=args) if args:
            return Con(name, tuple(_copied(arg, new, known) for arg in args))
        case Record(fields=fields):
            return Record(
                {key: (_copied(part, new, known), absent) for key, (part, absent) in fields.items()}
            )
        case Variant(cases=cases, open=is_open):
            copies = {key: None if arg is None else _copied(arg, new, known) for key, arg in cases.items()}
            return Variant(copies, is_open)
    return of


# What operations mean, once enough is known. Each takes operands and result, and answers whether it was enough.


def added(solver: Solver, types: tuple[Type, ...]) -> bool:
    """`a + b`: two numbers, a string and a string or number, two arrays, two maps."""
    left, right, result = (prune(part) for part in types)
    if _is(left, "any") or _is(right, "any"):
        solver.unify(result, ANY)
    elif _is(left, "null") or _is(right, "null"):
        solver.unify(result, right if _is(left, "null") else left)
    elif _is(left, "number") and _is(right, "number"):
        solver.unify(result, NUMBER)
    elif (_is(left, "string") and (_is(right, "string") or _is(right, "number"))) or (
        _is(left, "number") and _is(right, "string")
    ):
        solver.unify(result, STRING)
    elif _is(result, "number"):
        solver.unify(left, NUMBER)
        solver.unify(right, NUMBER)
    elif type(left) is Var and type(right) is Var:
        return False
    elif type(left) is Var or type(right) is Var:
        known, other = (right, left) if type(left) is Var else (left, right)
        if _is(known, "number") or _is(known, "string"):
            return False
        solver.unify(other, known)
        solver.unify(result, known)
    elif type(left) is Record and type(right) is Record:
        solver.unify(result, Record(left.fields | right.fields))
    elif _element(left) is not None and _element(right) is not None:
        solver.unify(result, solver.joined(_as_array(solver, left), _as_array(solver, right)))
    elif _map_like(left) and _map_like(right):
        solver.unify(result, solver.joined(_as_map(solver, left), _as_map(solver, right)))
    else:
        raise NoSum(left, right)
    return True


def _element(of: Type) -> Type | None:
    return of if type(of) is Con and of.name in ("array", "tuple") else None


def _map_like(of: Type) -> bool:
    return type(of) is Record or _is(of, "map")


def _all_of(solver: Solver, parts: tuple[Type, ...]) -> Type:
    found: Type = solver.new()
    for index, part in enumerate(parts):
        found = part if index == 0 else solver.joined(found, part)
    return found


def _as_array(solver: Solver, of: Type) -> Type:
    return array(_all_of(solver, of.args)) if type(of) is Con and of.name == "tuple" else of


def _as_map(solver: Solver, of: Type) -> Type:
    return map_of(_all_of(solver, inner(of))) if type(of) is Record else of


def accessed(name: str) -> Callable[[Solver, tuple[Type, ...]], bool]:
    """`x.name`."""

    def solve(solver: Solver, types: tuple[Type, ...]) -> bool:
        of, result = prune(types[0]), types[1]
        match of:
            case Var():
                return False
            case Record(fields=fields):
                if name not in fields:
                    raise Missing(name, of)
                solver.unify(result, fields[name][0])
            case Con(name="map", args=(part,)):
                solver.unify(result, part)
            case Con(name="data" | "any" | "null"):
                solver.unify(result, of)
            case _:
                raise Clash(of, map_of(result))
        return True

    return solve


def indexed(solver: Solver, types: tuple[Type, ...]) -> bool:
    """`a[i]`, `m.(k)`: an element of an array by a number, of a map by a string."""
    of, key, result = prune(types[0]), prune(types[1]), types[2]
    match of:
        case Var() if _is(key, "number") or _is(key, "string"):
            part = solver.new()
            solver.unify(of, array(part) if _is(key, "number") else map_of(part))
            solver.unify(result, part)
        case Var():
            return False
        case Con(name="array" | "tuple"):
            solver.fits(key, NUMBER)
            solver.unify(result, _all_of(solver, of.args))
        case Con(name="map") | Record():
            solver.fits(key, STRING)
            solver.unify(result, _all_of(solver, inner(of)))
        case Con(name="data" | "any" | "null"):
            solver.unify(result, of)
        case _:
            raise Clash(of, array(result))
    return True


def sliced(solver: Solver, types: tuple[Type, ...]) -> bool:
    """`a[]`: a stream of what an array holds."""
    of, result = prune(types[0]), types[1]
    if type(of) is Var:
        solver.unify(of, array(solver.new()))
        of = prune(of)
    if _is(of, "data") or _is(of, "any") or _is(of, "null"):
        solver.unify(result, stream(of))
    elif type(of) is Con and of.name in ("array", "tuple"):
        solver.unify(result, stream(_all_of(solver, of.args)))
    else:
        raise Clash(of, array(solver.new()))
    return True


def chained(solver: Solver, types: tuple[Type, ...]) -> bool:
    """`a ++ b`: a stream of both; what is none is one element."""
    left, right, result = (prune(part) for part in types)
    if type(left) is Var or type(right) is Var:
        return False
    parts = [part.args[0] if type(part) is Con and part.name == "stream" else part for part in (left, right)]
    solver.unify(result, stream(solver.joined(*parts)))
    return True


def compared(solver: Solver, types: tuple[Type, ...]) -> bool:
    """Two values that may be equal."""
    left, right = (prune(part) for part in types)
    if type(left) is Var or type(right) is Var:
        solver.unify(left, right)
    elif not (_is(left, "data") or _is(right, "data")):
        solver.joined(left, right)
    return True


__all__ += ["accessed", "added", "chained", "compared", "indexed", "sliced"]
