"""The syntax tree: small frozen classes, each with the place where it stands.

Chains (`a + b - c`, `let … let …`, `if … else if …`) are one node with many parts, so that their length is no depth.
What a name means is not in the tree; `mix_lang.check.names` finds it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from mix_lang.source import Span

__all__ = [
    "Action",
    "Alias",
    "Array",
    "Assign",
    "Block",
    "Body",
    "Branch",
    "Broken",
    "Call",
    "CaseDef",
    "CellDef",
    "Chain",
    "Clause",
    "Const",
    "Declare",
    "Def",
    "Do",
    "Dynamic",
    "Expr",
    "ExprStmt",
    "Field",
    "ForIn",
    "ForVar",
    "Foreign",
    "Hint",
    "If",
    "IfStmt",
    "Import",
    "Index",
    "Initializer",
    "Inverse",
    "Item",
    "Key",
    "Label",
    "Labels",
    "Lambda",
    "Let",
    "LetStmt",
    "MapLit",
    "Meta",
    "Module",
    "Name",
    "Neg",
    "Node",
    "Not",
    "Observer",
    "PAll",
    "PAny",
    "PArray",
    "PAt",
    "PCase",
    "PCompare",
    "PConst",
    "PMap",
    "PType",
    "PVar",
    "Param",
    "Part",
    "Pattern",
    "Pragma",
    "Present",
    "Previous",
    "Qualified",
    "Regex",
    "Return",
    "Slice",
    "Slot",
    "Step",
    "Stmt",
    "Switch",
    "TApply",
    "TArrow",
    "TLabels",
    "TName",
    "TRecord",
    "TTuple",
    "TUnion",
    "TVar",
    "Test",
    "Try",
    "TupleAt",
    "Type",
    "TypeCheck",
    "TypeDef",
    "VarStmt",
    "While",
    "With",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    span: Span


# ------------------------------------------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class Const(Node):
    """A constant of the value model."""

    value: Any


@dataclass(frozen=True, slots=True)
class Regex(Node):
    pattern: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Qualified(Node):
    """`self.name`, `global.name`."""

    scope: Literal["self", "global"]
    name: str


@dataclass(frozen=True, slots=True)
class Field(Node):
    """`r.f`, or a member of a module."""

    object: Expr
    name: str
    name_span: Span


@dataclass(frozen=True, slots=True)
class Dynamic(Node):
    """`m.(k)`."""

    object: Expr
    key: Expr


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`a[i]`."""

    object: Expr
    index: Expr


@dataclass(frozen=True, slots=True)
class TupleAt(Node):
    """`t[#0 of 2]`."""

    object: Expr
    index: int
    size: int


@dataclass(frozen=True, slots=True)
class Label(Node):
    """`p.[#name]`."""

    object: Expr
    name: str


