"""Evaluates expressions and statements of the syntax tree. Small, slow and clear: the reference for the machine.

A call in tail position is handed back as a `Tail` and made by the loop in `apply`, so that it uses no stack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mix_lang import syntax as s
from mix_lang.evaluator.builtins import BUILTINS, GLOBALS
from mix_lang.evaluator.coroutine import Coroutine, Coroutines
from mix_lang.evaluator.instance import Cell, Instance, Program, instantiate
from mix_lang.evaluator.operators import arithmetic, compared, concat, drained
from mix_lang.evaluator.patterns import match
from mix_lang.evaluator.places import get, put
from mix_lang.evaluator.types import conforms
from mix_lang.evaluator.values import (
    ActionValue,
    Constructor,
    Env,
    Function,
    Link,
    ModuleFunction,
    Native,
    Panic,
    Partial,
    Stream,
    kind,
)  # fmt: skip
from mix_lang.walk import every
from mixkit.value import UNDEF, Case, Token

__all__ = ["Machine"]

_DEEPEST: Final = 600
"""Calls within each other, of what Python's own stack leaves room for."""
_CALLABLE: Final = (Function, Native, Constructor, ModuleFunction, Partial)


@dataclass(slots=True)
class Tail:
    """A call that is still to be made."""

    function: Any
    args: tuple[Any, ...]
    node: s.Call


class _Next:
    """A block that ended without a return."""


NEXT: Final = _Next()


