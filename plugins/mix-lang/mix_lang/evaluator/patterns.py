"""Matching a value against a pattern."""

from __future__ import annotations

from typing import Any

from mix_lang import syntax as s
from mix_lang.evaluator.operators import compared, same
from mix_lang.evaluator.running import Running
from mix_lang.evaluator.types import conforms
from mix_lang.evaluator.values import Env
from mixkit.value import UNDEF, Case

__all__ = ["match"]


def match(machine: Running, pattern: s.Pattern, value: Any, env: Env) -> bool:
    """Whether it matches; what it binds is in `env` then, and may be there in part if not."""
    match pattern:
        case s.PAny():
            return True
        case s.PVar(name=name):
            env.values[name] = value
            return True
        case s.PConst(value=constant):
            return same(value, constant) if _plain(value) else False
        case s.PAt(name=name, pattern=inner):
            if not match_(machine, inner, value, env):
                return False
            env.values[name] = value
            return True
        case s.PArray(slots=slots):
            return type(value) is list and _array(machine, slots, value, env)
        case s.PMap(fields=fields):
            return type(value) is dict and _map(machine, fields, value, env)
        case s.PCase(name=name, arg=arg):
            if type(value) is not Case or value.name != name:
                return False
            if arg is None:
                return value.arg is UNDEF
            return value.arg is not UNDEF and match_(machine, arg, value.arg, env)
        case s.PType(type=of):
            return conforms(value, of, env.instance)
        case s.PCompare(name=name, op=op, ci=ci, right=right):
            if not _plain(value) or compared(op, ci, value, machine.eval(right, env)) is not True:
                return False
            if name != "_":
                env.values[name] = value
            return True
        case s.PAll(op="and", parts=parts):
            return all(match_(machine, part, value, env) for part in parts)
        case s.PAll(parts=parts):
            return any(match_(machine, part, value, env) for part in parts)
    raise AssertionError(pattern)


match_ = match


def _plain(value: Any) -> bool:
    """Whether it can be compared at all: functions and streams cannot, and match no constant."""
    return value is None or type(value).__module__ != "mix_lang.evaluator.values"


def _array(machine: Running, slots: tuple[s.Slot, ...], value: list[Any], env: Env) -> bool:
    needed = sum(slot.mode == "one" for slot in slots)
    spare = len(value) - needed
    many = any(slot.mode == "multiple" for slot in slots)
    optional = sum(slot.mode == "optional" for slot in slots)
    if spare < 0 or (not many and spare > optional):
        return False
    at = 0
    for slot in slots:
        item: Any
        if slot.mode == "multiple":
            # Optional slots behind it get what is left when all before it have theirs: nothing.
            item, at, spare = value[at : at + spare], at + spare, 0
        elif slot.mode == "optional" and not spare:
            item = UNDEF
        else:
            spare -= slot.mode == "optional"
            item, at = value[at], at + 1
        if not match_(machine, slot.pattern, item, env):
            return False
    return True


def _map(machine: Running, fields: tuple[tuple[str, s.Pattern, bool], ...], value: Any, env: Env) -> bool:
    for key, inner, optional in fields:
        item = value.get(key, UNDEF)
        if item is UNDEF and not optional:
            return False
        if item is UNDEF:
            # What is absent binds undefined, whatever the pattern asks of a value.
            _absent(inner, env)
        elif not match_(machine, inner, item, env):
            return False
    return True


def _absent(pattern: s.Pattern, env: Env) -> None:
    match pattern:
        case s.PVar(name=name):
            env.values[name] = UNDEF
        case s.PAt(name=name, pattern=inner):
            env.values[name] = UNDEF
            _absent(inner, env)
        case s.PCompare(name=name):
            env.values[name] = UNDEF
        case s.PAll(parts=parts):
            for part in parts:
                _absent(part, env)
        case s.PArray(slots=slots):
            for slot in slots:
                _absent(slot.pattern, env)
        case s.PMap(fields=fields):
            for _, inner, _ in fields:
                _absent(inner, env)
        case s.PCase(arg=arg) if arg is not None:
            _absent(arg, env)
