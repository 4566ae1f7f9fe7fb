"""Types in statements."""

from __future__ import annotations

from mix_lang import syntax as s
from mix_lang.infer import patterns
from mix_lang.infer.bodies import Bodies
from mix_lang.infer.relations import Locals
from mix_lang.infer.types import BOOL, NULLS, Con, Scheme, Type, Var, prune, stream, text

__all__ = ["Statements"]


class Statements(Bodies):
    """Finds out the types of blocks."""

    def block(self, block: s.Block, local: Locals, result: Type) -> None:
        """A block whose returns give `result`; where it ends without one, that is null."""
        self._body(block, dict(local), result)
        if type(prune(result)) is Var and not _returns(block):
            self.solver.unify(result, NULLS)

    def _body(self, block: s.Block, local: Locals, result: Type) -> None:
        inner = dict(local)
        for statement in block.statements:
            self._statement(statement, inner, result)

    def _statement(self, node: s.Stmt, local: Locals, result: Type) -> None:
        match node:
            case s.LetStmt():
                self.let(node, local)
            case s.VarStmt(name=name, type=hint, value=value):
                if hint is None:
                    of = self._variable(self.infer(value, local))
                else:
                    of = self.hinted(hint)
                    self.check(value, of, local, f"'{name}' is hinted as {text(of)}")
                local[name] = Scheme((), (), of)
                local[f"var {name}"] = local[name]
            case s.Assign():
                self._assign(node, local)
            case s.IfStmt(branches=branches, otherwise=otherwise):
                for branch in branches:
                    self.check(branch.condition, BOOL, local, "a condition is a bool")
                    self._body(branch.block, local, result)
                if otherwise is not None:
                    self._body(otherwise, local, result)
            case s.While(condition=condition, block=block):
                self.check(condition, BOOL, local, "a condition is a bool")
                self._body(block, local, result)
            case s.ForVar(init=init, condition=condition, update=update, block=block):
                inner = dict(local)
                self._statement(init, inner, result)
                self.check(condition, BOOL, inner, "a condition is a bool")
                self._statement(update, inner, result)
                self._body(block, inner, result)
            case s.ForIn(pattern=pattern, stream=source, block=block):
                element = self.solver.new()
                self.check(source, stream(element), local, "'for' goes through a stream")
                inner = dict(local)
                patterns.bind(self, pattern, element, inner)
                self._body(block, inner, result)
            case s.Switch(subject=subject, clauses=clauses):
                self._switch(subject, clauses, local, result)
            case s.Return(value=value):
                self._return(node, value, local, result)
            case s.ExprStmt(value=value):
                self.infer(value, local)

    def _variable(self, of: Type) -> Type:
        """A variable that begins as null will be something else; so will the elements of an empty array."""
        known = prune(of)
        return self.solver.new() if type(known) is Con and known.name == "null" else of

    def _return(self, node: s.Return, value: s.Expr | None, local: Locals, result: Type) -> None:
        known = prune(result)
        if value is None:
            self.relate(node.span, NULLS, result, "a return without a value gives null")
        elif type(known) is Var:
            of = self.infer(value, local)
            if not (type(prune(of)) is Con and prune(of).name == "null"):  # type: ignore[union-attr]
                self.relate(value.span, of, result, "what is returned", unify=True)
        else:
            self.check(value, result, local, f"the result is {text(result)}")

    def _switch(self, subject: s.Expr, clauses: tuple[s.Clause, ...], local: Locals, result: Type) -> None:
        of = self.infer(subject, local)
        patterns.alternatives(self, [clause.patterns[0] for clause in clauses], of)
        for number, clause in enumerate(clauses):
            inner = dict(local)
            patterns.bind(self, clause.patterns[0], patterns.narrowed(of, clauses[:number], 0), inner)
            if clause.guard is not None:
                self.check(clause.guard, BOOL, inner, "a guard is a bool")
            if isinstance(clause.body, s.Block):
                self._body(clause.body, inner, result)

    def _assign(self, node: s.Assign, local: Locals) -> None:
        of = self.infer(node.target, local)
        known = prune(of)
        if node.target.name in local and f"var {node.target.name}" not in local and type(known) is Var:
            # A parameter that is written is a link to a cell.
            part = self.solver.new()
            self.solver.unify(known, Con("link", (part,)))
            known = prune(of)
        if type(known) is Con and known.name == "link":
            of = known.args[0]
        name = node.target.name
        if node.steps:
            new = self.updated(of, node.steps, node.value, local)
            if new is not of and name in local:
                local[name] = Scheme((), (), new)
            return
        self.check(node.value, of, local, f"'{name}' is {text(of)}{self.defined(name, local)}")


def _returns(block: s.Block) -> bool:
    """Whether something is returned somewhere in it."""
    from mix_lang.walk import every

    return any(isinstance(node, s.Return) and node.value is not None for node in every(block))