class Machine:
    """One run of a program. `ffi(name, args)` answers foreign functions; `budget` bounds the steps."""

    def __init__(self, program: Program, ffi: Any = None, budget: int = 2_000_000) -> None:
        self.program, self._ffi, self._budget = program, ffi, budget
        self.depth = 0
        # The cell that is being computed, innermost last; None where nothing depends on what is read.
        self.reading: list[Cell | None] = []
        self.instances: list[Instance] = []
        self.appstate = Token("appstate")
        self.log: list[str] = []
        self.next_actions: list[Any] = []
        self.idle_actions: list[Any] = []
        self.statics: dict[str, Instance] = {}
        self.coroutines = Coroutines(self)
        # How many coroutines the output waits for, and who waits for them.
        self.held = 0
        self.awaiting: Coroutine | None = None

    # ---------------------------------------------------------------------------------------------- expressions

    def eval(self, node: s.Expr, env: Env) -> Any:
        """The value of an expression."""
        value = self._eval(node, env, False)
        assert type(value) is not Tail
        return value

    def _eval(self, node: s.Expr, env: Env, tail: bool) -> Any:
        self._budget -= 1
        if self._budget < 0:
            raise self.at(Panic("the budget of instructions is used up", "M0904"), node, env)
        try:
            return _RULES[type(node)](self, node, env, tail)
        except Panic as panic:
            raise self.at(panic, node, env) from None

    @staticmethod
    def at(panic: Panic, node: s.Node | s.Part, env: Env) -> Panic:
        """The innermost place that is known counts; not those of the library, which are no help."""
        if panic.source is None and not env.instance.unit.library:
            panic.source, panic.span = env.instance.source, node.span
        return panic

    def _const(self, node: s.Const, env: Env, tail: bool) -> Any:
        return node.value

    def _regex(self, node: s.Regex, env: Env, tail: bool) -> Any:
        return node.pattern

    def _name(self, node: s.Name, env: Env, tail: bool) -> Any:
        scope = env.find(node.name)
        if scope is not None:
            return scope.values[node.name]
        return self.named(node.name, env)

    def named(self, name: str, env: Env) -> Any:
        """What a name that is no local variable means: a member, an import, or what every module has."""
        if env.instance.has(name):
            return env.instance.read(self, name)
        return GLOBALS[name]

    def _qualified(self, node: s.Qualified, env: Env, tail: bool) -> Any:
        return env.instance.read(self, node.name) if node.scope == "self" else GLOBALS[node.name]

    def _field(self, node: s.Field, env: Env, tail: bool) -> Any:
        object_ = self.eval(node.object, env)
        if isinstance(object_, Instance):
            return object_.member(self, node.name)
        return get("field", object_, node.name)

    def _dynamic(self, node: s.Dynamic, env: Env, tail: bool) -> Any:
        object_ = self.eval(node.object, env)
        return get("key", object_, self.eval(node.key, env))

    def _index(self, node: s.Index, env: Env, tail: bool) -> Any:
        object_ = self.eval(node.object, env)
        key = self.eval(node.index, env)
        constant = isinstance(node.index, s.Const) and type(key) is int and 0 <= key < 65536
        return get("constant" if constant else "index", object_, key)

    def _tuple_at(self, node: s.TupleAt, env: Env, tail: bool) -> Any:
        return get("tuple", self.eval(node.object, env), (node.index, node.size))

    def _label(self, node: s.Label, env: Env, tail: bool) -> Any:
        return get("field", self.eval(node.object, env), node.name)

    def _present(self, node: s.Present, env: Env, tail: bool) -> Any:
        return self.eval(node.operand, env) is not UNDEF

    def _slice(self, node: s.Slice, env: Env, tail: bool) -> Any:
        array = self.eval(node.object, env)
        first = 0 if node.first is None else self.eval(node.first, env)
        last = 2**31 - 1 if node.last is None else self.eval(node.last, env)
        return BUILTINS["array_range"](self, first, last, array)

    def _call(self, node: s.Call, env: Env, tail: bool) -> Any:
        special = self._special(node, env)
        if special is not None:
            return special[0]
        function = self.eval(node.function, env)
        args = tuple(self.eval(arg, env) for arg in node.args)
        if tail and type(function) is Function:
            return Tail(function, args, node)
        return self._invoke(function, args, node, env)

    def _special(self, node: s.Call, env: Env) -> tuple[Any] | None:
        """`contents(c)` and `link(c)` take the cell itself."""
        function = node.function
        if not (
            isinstance(function, s.Name) and function.name in ("contents", "link") and len(node.args) == 1
        ):
            return None
        if env.find(function.name) or env.instance.has(function.name):
            return None
        arg, cell = node.args[0], None
        name = arg.name if isinstance(arg, s.Name | s.Qualified) else ""
        if name and not (isinstance(arg, s.Name) and env.find(name)):
            cell = env.instance.cell(name)
        if cell is None:
            value = self.eval(arg, env)
            if type(value) is not Link:
                raise Panic(f"{function.name}: expected a cell or a link, found {kind(value)}")
            cell = value.cell
        return (Link(cell),) if function.name == "link" else (cell.instance.contents(self, cell),)

    def _invoke(self, function: Any, args: tuple[Any, ...], node: s.Call, env: Env) -> Any:
        try:
            return self.apply(function, args)
        except Panic as panic:
            if panic.source is not None:
                panic.frames.append((env.instance.module.name, env.instance.source, node.span))
            raise self.at(panic, node, env) from None

    def _previous(self, node: s.Previous, env: Env, tail: bool) -> Any:
        return env.instance.previous(self, node.name)

    def _inverse(self, node: s.Inverse, env: Env, tail: bool) -> Any:
        value = self.eval(node.case, env)
        if type(value) is not Constructor:
            raise Panic(f"^: expected a case with an argument, found {kind(value)}")
        return Constructor(value.case, True)

    def _not(self, node: s.Not, env: Env, tail: bool) -> Any:
        return negated(self.eval(node.operand, env))

    def _neg(self, node: s.Neg, env: Env, tail: bool) -> Any:
        return (
            arithmetic("-", 0, value)
            if type(value := self.eval(node.operand, env)) is int
            else _negative(value)
        )

    def _chain(self, node: s.Chain, env: Env, tail: bool) -> Any:
        value = self.eval(node.first, env)
        for part in node.parts:
            op = part.op
            if (op == "&&" and value is False) or (op == "||" and value is True):
                continue
            right = self.eval(part.operand, env)
            try:
                value = operated(part, value, right)
            except Panic as panic:
                raise self.at(panic, part, env) from None
        return value

    def _array(self, node: s.Array, env: Env, tail: bool) -> Any:
        return [self._stored(self.eval(item, env), "an array", item, env) for item in node.items]

    def _labels(self, node: s.Labels, env: Env, tail: bool) -> Any:
        return {name: self._stored(self.eval(item, env), "a tuple", item, env) for name, item in node.fields}

    def _map(self, node: s.MapLit, env: Env, tail: bool) -> Any:
        found = {}
        for entry in node.keys:
            key = self.eval(entry.key, env)
            if type(key) is not str:
                message = f"expected a string as the key of a map, found {kind(key)}"
                raise self.at(Panic(message), entry.key, env)
            where = f"the key '{key}' of a map" if isinstance(entry.key, s.Const) else "a map"
            found[key] = self._stored(self.eval(entry.value, env), where, entry.value, env)
        return found

    def _stored(self, value: Any, where: str, node: s.Node, env: Env) -> Any:
        if value is UNDEF:
            raise self.at(Panic(f"undefined may not be stored in {where}", "M0902"), node, env)
        return value

    def _lambda(self, node: s.Lambda, env: Env, tail: bool) -> Any:
        return Function("", node.clauses, env, len(node.clauses[0].patterns))

    def _if(self, node: s.If, env: Env, tail: bool) -> Any:
        for condition, value in node.branches:
            if self._condition(condition, env):
                return self._eval(value, env, tail)
        return self._eval(node.otherwise, env, tail)

    def _condition(self, node: s.Expr, env: Env) -> bool:
        return self.eval(node, env) is True

    def _let(self, node: s.Let, env: Env, tail: bool) -> Any:
        for binding in node.bindings:
            env = Env(env.instance, env)
            self._bind(binding, env)
        return self._eval(node.body, env, tail)

    def _bind(self, node: s.LetStmt, env: Env) -> None:
        """A let in a scope of its own; the value is outside of it."""
        assert env.up is not None
        value = self.eval(node.value, env.up)
        if not match(self, node.pattern, value, env):
            raise self.at(no_match(value), node.value, env)

    def _try(self, node: s.Try, env: Env, tail: bool) -> Any:
        depth, reading = self.depth, len(self.reading)
        try:
            value = self.eval(node.operand, env)
        except Panic as panic:
            if panic.fatal or panic.code == "M0904":
                raise
            self.depth = depth
            del self.reading[reading:]
            self.caught = panic
            return Case("error", panic.value)
        if value is UNDEF:
            return Case("error", "undefined may not be stored in a case, as the argument of ok")
        return Case("ok", value)

    def raise_again(self, value: Any) -> Any:
        """Raise what `try` caught last from where it was raised first; anything else from here."""
        if self.caught is not None and self.caught.value is value:
            raise self.caught
        raise Panic(value if type(value) is str else "an error was raised", "M0906", value=value)

    def _do(self, node: s.Do, env: Env, tail: bool) -> Any:
        value = self.block(node.block, env, tail)
        return None if value is NEXT else value

    def _with(self, node: s.With, env: Env, tail: bool) -> Any:
        value = self.eval(node.object, env)
        for steps, new in node.updates:
            value = self._updated(lambda value=value: value, steps, new, env)  # type: ignore[misc]
        return value

    def _updated(self, whole: Callable[[], Any], steps: tuple[s.Step, ...], new: s.Expr, env: Env) -> Any:
        keys = [self._step(step, env) for step in steps]
        stored = self._stored(self.eval(new, env), "a value", new, env)
        try:
            return put(whole(), keys, stored)
        except Panic as panic:
            raise self.at(panic, steps[0], env) from None

    def _step(self, step: s.Step, env: Env) -> tuple[str, Any]:
        if step.kind == "tuple":
            return "tuple", (step.index, step.size)
        if step.key is None:
            return "field", step.name
        return step.kind, self.eval(step.key, env)

    def _hint(self, node: s.Hint, env: Env, tail: bool) -> Any:
        return self._eval(node.operand, env, tail)

    def _type_check(self, node: s.TypeCheck, env: Env, tail: bool) -> Any:
        def checked(machine: Machine, value: Any) -> Any:
            if not conforms(value, node.type, env.instance):
                from mix_lang.types_text import type_text

                raise Panic(f"expected {type_text(node.type)}, found {kind(value)}", "M0905")
            return value

        return Native("type", 1, checked)

    def _action(self, node: s.Action, env: Env, tail: bool) -> Any:
        seen = {part.name for part in every(node.block) if isinstance(part, s.Name)}
        locals_ = Env(env.instance)
        for name in seen - {"appstate"}:
            scope = env.find(name)
            if scope is not None:
                locals_.values[name] = scope.values[name]
        return ActionValue(env.instance.unit.action_names[node.span.start], node, locals_)

    # ---------------------------------------------------------------------------------------------------- calls

    def apply(self, function: Any, args: tuple[Any, ...]) -> Any:
        """Call a function with as many arguments as there are."""
        self.depth += 1
        try:
            if self.depth > _DEEPEST:
                raise Panic("calls are nested too deep", "M0904")
            while True:
                if type(function) is Partial:
                    function, args = function.function, (*function.args, *args)
                if not isinstance(function, _CALLABLE):
                    raise Panic(f"expected a function to call, found {kind(function)}")
                arity = function.arity
                if len(args) < arity:
                    return Partial(function, args, arity - len(args)) if args else function
                rest = args[arity:]
                if type(function) is not Function:
                    value = self._primitive(function, args[:arity])
                else:
                    value = self._body(function, args[:arity])
                    while type(value) is Tail and rest:
                        value = self._invoke_tail(value)
                    if type(value) is Tail:
                        function, args = value.function, value.args
                        continue
                if not rest:
                    return value
                function, args = value, rest
        finally:
            self.depth -= 1

    def _invoke_tail(self, tail: Tail) -> Any:
        return self.apply(tail.function, tail.args)

    def _body(self, function: Function, args: tuple[Any, ...]) -> Any:
        for clause in function.clauses:
            env = Env(function.env.instance, function.env)
            if not all(match(self, p, a, env) for p, a in zip(clause.patterns, args, strict=True)):
                continue
            if "appstate" in env.values:
                env.appstate = True
            if clause.guard is not None and self.eval(clause.guard, env) is not True:
                continue
            if isinstance(clause.body, s.Block):
                value = self.block(clause.body, env, True)
                return None if value is NEXT else value
            return self._eval(clause.body, env, True)
        value = args[0] if len(args) == 1 else list(args)
        raise self.at(no_match(value), function.clauses[0], function.env)

    def _primitive(self, function: Any, args: tuple[Any, ...]) -> Any:
        if type(function) is Native:
            return function.call(self, *args)
        if type(function) is Constructor:
            if function.inverse:
                (value,) = args
                if type(value) is not Case or value.name != function.case:
                    raise Panic(f"expected the case {function.case}, found {kind(value)}")
                return value.arg
            if args[0] is UNDEF:
                message = f"undefined may not be stored in a case, as the argument of {function.case}"
                raise Panic(message, "M0902")
            return Case(function.case, args[0])
        return instantiate(self, function.module, args)

    def foreign(self, name: str, args: tuple[Any, ...]) -> Any:
        """Call an FFI, or with `%` in front a built-in of the machine."""
        if name.startswith("%"):
            name, _, number = name[1:].partition(" ")
            return BUILTINS[name](self, *((int(number),) if number else ()), *args)
        if name == "$core_sleep":
            return self.coroutines.sleep(args[0])
        if self._ffi is None:
            raise Panic(f"there is no FFI {name} here")
        answer = self._ffi(name, args)
        self.coroutines.pause()
        return answer

    def unwatched(self, call: Any, *args: Any) -> Any:
        """Call something whose reading of cells makes nothing depend on them."""
        self.reading.append(None)
        try:
            return call(*args)
        finally:
            self.reading.pop()

    def run_block(self, block: s.Block, instance: Instance) -> None:
        """Statements that may write cells: of an initializer or an observer."""
        env = Env(instance, appstate=True)
        env.values["appstate"] = self.appstate
        self.unwatched(self.block, block, env)

    # ----------------------------------------------------------------------------------------------- statements

    def block(self, block: s.Block, env: Env, tail: bool = False) -> Any:
        """What it returns, or NEXT; its names end with it."""
        return self.statements(block.statements, Env(env.instance, env), tail)

    def statements(self, statements: tuple[s.Stmt, ...], env: Env, tail: bool = False) -> Any:
        for statement in statements:
            self._budget -= 1
            if type(statement) is s.LetStmt or type(statement) is s.VarStmt:
                # Functions made before keep the variable of that name that they saw.
                env = Env(env.instance, env)
            try:
                value = self._statement(statement, env, tail)
            except Panic as panic:
                raise self.at(panic, statement, env) from None
            if value is not NEXT:
                return value
        return NEXT

    def _statement(self, node: s.Stmt, env: Env, tail: bool) -> Any:
        match node:
            case s.LetStmt():
                self._bind(node, env)
            case s.VarStmt(name=name, value=value):
                assert env.up is not None
                stored = self._stored(self.eval(value, env.up), f"the variable '{name}'", value, env)
                env.values[name] = stored
            case s.Assign():
                self._assign(node, env)
            case s.ExprStmt(value=value):
                self.eval(value, env)
            case s.Return(value=result):
                return None if result is None else self._eval(result, env, tail)
            case s.IfStmt(branches=branches, otherwise=otherwise):
                for branch in branches:
                    if self._condition(branch.condition, env):
                        return self.block(branch.block, env, tail)
                if otherwise is not None:
                    return self.block(otherwise, env, tail)
            case s.While(condition=condition, block=block):
                while self._condition(condition, env):
                    if (value := self.block(block, env, tail)) is not NEXT:
                        return value
            case s.ForVar(init=init, condition=condition, update=update, block=block):
                env = Env(env.instance, env)
                self._statement(init, env, False)
                while self._condition(condition, env):
                    if (value := self.block(block, env, tail)) is not NEXT:
                        return value
                    self._statement(update, env, False)
            case s.ForIn():
                return self._for_in(node, env, tail)
            case s.Switch(subject=subject, clauses=clauses):
                return self._switch(subject, clauses, env, tail)
        return NEXT

    def _for_in(self, node: s.ForIn, env: Env, tail: bool) -> Any:
        stream = self.eval(node.stream, env)
        if type(stream) is not Stream:
            raise self.at(Panic(f"expected a stream to read from, found {kind(stream)}"), node.stream, env)
        for item in drained(stream):
            inner = Env(env.instance, env)
            if not match(self, node.pattern, item, inner):
                raise self.at(no_match(item), node.pattern, env)
            if (value := self.block(node.block, inner, tail)) is not NEXT:
                return value
        return NEXT

    def _switch(self, subject: s.Expr, clauses: tuple[s.Clause, ...], env: Env, tail: bool) -> Any:
        value = self.eval(subject, env)
        for clause in clauses:
            inner = Env(env.instance, env)
            if not match(self, clause.patterns[0], value, inner):
                continue
            if clause.guard is not None and self.eval(clause.guard, inner) is not True:
                continue
            assert isinstance(clause.body, s.Block)
            return self.block(clause.body, inner, tail)
        raise self.at(no_match(value), subject, env)

    def _assign(self, node: s.Assign, env: Env) -> None:
        target = node.target
        name = target.name if isinstance(target, s.Name | s.Qualified) else ""
        scope = env.find(name) if isinstance(target, s.Name) else None
        if scope is not None and type(scope.values[name]) is not Link:
            # What the new value does to the variable itself counts.
            whole = partial(scope.values.get, name)
            scope.values[name] = self._new_value(node, whole, f"the variable '{name}'", env)
            return
        cell = scope.values[name].cell if scope is not None else env.instance.cell(name)
        assert cell is not None
        old = cell.instance.contents(self, cell) if node.steps else None
        cell.instance.assign(self, cell, self._new_value(node, lambda: old, f"the cell '{name}'", env))

    def _new_value(self, node: s.Assign, whole: Callable[[], Any], where: str, env: Env) -> Any:
        if node.steps:
            return self._updated(whole, node.steps, node.value, env)
        return self._stored(self.eval(node.value, env), where, node.value, env)


