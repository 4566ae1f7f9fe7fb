"""The rest: expressions, and what has a body behind `=` or `->`."""

from __future__ import annotations

from typing import Final

from mix_lang.format.document import HARD, LINE, SOFT, Below, Doc, Group, Nest, concat
from mix_lang.format.sequences import SequenceLayout
from mix_lang.format.tree import Element, Node

__all__ = ["Layout"]

_BRACKETS: Final = frozenset(("list", "enclosed", "block", "clause"))
_BLOCKS: Final = ("do", "action")


class Layout(SequenceLayout):
    """The document of each kind of node."""

    def _show(self, element: Element) -> Doc:
        if isinstance(element, int):
            text = self._bare[element]
            return self._token(element) if text is None else text
        if element.start not in self._before and element.end - 1 not in self._behind:
            return _RULES[element.kind](self, element)
        return self._commented(element.start, element.end - 1, lambda: _RULES[element.kind](self, element))

    def _plain(self, node: Node) -> Doc:
        return self._joined(node.elements())

    # Bodies

    def _attached(self, head: Doc, body: Element) -> Doc:
        """A body wholly behind its head, or wholly below; brackets open behind it."""
        if self._hugs(body):
            if isinstance(body, Node) and body.kind == "postfix":
                return concat([head, Below(self._show(body))])
            return concat([head, " ", self._show(body)])
        return Group(concat([head, Nest(concat([LINE, self._show(body)]))]))

    def _hugs(self, element: Element) -> bool:
        """Whether it has brackets around, or as its end, which may stand on lines of their own."""
        if any(not comment.inline for comment in self._before.get(self._start(element), ())):
            return False
        if isinstance(element, int):
            return "\n" in self._texts[element]
        if element.kind in _BRACKETS:
            return True
        last = element.kids[-1] if element.kids else None
        if last is None or last.end != element.end:
            return False
        if element.kind == "postfix":
            return last.kind == "list"
        return last.kind == "block" and self._texts[element.start] in _BLOCKS

    def _assigned(self, node: Node) -> Doc:
        """A definition or a binding: what is before `=`, and what is behind."""
        elements = node.elements()
        docs: list[Doc] = []
        before: Element | None = None
        for at, element in enumerate(elements):
            value = self._value(element)
            if before is not None and (
                # What has no parameters has its type further away.
                (value == ":" and isinstance(before, int))
                or self._apart(self._end(before), self._start(element))
            ):
                docs.append(" ")
            docs.append(self._show(element))
            before = element
            if value != "=":
                continue
            rest = elements[at + 1 :]
            if len(rest) == 1:
                return self._attached(concat(docs), rest[0])
            if self._value(rest[1]) == ":":
                return concat([*docs, " ", self._show(rest[0]), " : ", self._joined(rest[2:])])
            return concat([*docs, " ", self._joined(rest)])
        return concat(docs)

    def _clause(self, node: Node) -> Doc:
        elements = node.elements()
        at = next(index for index, element in enumerate(elements) if self._value(element) == "->")
        return self._attached(self._joined(elements[: at + 1]), elements[at + 1])

    # Expressions

    def _expression(self, node: Node) -> Doc:
        """`x |> f |> g : T`."""
        first, *rest = node.elements()
        pipes = [at for at, element in enumerate(rest) if self._value(element) == "|>"]
        gap = HARD if pipes and rest[pipes[0]] in self._first else LINE
        docs: list[Doc] = []
        for at, element in enumerate(rest):
            if at in pipes:
                docs.append(gap)
            else:
                docs.append(" ")
            docs.append(self._show(element))
        return Group(concat([self._show(first), Nest(concat(docs))]))

    def _with(self, node: Node) -> Doc:
        first, *rest = node.elements()
        docs: list[Doc] = []
        for element in rest:
            docs.append(LINE if self._value(element) == "with" else " ")
            docs.append(self._show(element))
        return Group(concat([self._show(first), Nest(concat(docs))]))

    def _binary(self, node: Node) -> Doc:
        """Operators of one precedence break together, before the operator."""
        docs: list[Doc] = []
        found: Doc = ""
        for element in node.elements():
            if isinstance(element, Node) and element.kind == "chain":
                parts: list[Doc] = []
                for number, part in enumerate(element.elements()):
                    parts += [" " if number % 2 else LINE, self._show(part)]
                found = Group(concat([found, Nest(concat(parts))]))
            else:
                docs.append(self._show(element))
                found = concat([docs[0], " ", docs[1]]) if len(docs) > 1 else docs[0]
        return found

    def _unary(self, node: Node) -> Doc:
        sign, operand = node.elements()
        gap: list[Doc] = [] if self._value(sign) == "-" else [" "]
        return concat([self._show(sign), *gap, self._show(operand)])

    def _enclosed(self, node: Node) -> Doc:
        """`(e)`, or a function with its alternatives."""
        opener, first, *rest = node.elements()
        closer = rest.pop()
        within = self._within(self._start(closer))
        start = self._show(opener)
        if not rest and not within and self._hugs(first) and self._start(opener) not in self._behind:
            return concat([start, self._show(first), self._show(closer)])
        forced = any(element in self._first for element in rest)
        docs: list[Doc] = [HARD if forced else SOFT, self._show(first)]
        for number, element in enumerate(rest):
            docs += [" " if number % 2 else LINE, self._show(element)]
        return Group(concat([start, Nest(concat([*docs, *within])), SOFT, self._show(closer)]))

    def _if(self, node: Node) -> Doc:
        elements = node.elements()
        docs: list[Doc] = []
        at = 0
        while True:
            # if ( condition ) branch else
            word, opener, condition, closer, branch, other = elements[at : at + 6]
            docs += [self._show(word), " ", self._show(opener), self._show(condition), self._show(closer)]
            braces = self._braces(branch)
            docs += [self._branch(branch, braces), " " if braces else LINE, self._show(other)]
            at += 6
            if len(elements) - at == 1:
                return Group(concat([*docs, self._branch(elements[at], self._braces(elements[at]))]))
            docs.append(" ")

    def _branch(self, element: Element, braces: bool) -> Doc:
        shown = self._show(element)
        return concat([" ", shown]) if braces else Nest(concat([LINE, shown]))

    def _braces(self, element: Element) -> bool:
        """Whether its last line is a bracket, so that `else` goes on there."""
        return isinstance(element, Node) and element.kind in ("list", "plain") and self._hugs(element)

    def _let(self, node: Node) -> Doc:
        """`let x = e; body`: one let a line, if there are several."""
        *bindings, body = node.elements()
        gap = LINE if len(bindings) == 2 else HARD
        docs: list[Doc] = []
        for element in bindings:
            value = self._value(element)
            if value == ";":
                docs += [";", gap]
            elif value == "in":
                docs += [" ", self._show(element), gap]
            else:
                docs.append(self._show(element))
        return Group(concat([*docs, self._show(body)]))


_RULES: Final = {
    "assigned": Layout._assigned, "binary": Layout._binary, "block": Layout._block, "case": Layout._case,
    "clause": Layout._clause, "def": Layout._assigned, "enclosed": Layout._enclosed,
    "expression": Layout._expression, "if": Layout._if, "item": Layout._plain, "let": Layout._let,
    "list": Layout._list, "meta": Layout._plain, "module": Layout._module, "not": Layout._binary,
    "part": Layout._part, "plain": Layout._plain, "postfix": Layout._tight, "return": Layout._plain,
    "switch": Layout._switch, "tight": Layout._tight, "unary": Layout._unary, "with": Layout._with,
}  # fmt: skip
"""How each kind of node is laid out."""
