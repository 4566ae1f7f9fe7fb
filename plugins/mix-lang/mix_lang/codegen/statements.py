"""Statements to instructions."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.codegen import names, operators, patterns, places
from mix_lang.codegen.function import Fn
from mix_lang.walk import every

__all__ = ["assigns", "block"]


def assigns(node: object) -> bool:
    """Whether anything in it assigns to a variable."""
    return any(isinstance(part, s.Assign) for part in every(node))


def block(fn: Fn, node: s.Block) -> None:
    """Statements; the names in them end with the block."""
    mark = fn.mark()
    fn.scopes.append({})
    captured, changed = _captured(node), _changed(node)
    for statement in node.statements:
        _statement(fn, statement, captured, changed)
    fn.scopes.pop()
    fn.release(mark)


def _captured(node: s.Block) -> set[str]:
    """Names that functions in the block mention: a var of such a name is shared with them."""
    found: set[str] = set()
    for inner in every(node):
        if isinstance(inner, s.Lambda | s.Action | s.Try):
            found |= {name.name for name in every(inner) if isinstance(name, s.Name)}
    return found


def _changed(node: s.Node) -> set[str]:
    """Names of variables to whose elements something is assigned."""
    return {
        inner.target.name
        for inner in every(node)
        if isinstance(inner, s.Assign) and inner.steps and isinstance(inner.target, s.Name)
    }


def _statement(fn: Fn, node: s.Stmt, captured: set[str], changed: set[str]) -> None:
    match node:
        case s.LetStmt():
            patterns.bind(fn, node)
        case s.VarStmt():
            _var(fn, node, captured, changed)
        case s.Assign():
            _assign(fn, node)
        case s.ExprStmt(value=value):
            mark = fn.mark()
            fn.value(value)
            fn.release(mark)
        case s.Return(value=result):
            _return(fn, result)
        case s.IfStmt(branches=branches, otherwise=otherwise):
            end = fn.b.label()
            for branch in branches:
                other = fn.b.label()
                fn.jump_unless(branch.condition, other)
                block(fn, branch.block)
                fn.b.emit("jump", end)
                fn.b.place(other)
            if otherwise is not None:
                block(fn, otherwise)
            fn.b.place(end)
        case s.While(condition=condition, block=inner):
            again, end = fn.b.label(), fn.b.label()
            fn.b.place(again)
            fn.jump_unless(condition, end)
            block(fn, inner)
            fn.b.emit("jump", again)
            fn.b.place(end)
        case s.ForVar():
            _for_var(fn, node)
        case s.ForIn():
            _for_in(fn, node)
        case s.Switch():
            _switch(fn, node)


def _var(fn: Fn, node: s.VarStmt, captured: set[str], changed: set[str]) -> None:
    register = fn.temp()
    boxed = node.name in captured
    mark = fn.mark()
    value = fn.temp() if boxed else register
    fn.into(node.value, value)
    operators.stored(fn, value, node.value, f"the variable '{node.name}'")
    if boxed:
        fn.b.emit("slots", register, 1)
        fn.b.emit("set_slot", register, 0, value)
    fn.release(mark)
    fn.declare(node.name, register, boxed, True, not boxed and node.name in changed)


def _assign(fn: Fn, node: s.Assign) -> None:
    target = node.target
    local = fn.find(target.name) if isinstance(target, s.Name) else None
    if local is None or not local.var:
        names.assign(fn, node)
        return
    mark = fn.mark()
    if node.steps:
        register = local.register if local.fn is fn and not local.boxed else fn.temp()
        places.update(fn, register, node.steps, node.value, local)
    else:
        pushed = _pushed(node)
        if pushed is not None and local.fn is fn and not local.boxed:
            # `a = a + [x]` appends.
            item = fn.value(pushed)
            fn.at(node.value.span)
            fn.b.emit("jump_kind", local.register, "array", array := fn.b.label())
            other = fn.temp()
            fn.b.emit("move", other, item)
            fn.b.emit("array", other, other, 1)
            fn.b.emit("add", local.register, local.register, other)
            fn.b.emit("jump", done := fn.b.label())
            fn.b.place(array)
            fn.b.emit("push", local.register, item)
            fn.b.place(done)
            fn.release(mark)
            return
        register = fn.temp()
        fn.into(node.value, register)
        operators.stored(fn, register, node.value, f"the variable '{target.name}'")
    fn.write(local, register)
    fn.release(mark)


def _pushed(node: s.Assign) -> s.Expr | None:
    """The x of `a = a + [x]`."""
    value = node.value
    if not isinstance(value, s.Chain) or len(value.parts) != 1 or value.parts[0].op != "+":
        return None
    operand = value.parts[0].operand
    if not isinstance(value.first, s.Name) or not isinstance(node.target, s.Name):
        return None
    if value.first.name != node.target.name or not isinstance(operand, s.Array) or len(operand.items) != 1:
        return None
    return None if assigns(operand) else operand.items[0]


def _return(fn: Fn, result: s.Expr | None) -> None:
    if fn.do:
        register, end = fn.do[-1]
        if result is None:
            fn.b.emit("literal", register, "null")
        else:
            fn.into(result, register)
        fn.b.emit("jump", end)
    elif result is None:
        register = fn.temp()
        fn.b.emit("literal", register, "null")
        fn.b.emit("return", register)
        fn.release(register)
    else:
        fn.tail(result)


def _for_var(fn: Fn, node: s.ForVar) -> None:
    mark = fn.mark()
    fn.scopes.append({})
    whole = s.Block(node.span, (s.ExprStmt(node.span, node.condition), node.update, *node.block.statements))
    _var(fn, node.init, _captured(whole), _changed(whole))
    again, end = fn.b.label(), fn.b.label()
    fn.b.place(again)
    fn.jump_unless(node.condition, end)
    block(fn, node.block)
    _statement(fn, node.update, set(), set())
    fn.b.emit("jump", again)
    fn.b.place(end)
    fn.scopes.pop()
    fn.release(mark)


def _for_in(fn: Fn, node: s.ForIn) -> None:
    mark = fn.mark()
    stream = fn.temp()
    fn.into(node.stream, stream)
    item = fn.temp()
    again, end, fail = fn.b.label(), fn.b.label(), fn.b.label()
    fn.b.place(again)
    fn.at(node.stream.span)
    window = fn.b.window(0)
    fn.b.emit("next", item, stream, window)
    fn.release(window)
    fn.b.emit("jump_end", item, end)
    fn.scopes.append({})
    if isinstance(node.pattern, s.PVar):
        fn.declare(node.pattern.name, item)
    else:
        patterns.names_of(fn, node.pattern)
        patterns.match(fn, node.pattern, item, fail)
    block(fn, node.block)
    fn.scopes.pop()
    fn.b.emit("jump", again)
    fn.b.place(fail)
    fn.at(node.pattern.span)
    fn.b.emit("no_match", item)
    fn.b.place(end)
    fn.release(mark)


def _switch(fn: Fn, node: s.Switch) -> None:
    mark = fn.mark()
    subject = fn.temp()
    fn.into(node.subject, subject)
    end = fn.b.label()
    for clause in node.clauses:
        inner = fn.mark()
        other = fn.b.label()
        fn.scopes.append({})
        pattern = clause.patterns[0]
        fn.at(pattern.span)
        patterns.names_of(fn, pattern)
        patterns.match(fn, pattern, subject, other)
        if clause.guard is not None:
            fn.jump_unless(clause.guard, other)
        assert isinstance(clause.body, s.Block)
        block(fn, clause.body)
        fn.scopes.pop()
        fn.b.emit("jump", end)
        fn.b.place(other)
        fn.release(inner)
    fn.at(node.subject.span)
    fn.b.emit("no_match", subject)
    fn.b.place(end)
    fn.release(mark)
