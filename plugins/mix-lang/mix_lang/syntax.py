"""The syntax tree: small frozen classes, each with the place where it stands.

Chains (`a + b - c`, `let … let …`, `if … else if …`) are one node with many parts, so that their length is no depth.
What a name means is not in the tree; `mix_lang.check.names` finds it out.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from mix_lang.record import Record, record
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


@record
class Node(Record):
    span: Span


# ------------------------------------------------------------------------------------------------------ expressions


@record
class Const(Node):
    """A constant of the value model."""

    value: Any


@record
class Regex(Node):
    pattern: str


@record
class Name(Node):
    name: str


@record
class Qualified(Node):
    """`self.name`, `global.name`."""

    scope: Literal["self", "global"]
    name: str


@record
class Field(Node):
    """`r.f`, or a member of a module."""

    object: Expr
    name: str
    name_span: Span


@record
class Dynamic(Node):
    """`m.(k)`."""

    object: Expr
    key: Expr


@record
class Index(Node):
    """`a[i]`."""

    object: Expr
    index: Expr


@record
class TupleAt(Node):
    """`t[#0 of 2]`."""

    object: Expr
    index: int
    size: int


@record
class Label(Node):
    """`p.[#name]`."""

    object: Expr
    name: str


@record
class Present(Node):
    """`x?`."""

    operand: Expr


@record
class Slice(Node):
    """`a[]`, `a[p..q]`, with either end left out: a stream."""

    object: Expr
    first: Expr | None
    last: Expr | None


@record
class Call(Node):
    """`piped` says that the last argument was written in front of `|>`."""

    function: Expr
    args: tuple[Expr, ...]
    piped: bool = False


@record
class Previous(Node):
    """`c'`."""

    name: str


@record
class Inverse(Node):
    """`rgb^`: takes the argument out of a case."""

    case: Expr


@record
class Not(Node):
    operand: Expr


@record
class Neg(Node):
    operand: Expr


@record
class Part(Record):
    """An operator and its right operand; `ci` for the forms that ignore case."""

    op: str
    ci: bool
    span: Span
    operand: Expr


@record
class Chain(Node):
    """Operators of one precedence, from left to right."""

    first: Expr
    parts: tuple[Part, ...]


@record
class Array(Node):
    items: tuple[Expr, ...]


@record
class Labels(Node):
    """`[#name: "Tom", #age: 28]`."""

    fields: tuple[tuple[str, Expr], ...]


@record
class Key(Node):
    """Key and value of a map literal."""

    key: Expr
    value: Expr


@record
class MapLit(Node):
    keys: tuple[Key, ...]


@record
class Clause(Node):
    """One alternative of a lambda, or a case of a switch (one pattern, a block)."""

    patterns: tuple[Pattern, ...]
    guard: Expr | None
    body: Expr | Block


@record
class Lambda(Node):
    """All clauses have the same number of patterns."""

    clauses: tuple[Clause, ...]


@record
class If(Node):
    branches: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr


@record
class Let(Node):
    bindings: tuple[LetStmt, ...]
    body: Expr


@record
class Try(Node):
    operand: Expr


@record
class Do(Node):
    block: Block


@record
class Step(Node):
    """One step of a place in a value: `.name` (field), `.(k)` (key), `[i]` (index), `[#0 of 2]`, `[#name]`."""

    kind: Literal["field", "key", "index", "tuple", "label"]
    name: str = ""
    key: Expr | None = None
    index: int = 0
    size: int = 0


@record
class With(Node):
    """`m with .a = 1 with .b[2] = 3`."""

    object: Expr
    updates: tuple[tuple[tuple[Step, ...], Expr], ...]


@record
class Hint(Node):
    """`e : T`."""

    operand: Expr
    type: Type


@record
class TypeCheck(Node):
    """`type(T)` as a function, checked when it runs."""

    type: Type


@record
class Action(Node):
    params: tuple[Param, ...]
    block: Block


Expr: TypeAlias = (
    Const | Regex | Name | Qualified | Field | Dynamic | Index | TupleAt | Label | Present | Slice | Call | Previous
    | Inverse | Not | Neg | Chain | Array | Labels | MapLit | Lambda | If | Let | Try | Do | With | Hint | TypeCheck
    | Action
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------- statements


@record
class Block(Node):
    statements: tuple[Stmt, ...]


@record
class LetStmt(Node):
    pattern: Pattern
    type: Type | None
    value: Expr


@record
class VarStmt(Node):
    name: str
    name_span: Span
    type: Type | None
    value: Expr


@record
class Assign(Node):
    """To a variable, a cell (or a link to one), or a place in its value."""

    target: Name | Qualified | Field
    steps: tuple[Step, ...]
    value: Expr


@record
class Branch(Node):
    condition: Expr
    block: Block


@record
class IfStmt(Node):
    branches: tuple[Branch, ...]
    otherwise: Block | None


@record
class While(Node):
    condition: Expr
    block: Block


@record
class ForVar(Node):
    init: VarStmt
    condition: Expr
    update: Stmt
    block: Block


@record
class ForIn(Node):
    pattern: Pattern
    stream: Expr
    block: Block


@record
class Switch(Node):
    subject: Expr
    clauses: tuple[Clause, ...]


@record
class Return(Node):
    value: Expr | None


@record
class ExprStmt(Node):
    value: Expr


Stmt: TypeAlias = LetStmt | VarStmt | Assign | IfStmt | While | ForVar | ForIn | Switch | Return | ExprStmt
Body: TypeAlias = Expr | Block


# --------------------------------------------------------------------------------------------------------- patterns


@record
class PAny(Node):
    pass


@record
class PVar(Node):
    name: str


@record
class PConst(Node):
    value: Any


@record
class Slot(Node):
    """An element of an array pattern."""

    mode: Literal["one", "optional", "multiple"]
    pattern: Pattern


@record
class PArray(Node):
    slots: tuple[Slot, ...]


@record
class PMap(Node):
    """Keys with their pattern, and whether the key may be absent; the map may have more."""

    fields: tuple[tuple[str, Pattern, bool], ...]


@record
class PCase(Node):
    """`qualifier` is `self`, `global`, the name of a module, or empty: then what is in scope."""

    qualifier: str
    name: str
    arg: Pattern | None


@record
class PType(Node):
    type: Type


@record
class PAt(Node):
    name: str
    pattern: Pattern


@record
class PCompare(Node):
    """`n < 5`: binds n (unless it is `_`), and holds if the comparison is true."""

    name: str
    op: str
    ci: bool
    right: Expr


@record
class PAll(Node):
    """`p && q` (op and), `p || q` (op or)."""

    op: Literal["and", "or"]
    parts: tuple[Pattern, ...]


Pattern: TypeAlias = PAny | PVar | PConst | PArray | PMap | PCase | PType | PAt | PCompare | PAll


# ------------------------------------------------------------------------------------------------------------ types


@record
class TName(Node):
    """A built-in type, a type or case of this module, or of another one."""

    qualifier: str
    name: str


@record
class TVar(Node):
    name: str


@record
class TApply(Node):
    """`array(T)`, `map(T)`, `stream(T)`, `link(T)`, `option(T)`, `result(T, E)`, or a case with its argument."""

    qualifier: str
    name: str
    args: tuple[Type, ...]


@record
class TTuple(Node):
    items: tuple[Type, ...]


@record
class TLabels(Node):
    fields: tuple[tuple[str, Type], ...]


@record
class TRecord(Node):
    """Name, type, and whether the field may be absent."""

    fields: tuple[tuple[str, Type, bool], ...]


@record
class TArrow(Node):
    param: Type
    result: Type


@record
class TUnion(Node):
    options: tuple[Type, ...]


Type: TypeAlias = TName | TVar | TApply | TTuple | TLabels | TRecord | TArrow | TUnion


# ------------------------------------------------------------------------------------------------------ definitions


@record
class Param(Node):
    name: str
    type: Type | None


@record
class Import(Node):
    """`args` is None where there are no parentheses."""

    alias: str
    module: str
    module_span: Span
    args: tuple[Expr, ...] | None
    types: tuple[tuple[str, Type], ...]


@record
class Declare(Node):
    module: str
    params: tuple[Param, ...]


@record
class Def(Node):
    """`params` is None for a value; `body` is None for a declaration, `type` that of result or value."""

    name: str
    name_span: Span
    private: bool
    params: tuple[Param, ...] | None
    type: Type | None
    body: Body | None
    meta: Any


@record
class Foreign(Node):
    name: str
    name_span: Span
    private: bool
    type: Type
    ffi: str
    ffi_span: Span
    fallbacks: tuple[tuple[Name, Expr], ...]
    meta: Any


@record
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


@record
class Alias(Node):
    name: str
    name_span: Span
    type: Type | None
    target: Expr


@record
class CaseDef(Node):
    name: str
    name_span: Span
    private: bool
    arg: Type | None


@record
class TypeDef(Node):
    name: str
    name_span: Span
    params: tuple[str, ...]
    type: Type


@record
class Initializer(Node):
    block: Block


@record
class Observer(Node):
    """`on (a, b) when cond do { … }`."""

    cells: tuple[Name | Qualified, ...]
    condition: Expr | None
    block: Block


@record
class Meta(Node):
    value: Any


@record
class Pragma(Node):
    values: Any


@record
class Test(Node):
    name: str
    block: Block


@record
class Broken(Node):
    """A definition that could not be read; its name is known all the same, so that its uses are no errors."""

    name: str


Item: TypeAlias = (
    Import | Declare | Def | Foreign | CellDef | Alias | CaseDef | TypeDef | Initializer | Observer | Meta | Pragma
    | Test | Broken
)  # fmt: skip


@record
class Module(Node):
    name: str
    static: bool
    params: tuple[Param, ...]
    types: tuple[str, ...]
    meta: Any
    items: tuple[Item, ...]
