"""What stands one below the other: definitions, statements, cases; and lists in brackets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mix_lang.format.document import HARD, LINE, SOFT, Break, Doc, Group, Nest, concat
from mix_lang.format.tokens import BLANK, TokenLayout
from mix_lang.format.tree import Element, Node

__all__ = ["SequenceLayout"]

_SEMICOLON: Final = Break("; ")
_BLANK_LINE: Final = Break(" ", blank=True)
_MODULE: Final = ("module", "static")


class SequenceLayout(TokenLayout):
    """Layout of files, modules, blocks and lists."""

    # Definitions

    def file(self, node: Node) -> Doc:
        """A file: one module, or what stands for it."""
        elements: list[Element] = []
        for element in node.elements():
            headed = isinstance(element, Node) and self._texts[element.start] in _MODULE
            if isinstance(element, Node) and element.kind == "module" and not headed:
                elements += element.elements()
            else:
                elements.append(element)
        if elements and elements[-1] not in self._before:
            elements.pop()
        return self._items(elements)

    def _items(self, elements: Sequence[Element]) -> Doc:
        """Definitions, and `;;` behind them or below."""
        docs: list[Doc] = []
        for element in elements:
            value = self._value(element)
            if value == ";":
                continue
            below = value != ";;" or element in self._first or element in self._before
            if docs and below:
                docs.append(BLANK if self._after_blank(element) else HARD)
            docs.append(self._entry(element))
        return concat(docs) if docs else ""

    def _module(self, node: Node) -> Doc:
        elements = node.elements()
        closed = self._texts[node.end - 2] == "module" and self._texts[node.end - 1] == "end"
        end: Doc = ""
        within: list[Doc] = []
        if closed and node.end - node.start > 2:
            within = self._within(node.end - 2)
            end = self._joined([elements.pop(-2), elements.pop()])
        count = 0
        while count < len(elements) and not self._is_item(elements, count):
            count += 1
        head, items = self._joined(elements[:count]), elements[count:]
        body: list[Doc] = []
        if any(self._value(item) != ";" for item in items):
            body = [BLANK if self._after_blank(items[0]) else HARD, self._items(items)]
        body += within
        if not closed:
            return concat([head, *body])
        return concat([head, Nest(concat(body)), HARD, end] if body else [head, HARD, end])

    def _is_item(self, elements: list[Element], at: int) -> bool:
        """Whether the head of a module ends before it."""
        element = elements[at]
        if isinstance(element, int):
            return self._texts[element] in (";", ";;")
        return element.kind != "list"

    # Statements

    def _block(self, node: Node) -> Doc:
        opener, *inner, closer = node.elements()
        # One let a line.
        lets = sum(self._texts[self._start(element)] == "let" for element in inner)
        return self._braced([opener], inner, closer, lets < 2 and self._on_one_line(node))

    def _braced(self, head: list[Element], inner: list[Element], closer: Element, one_line: bool) -> Doc:
        within = self._within(self._start(closer))
        opener = self._joined(head)
        if not within and all(self._value(element) == ";" for element in inner):
            gap: list[Doc] = [HARD] if self._end(head[-1]) in self._behind else []
            return concat([opener, *gap, self._show(closer)])
        free = one_line and not within
        body = self._statements(inner, free)
        if free:
            return Group(concat([opener, Nest(concat([LINE, *body])), LINE, self._show(closer)]))
        start: list[Doc] = [HARD] if body else []
        return concat([opener, Nest(concat([*start, *body, *within])), HARD, self._show(closer)])

    def _statements(self, inner: Sequence[Element], free: bool = False) -> list[Doc]:
        """Statements; `free` ones may stand in one line."""
        docs: list[Doc] = []
        before: Element | None = None
        divided = False
        for element in inner:
            if self._value(element) == ";":
                divided = True
                continue
            if before is not None:
                # What begins like this would go on with the statement before.
                kept = divided and (
                    self._kinds[self._start(element)] == "op" or self._value(before) == "return"
                )
                if kept:
                    docs.append(";")
                if free:
                    docs.append(LINE if kept else _SEMICOLON)
                else:
                    docs.append(BLANK if self._after_blank(element) else HARD)
            docs.append(self._entry(element))
            before, divided = element, False
        return docs

    def _switch(self, node: Node) -> Doc:
        *head, closer = node.elements()
        at = next(index for index, element in enumerate(head) if self._value(element) == "{")
        return self._braced(head[: at + 1], head[at + 1 :], closer, False)

    def _case(self, node: Node) -> Doc:
        elements = node.elements()
        at = next(index for index, element in enumerate(elements) if self._value(element) == ":")
        head = self._joined(elements[: at + 1])
        inner = [element for element in elements[at + 1 :] if self._value(element) != ";"]
        if not inner:
            return head
        if len(inner) == 1 and self._start(inner[0]) not in self._first:
            return self._attached(head, inner[0])
        return concat([head, Nest(concat([HARD, *self._statements(elements[at + 1 :])]))])

    # Lists

    def _list(self, node: Node) -> Doc:
        """All on one line, or one a line: also where the first stood below the bracket."""
        opener, *inner, closer = node.elements()
        parts = [element for element in inner if self._value(element) != ","]
        within = self._within(self._start(closer))
        start = self._show(opener)
        if not parts:
            if not within and self._start(opener) not in self._behind:
                return concat([start, self._show(closer)])
            return concat([start, Nest(concat(within)) if within else "", HARD, self._show(closer)])
        forced = self._start(parts[0]) in self._first
        if len(parts) == 1 and not forced and not within and self._hugs(parts[0]):
            return concat([start, self._show(parts[0]), self._show(closer)])
        gap = HARD if forced else SOFT
        docs: list[Doc] = [gap]
        for number, part in enumerate(parts):
            if number:
                docs += [",", _BLANK_LINE if self._after_blank(part) else LINE]
            docs.append(self._entry(part))
        return Group(concat([start, Nest(concat([*docs, *within])), gap, self._show(closer)]))

    def _part(self, node: Node) -> Doc:
        """An element of a list, as `key: value` and `A=string`."""
        elements = node.elements()
        if len(elements) == 3 and self._value(elements[1]) == "=":
            return concat([self._show(element) for element in elements])
        return self._joined(elements)

    # What other parts have

    def _attached(self, head: Doc, body: Element) -> Doc:
        raise NotImplementedError

    def _hugs(self, element: Element) -> bool:
        raise NotImplementedError