@dataclass(frozen=True, slots=True)
class Present(Node):
    """`x?`."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class Slice(Node):
    """`a[]`, `a[p..q]`, with either end left out: a stream."""

    object: Expr
    first: Expr | None
    last: Expr | None


@dataclass(frozen=True, slots=True)
class Call(Node):
    """`piped` says that the last argument was written in front of `|>`."""

    function: Expr
    args: tuple[Expr, ...]
    piped: bool = False


@dataclass(frozen=True, slots=True)
class Previous(Node):
    """`c'`."""

    name: str


@dataclass(frozen=True, slots=True)
class Inverse(Node):
    """`rgb^`: takes the argument out of a case."""

    case: Expr


@dataclass(frozen=True, slots=True)
class Not(Node):
    operand: Expr


@dataclass(frozen=True, slots=True)
class Neg(Node):
    operand: Expr


@dataclass(frozen=True, slots=True)
class Part:
    """An operator and its right operand; `ci` for the forms that ignore case."""

    op: str
    ci: bool
    span: Span
    operand: Expr


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """Operators of one precedence, from left to right."""

    first: Expr
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Array(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Labels(Node):
    """`[#name: "Tom", #age: 28]`."""

    fields: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class Key(Node):
    """Key and value of a map literal."""

    key: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class MapLit(Node):
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Clause(Node):
    """One alternative of a lambda, or a case of a switch (one pattern, a block)."""

    patterns: tuple[Pattern, ...]
    guard: Expr | None
    body: Expr | Block


@dataclass(frozen=True, slots=True)
class Lambda(Node):
    """All clauses have the same number of patterns."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class If(Node):
    branches: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Let(Node):
    bindings: tuple[LetStmt, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Try(Node):
    operand: Expr


@dataclass(frozen=True, slots=True)
class Do(Node):
    block: Block


@dataclass(frozen=True, slots=True)
class Step(Node):
    """One step of a place in a value: `.name` (field), `.(k)` (key), `[i]` (index), `[#0 of 2]`, `[#name]`."""

    kind: Literal["field", "key", "index", "tuple", "label"]
    name: str = ""
    key: Expr | None = None
    index: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class With(Node):
    """`m with .a = 1 with .b[2] = 3`."""

    object: Expr
    updates: tuple[tuple[tuple[Step, ...], Expr], ...]


@dataclass(frozen=True, slots=True)
class Hint(Node):
    """`e : T`."""

    operand: Expr
    type: Type


@dataclass(frozen=True, slots=True)
class TypeCheck(Node):
    """`type(T)` as a function, checked when it runs."""

    type: Type


@dataclass(frozen=True, slots=True)
class Action(Node):
    params: tuple[Param, ...]
    block: Block


Expr: TypeAlias = (
    Const | Regex | Name | Qualified | Field | Dynamic | Index | TupleAt | Label | Present | Slice | Call | Previous
    | Inverse | Not | Neg | Chain | Array | Labels | MapLit | Lambda | If | Let | Try | Do | With | Hint | TypeCheck
    | Action
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class Block(Node):
    statements: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class LetStmt(Node):
    pattern: Pattern
    type: Type | None
    value: Expr


@dataclass(frozen=True, slots=True)
class VarStmt(Node):
    name: str
    name_span: Span
    type: Type | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """To a variable, a cell (or a link to one), or a place in its value."""

    target: Name | Qualified | Field
    steps: tuple[Step, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class Branch(Node):
    condition: Expr
    block: Block


@dataclass(frozen=True, slots=True)
class IfStmt(Node):
    branches: tuple[Branch, ...]
    otherwise: Block | None


@dataclass(frozen=True, slots=True)
class While(Node):
    condition: Expr
    block: Block


@dataclass(frozen=True, slots=True)
class ForVar(Node):
    init: VarStmt
    condition: Expr
    update: Stmt
    block: Block


@dataclass(frozen=True, slots=True)
class ForIn(Node):
    pattern: Pattern
    stream: Expr
    block: Block


@dataclass(frozen=True, slots=True)
class Switch(Node):
    subject: Expr
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Return(Node):
    value: Expr | None


@dataclass(frozen=True, slots=True)
class ExprStmt(Node):
    value: Expr


Stmt: TypeAlias = LetStmt | VarStmt | Assign | IfStmt | While | ForVar | ForIn | Switch | Return | ExprStmt
Body: TypeAlias = Expr | Block


# --------------------------------------------------------------------------------------------------------- patterns


@dataclass(frozen=True, slots=True)
class PAny(Node):
    pass


@dataclass(frozen=True, slots=True)
class PVar(Node):
    name: str


@dataclass(frozen=True, slots=True)
class PConst(Node):
    value: Any


@dataclass(frozen=True, slots=True)
class Slot(Node):
    """An element of an array pattern."""

    mode: Literal["one", "optional", "multiple"]
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class PArray(Node):
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class PMap(Node):
    """Keys with their pattern, and whether the key may be absent; the map may have more."""

    fields: tuple[tuple[str, Pattern, bool], ...]


@dataclass(frozen=True, slots=True)
class PCase(Node):
    """`qualifier` is `self`, `global`, the name of a module, or empty: then what is in scope."""

    qualifier: str
    name: str
    arg: Pattern | None


@dataclass(frozen=True, slots=True)
class PType(Node):
    type: Type


@dataclass(frozen=True, slots=True)
class PAt(Node):
    name: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class PCompare(Node):
    """`n < 5`: binds n (unless it is `_`), and holds if the comparison is true."""

    name: str
    op: str
    ci: bool
    right: Expr


@dataclass(frozen=True, slots=True)
class PAll(Node):
    """`p && q` (op and), `p || q` (op or)."""

    op: Literal["and", "or"]
    parts: tuple[Pattern, ...]


Pattern: TypeAlias = PAny | PVar | PConst | PArray | PMap | PCase | PType | PAt | PCompare | PAll


# ------------------------------------------------------------------------------------------------------------ types


@dataclass(frozen=True, slots=True)
class TName(Node):
    """A built-in type, a type or case of this module, or of another one."""

    qualifier: str
    name: str


@dataclass(frozen=True, slots=True)
class TVar(Node):
    name: str


@dataclass(frozen=True, slots=True)
class TApply(Node):
    """`array(T)`, `map(T)`, `stream(T)`, `link(T)`, `option(T)`, `result(T, E)`, or a case with its argument."""

    qualifier: str
    name: str
    args: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class TTuple(Node):
    items: tuple[Type, ...]


@dataclass(frozen=True, slots=True)
class TLabels(Node):
    fields: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, slots=True)
class TRecord(Node):
    """Name, type, and whether the field may be absent."""

    fields: tuple[tuple[str, Type, bool], ...]


@dataclass(frozen=True, slots=True)
class TArrow(Node):
    param: Type
    result: Type


@dataclass(frozen=True, slots=True)
class TUnion(Node):
    options: tuple[Type, ...]


Type: TypeAlias = TName | TVar | TApply | TTuple | TLabels | TRecord | TArrow | TUnion


# ------------------------------------------------------------------------------------------------------ definitions


@dataclass(frozen=True, slots=True)
class Param(Node):
    name: str
    type: Type | None


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`args` is None where there are no parentheses."""

    alias: str
    module: str
    module_span: Span
    args: tuple[Expr, ...] | None
    types: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, slots=True)
class Declare(Node):
    module: str
    params: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Def(Node):
    """`params` is None for a value; `body` is None for a declaration, `type` that of result or value."""

    name: str
    name_span: Span
    private: bool
    params: tuple[Param, ...] | None
    type: Type | None
    body: Body | None
    meta: Any


@dataclass(frozen=True, slots=True)
class Foreign(Node):
    name: str
    name_span: Span
    private: bool
    type: Type
    ffi: str
    ffi_span: Span
    fallbacks: tuple[tuple[Name, Expr], ...]
    meta: Any


@dataclass(frozen=True, slots=True)
class CellDef(Node):
    """`body` is None for a declaration."""

    name: str
    name_span: Span
    var: bool
    private: bool
    live: bool
    params: tuple[Param, ...] | None
    type: Type | None
    body: Body | None
    meta: Any


@dataclass(frozen=True, slots=True)
class Alias(Node):
    name: str
    name_span: Span
    type: Type | None
    target: Expr


@dataclass(frozen=True, slots=True)
class CaseDef(Node):
    name: str
    name_span: Span
    private: bool
    arg: Type | None


@dataclass(frozen=True, slots=True)
class TypeDef(Node):
    name: str
    name_span: Span
    params: tuple[str, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class Initializer(Node):
    block: Block


@dataclass(frozen=True, slots=True)
class Observer(Node):
    """`on (a, b) when cond do { … }`."""

    cells: tuple[Name | Qualified, ...]
    condition: Expr | None
    block: Block


@dataclass(frozen=True, slots=True)
class Meta(Node):
    value: Any


@dataclass(frozen=True, slots=True)
class Pragma(Node):
    values: Any


@dataclass(frozen=True, slots=True)
class Test(Node):
    name: str
    block: Block


@dataclass(frozen=True, slots=True)
class Broken(Node):
    """A definition that could not be read; its name is known all the same, so that its uses are no errors."""

    name: str


Item: TypeAlias = (
    Import | Declare | Def | Foreign | CellDef | Alias | CaseDef | TypeDef | Initializer | Observer | Meta | Pragma
    | Test | Broken
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Module(Node):
    name: str
    static: bool
    params: tuple[Param, ...]
    types: tuple[str, ...]
    meta: Any
    items: tuple[Item, ...]