def no_match(value: Any) -> Panic:
    """The error of a value that no pattern matches."""
    return Panic(f"no pattern matches the {kind(value)}", "M0903")


def operated(part: s.Part, a: Any, b: Any) -> Any:
    """The value of an operator and its operands."""
    if part.op == "&&":
        return both(a, b)
    if part.op == "||":
        return either(a, b)
    if part.op == "++":
        return concat(a, b)
    return arithmetic(part.op, a, b) if part.op in "+-*/%" else compared(part.op, part.ci, a, b)


def negated(value: Any) -> Any:
    if value is UNDEF:
        return value
    if type(value) is not bool:
        raise Panic(f"not: expected a bool, found {kind(value)}")
    return not value


def _negative(value: Any) -> Any:
    if value is UNDEF or value is None:
        return value
    if type(value) is not float:
        raise Panic(f"-: expected a number, found {kind(value)}")
    return -value


def both(a: Any, b: Any) -> Any:
    """Kleene's and of values of which the first is not false."""
    _logical("&&", a, b)
    return False if b is False else UNDEF if UNDEF in (a, b) else True


def either(a: Any, b: Any) -> Any:
    """Kleene's or of values of which the first is not true."""
    _logical("||", a, b)
    return True if b is True else UNDEF if UNDEF in (a, b) else False


def _logical(op: str, a: Any, b: Any) -> None:
    if not all(type(value) is bool or value is UNDEF for value in (a, b)):
        raise Panic(f"{op}: expected two bools, found {kind(a)} and {kind(b)}")


_RULES: Final[dict[type, Any]] = {
    s.Const: Machine._const, s.Regex: Machine._regex, s.Name: Machine._name, s.Qualified: Machine._qualified,
    s.Field: Machine._field, s.Dynamic: Machine._dynamic, s.Index: Machine._index, s.TupleAt: Machine._tuple_at,
    s.Label: Machine._label, s.Present: Machine._present, s.Slice: Machine._slice, s.Call: Machine._call,
    s.Previous: Machine._previous, s.Inverse: Machine._inverse, s.Not: Machine._not, s.Neg: Machine._neg,
    s.Chain: Machine._chain, s.Array: Machine._array, s.Labels: Machine._labels, s.MapLit: Machine._map,
    s.Lambda: Machine._lambda, s.If: Machine._if, s.Let: Machine._let, s.Try: Machine._try, s.Do: Machine._do,
    s.With: Machine._with, s.Hint: Machine._hint, s.TypeCheck: Machine._type_check, s.Action: Machine._action,
}  # fmt: skip
