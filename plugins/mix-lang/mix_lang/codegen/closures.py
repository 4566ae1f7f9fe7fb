"""Functions within functions: what they capture, and their alternatives."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.codegen import patterns
from mix_lang.codegen.function import Fn

__all__ = ["body_of", "closure", "finish"]


def closure(fn: Fn, clauses: tuple[s.Clause, ...], to: int, name: str = "", key: str = "") -> None:
    """Put a new closure into a register."""
    gen = fn.gen
    shown = name or f"{fn.b.name}/lambda"
    key = key or gen.new_key(shown)
    inner = Fn(gen, gen.assembly.function(key, len(clauses[0].patterns), name=shown), fn.unit, fn)
    body_of(inner, clauses)
    finish(fn, inner, to)


def finish(fn: Fn, inner: Fn, to: int) -> None:
    """Make the closure of a function that is generated, with what it captures."""
    count = len(inner.captured)
    inner.b.captures = count
    if not count:
        fn.b.emit("func", to, inner.b.key)
        return
    mark = fn.mark()
    first = fn.b.register(count)
    for local, index in inner.captured.items():
        fn.raw(local, first + index)
    fn.b.emit("closure", to, first, inner.b.key)
    fn.release(mark)


def body_of(fn: Fn, clauses: tuple[s.Clause, ...]) -> None:
    """The body of a function: its alternatives are tried in order, its arguments are in the first registers."""
    for clause in clauses:
        mark = fn.mark()
        fn.scopes.append({})
        other = fn.b.label()
        certain = clause.guard is None
        for number, pattern in enumerate(clause.patterns):
            if isinstance(pattern, s.PVar):
                # An argument never changes: its register is the name's.
                fn.declare(pattern.name, number)
            elif not isinstance(pattern, s.PAny):
                certain = False
                fn.at(pattern.span)
                patterns.names_of(fn, pattern)
                patterns.match(fn, pattern, number, other)
        if clause.guard is not None:
            fn.jump_unless(clause.guard, other)
        if isinstance(clause.body, s.Block):
            fn.block_body(clause.body)
        else:
            fn.tail(clause.body)
        fn.scopes.pop()
        fn.release(mark)
        fn.b.place(other)
        if certain:
            break
    else:
        fn.at(clauses[0].span)
        if len(clauses[0].patterns) == 1:
            fn.b.emit("no_match", 0)
        else:
            register = fn.temp()
            fn.b.emit("array", register, 0, len(clauses[0].patterns))
            fn.b.emit("no_match", register)
        return
    # A label may stand behind the last alternative: there is an instruction for it, though nothing reaches it.
    register = fn.temp()
    fn.b.emit("literal", register, "null")
    fn.b.emit("return", register)
