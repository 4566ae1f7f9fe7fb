"""Tokens and rows of tokens as documents, each with the comments that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from mix_lang.format.document import FRESH, HARD, Break, Doc, Suffix, concat
from mix_lang.format.tree import Element, Node, Tree
from mix_lang.format.trivia import trivia_of

__all__ = ["BLANK", "TokenLayout"]

BLANK: Final = Break(None, blank=True)
_LEFT: Final = Break(None, left=True)
_TIGHT_BEFORE: Final = frozenset((")", "]", ",", ";", ":", ".", "?", "'", "^", ".."))
_TIGHT_BEHIND: Final = frozenset(("(", "[", ".", "~", "#", "..", "-", "+"))


class TokenLayout:
    """Base of the layout's parts.

    Attributes:
        inner: whether there were comments inside of something, for which there may be no line of their own.
    """

    def __init__(self, tree: Tree) -> None:
        text = tree.source.text
        self.inner = False
        self._kinds = [token.kind for token in tree.tokens]
        self._texts = [text[token.span.start : token.span.end] for token in tree.tokens]
        self._before, self._behind, self._blank, self._first = trivia_of(text, tree.tokens)
        # PERF: most tokens have no comments, and are their text.
        self._bare: list[str | None] = list(self._texts)
        for index in (*self._before, *self._behind):
            self._bare[index] = None

    def _show(self, element: Element) -> Doc:
        raise NotImplementedError

    # Tokens

    def _token(self, index: int) -> Doc:
        if index not in self._before and index not in self._behind:
            return self._texts[index]
        return self._commented(index, index, lambda: self._texts[index])

    def _commented(self, first: int, last: int, make: Callable[[], Doc]) -> Doc:
        """Something with the comments before its first token and behind its last, which stand outside of all of it, so
        that what is between them can still be on one line."""
        self.inner = True
        return self._with_comments(first, last, make)

    def _with_comments(self, first: int, last: int, make: Callable[[], Doc]) -> Doc:
        before = self._comments(first)
        self._before.pop(first, None)
        behind: list[Doc] = [Suffix(text) for text in self._behind.pop(last, ())]
        return concat([*before, make(), *behind])

    def _entry(self, element: Element) -> Doc:
        """What stands on lines of its own, with the comments that do so, too."""
        first, last = self._start(element), self._end(element)
        if first not in self._before and last not in self._behind:
            return self._show(element)
        return self._with_comments(first, last, lambda: self._show(element))

    def _comments(self, index: int) -> list[Doc]:
        """The comments before a token, and what leads to the token."""
        found: list[Doc] = []
        inline = False
        for number, comment in enumerate(self._before.get(index, ())):
            if not inline:
                found.append(BLANK if comment.blank and number else FRESH)
            if comment.left:
                found.append(_LEFT)
            found.append(comment.text)
            inline = comment.inline
            if inline:
                found.append(" ")
        if found and not inline:
            found.append(BLANK if index in self._blank else HARD)
        elif found and not any(not comment.inline for comment in self._before[index]):
            # All of them stand in the line of the token, wherever that is.
            found.pop(0)
        return found

    def _within(self, closer: int) -> list[Doc]:
        """The comments before a closing bracket, on lines of their own inside of it."""
        comments = self._before.pop(closer, [])
        found: list[Doc] = []
        for comment in comments:
            found.append(BLANK if comment.blank else HARD)
            if comment.left:
                found.append(_LEFT)
            found.append(comment.text)
        return found

    # Elements

    @staticmethod
    def _start(element: Element) -> int:
        return element if isinstance(element, int) else element.start

    @staticmethod
    def _end(element: Element) -> int:
        """The last token."""
        return element if isinstance(element, int) else element.end - 1

    def _value(self, element: Element) -> str:
        """The text of a token; "" of a node."""
        return self._texts[element] if isinstance(element, int) else ""

    def _after_blank(self, element: Element) -> bool:
        """Whether an empty line is before it and its comments."""
        start = self._start(element)
        comments = self._before.get(start)
        return comments[0].blank if comments else start in self._blank

    def _on_one_line(self, node: Node) -> bool:
        """Whether it was written on one line."""
        return self._first.isdisjoint(range(node.start + 1, node.end))

    # Rows

    def _joined(self, elements: Sequence[Element]) -> Doc:
        """One behind the other, with spaces where they belong."""
        docs: list[Doc] = []
        end = -1
        for element in elements:
            if isinstance(element, int):
                start = last = element
            else:
                start, last = element.start, element.end - 1
            if end >= 0 and self._apart(end, start):
                docs.append(" ")
            docs.append(self._show(element))
            end = last
        return concat(docs)

    def _apart(self, left: int, right: int) -> bool:
        """Whether a space is between two tokens."""
        behind = self._texts[right]
        if behind in _TIGHT_BEFORE or self._texts[left] in _TIGHT_BEHIND:
            return False
        if behind == "(" or behind == "[":
            return not (self._kinds[left] == "name" or self._texts[left] in (")", "]", "type"))
        return True

    def _tight(self, node: Node) -> Doc:
        """Without spaces, but for `#0 of 2`."""
        docs: list[Doc] = []
        before = -1
        for element in node.elements():
            spaced = before >= 0 and self._value(element) == "of" and self._kinds[before] == "int"
            docs += [" ", self._show(element), " "] if spaced else [self._show(element)]
            before = element if isinstance(element, int) else -1
        return concat(docs)
